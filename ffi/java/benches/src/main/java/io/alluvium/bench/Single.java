package io.alluvium.bench;

import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Warmup;

/** One key a call. */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 3, jvmArgsAppend = {"-Xms4g", "-Xmx4g", "-XX:MaxDirectMemorySize=1g"})
public class Single {
    private static final byte[] ELEMENT = new byte[8];

    /** Values that are there. */
    @Benchmark
    public int getHit(Filled filled) {
        return filled.subject.get(filled.data.any());
    }

    /** Values that are not. */
    @Benchmark
    public int getMiss(Filled filled) {
        return filled.subject.get(filled.data.anyAbsent());
    }

    /** Values in place of others. */
    @Benchmark
    public void put(Filled filled) {
        filled.subject.put(filled.data.any(), filled.value);
    }

    /** Read, change, write. */
    @Benchmark
    public void update(Filled filled) {
        filled.subject.update(filled.data.any());
    }

    /** The same by {@code Writer.update}, whose function makes the new value, an array for each; beside it get and put once more. */
    @Benchmark
    public void updateByFunction(Filled filled) {
        filled.subject.updateBy(filled.data.any());
    }

    /** 8 bytes to a list; one in a hundred lists is emptied, so that they stay short. */
    @Benchmark
    public void append(Filled filled) {
        byte[] key = filled.data.any();
        if (filled.data.isHundredth()) {
            filled.subject.clear(key);
        }
        filled.subject.append(key, ELEMENT);
    }

    /** All keys, a call for as many as the engine gives at once: the time is that of the whole. */
    @Benchmark
    @OutputTimeUnit(TimeUnit.MILLISECONDS)
    public long scan(Filled filled) {
        return filled.subject.scan(0);
    }
}
