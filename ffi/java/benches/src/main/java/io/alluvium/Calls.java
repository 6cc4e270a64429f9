package io.alluvium;

import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/** What the binding costs by itself: the same calls with an engine that does nothing. */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(3)
@State(Scope.Thread)
public class Calls {
    /** How long values are. */
    @Param({"8", "100", "1024"})
    public int valueBytes;

    private byte[] bytes;
    private byte[] into;
    private Key key;
    private Memory out;
    private Keys keys;
    private Values values;

    /** Makes room. */
    @Setup
    public void open() {
        bytes = new byte[16];
        into = new byte[valueBytes];
        key = new Key();
        out = Memory.allocate(2_048);
        keys = new Keys();
        values = new Values();
        for (int place = 0; place < 64; place++) {
            values.add(into);
        }
    }

    /** A native call with the arguments of a get, which does nothing. */
    @Benchmark
    public long nothing() {
        return Native.nothing(1, 2, -1, out.address, 16, 0, out.address, 2_048);
    }

    /** All that a get does but for the engine's part: the key is copied out of Java's heap, the value into it. */
    @Benchmark
    public long getWithoutEngine() {
        key.set(bytes);
        Memory memory = key.memory();
        long result = Native.nothing(1, 2, key.group(), memory.address, key.keyLen(), 0, out.address, out.capacity);
        memory.keep();
        out.copyOut(0, into, 0, valueBytes);
        return result;
    }

    /** What packing 64 keys and unpacking 64 values costs, and the call: divide by 64. */
    @Benchmark
    public long getManyWithoutEngine() {
        keys.clear();
        for (int place = 0; place < 64; place++) {
            keys.add(bytes);
        }
        long result = Native.nothing(1, 2, 64, keys.index().address, keys.bytes(keys.data()), 0, out.address, out.capacity);
        for (int place = 0; place < 64; place++) {
            result += values.get(place, into);
        }
        return result;
    }
}
