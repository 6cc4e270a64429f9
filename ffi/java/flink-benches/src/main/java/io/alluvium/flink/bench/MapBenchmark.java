package io.alluvium.flink.bench;

import java.util.HashMap;
import java.util.Iterator;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.typeutils.base.DoubleSerializer;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/** A map of 10 for each key. */
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 2, jvmArgsAppend = {"-Xms8g", "-Xmx8g"})
@State(Scope.Thread)
public class MapBenchmark {
    private static final int ENTRIES = 10;

    private final Map<Long, Double> entries = new HashMap<>();
    private MapState<Long, Double> state;
    private long fresh = ENTRIES;

    /** Gives each key a map. */
    @Setup(Level.Trial)
    public void fill(Task task) throws Exception {
        task.open();
        state = task.state(new MapStateDescriptor<>("maps", LongSerializer.INSTANCE, DoubleSerializer.INSTANCE));
        for (long entry = 0; entry < ENTRIES; entry++) {
            entries.put(entry, 1.0 * entry);
        }
        for (long key = 0; key < task.keys; key++) {
            task.at(key);
            state.putAll(entries);
        }
    }

    /** An entry in place of another. */
    @Benchmark
    public void mapUpdate(Task task) throws Exception {
        task.any();
        state.put(task.random(ENTRIES), 2.0);
    }

    /** Another entry. */
    @Benchmark
    public void mapAdd(Task task) throws Exception {
        task.any();
        state.put(fresh++, 2.0);
    }

    /** An entry. */
    @Benchmark
    public Double mapGet(Task task) throws Exception {
        task.any();
        return state.get(task.random(ENTRIES));
    }

    /** Whether there is an entry, which there is every second time. */
    @Benchmark
    public boolean mapContains(Task task) throws Exception {
        task.any();
        return state.contains(task.random(2 * ENTRIES));
    }

    /** Whether there is any entry. */
    @Benchmark
    public boolean mapIsEmpty(Task task) throws Exception {
        task.any();
        return state.isEmpty();
    }

    private static long count(Iterator<?> iterator) {
        long count = 0;
        for (; iterator.hasNext(); iterator.next()) {
            count++;
        }
        return count;
    }

    /** All user keys. */
    @Benchmark
    public long mapKeys(Task task) throws Exception {
        task.any();
        return count(state.keys().iterator());
    }

    /** All values. */
    @Benchmark
    public long mapValues(Task task) throws Exception {
        task.any();
        return count(state.values().iterator());
    }

    /** All entries, with keys and values. */
    @Benchmark
    public double mapEntries(Task task) throws Exception {
        task.any();
        double sum = 0;
        for (Map.Entry<Long, Double> entry : state.entries()) {
            sum += entry.getKey() + entry.getValue();
        }
        return sum;
    }

    /** An entry is removed, and put again in the same operation. */
    @Benchmark
    public void mapRemoveAndPut(Task task) throws Exception {
        task.any();
        long entry = task.random(ENTRIES);
        state.remove(entry);
        state.put(entry, 2.0);
    }

    /** Ten entries at once. */
    @Benchmark
    public void mapPutAll(Task task) throws Exception {
        task.any();
        state.putAll(entries);
    }
}
