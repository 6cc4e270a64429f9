package io.alluvium.bench;

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

/** Many keys a call. The times are those of a batch, but for {@link #scan}: divide by its size. */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 3, jvmArgsAppend = {"-Xms4g", "-Xmx4g", "-XX:MaxDirectMemorySize=1g"})
public class Batched {
    private static final byte[] ELEMENT = new byte[8];

    /** The keys of a batch. */
    @State(Scope.Thread)
    public static class Batch {
        /** How many. */
        @Param({"1", "64", "1024"})
        public int batch;

        byte[][] keys;

        /** Makes room. */
        @Setup
        public void open() {
            keys = new byte[batch][];
        }
    }

    /** Values that are there. */
    @Benchmark
    public long getHit(Filled filled, Batch batch) {
        filled.data.batch(filled.data.keys, batch.keys);
        return filled.subject.getMany(batch.keys);
    }

    /** Values that are not. */
    @Benchmark
    public long getMiss(Filled filled, Batch batch) {
        filled.data.batch(filled.data.absent, batch.keys);
        return filled.subject.getMany(batch.keys);
    }

    /** Values in place of others. */
    @Benchmark
    public void put(Filled filled, Batch batch) {
        filled.data.batch(filled.data.keys, batch.keys);
        filled.subject.putMany(batch.keys, filled.value);
    }

    /** Read, change, write. */
    @Benchmark
    public void update(Filled filled, Batch batch) {
        filled.data.batch(filled.data.keys, batch.keys);
        filled.subject.updateMany(batch.keys);
    }

    /** The same by {@code Writer.updateMany}, whose function makes the new values, an array for each; beside it what {@link #update} measures, once more. */
    @Benchmark
    public void updateByFunction(Filled filled, Batch batch) {
        filled.data.batch(filled.data.keys, batch.keys);
        filled.subject.updateManyBy(batch.keys);
    }

    /** All keys, so many a call of the native library; RocksDB's iterator has a call for each of them anyway. The time is that of the whole. */
    @Benchmark
    @OutputTimeUnit(TimeUnit.MILLISECONDS)
    public long scan(Filled filled, Batch batch) {
        return filled.subject.scan(batch.batch);
    }

    /** 8 bytes to a list; one in a hundred batches empties its lists, so that they stay short. */
    @Benchmark
    public void append(Filled filled, Batch batch) {
        filled.data.batch(filled.data.keys, batch.keys);
        if (filled.data.isHundredth()) {
            for (byte[] key : batch.keys) {
                filled.subject.clear(key);
            }
        }
        filled.subject.appendMany(batch.keys, ELEMENT);
    }

    /** What choosing the keys costs: to be taken off. */
    @Benchmark
    public byte[] choose(Filled filled, Batch batch) {
        filled.data.batch(filled.data.keys, batch.keys);
        return batch.keys[0];
    }
}
