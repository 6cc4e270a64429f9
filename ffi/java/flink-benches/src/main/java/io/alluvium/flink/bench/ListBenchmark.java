package io.alluvium.flink.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
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

/** A list of 100 for each key. */
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 2, jvmArgsAppend = {"-Xms8g", "-Xmx8g"})
@State(Scope.Thread)
public class ListBenchmark {
    private static final int ELEMENTS = 100;

    private final List<Long> elements = new ArrayList<>();
    private ListState<Long> state;

    /** Gives each key a list. */
    @Setup(Level.Trial)
    public void fill(Task task) throws Exception {
        task.open();
        state = task.state(new ListStateDescriptor<>("lists", LongSerializer.INSTANCE));
        for (long element = 0; element < ELEMENTS; element++) {
            elements.add(element);
        }
        for (long key = 0; key < task.keys; key++) {
            task.at(key);
            state.update(elements);
        }
    }

    /** A list in place of another. */
    @Benchmark
    public void listUpdate(Task task) throws Exception {
        task.any();
        state.update(elements);
    }

    /** The first element of a key. */
    @Benchmark
    public void listAdd(Task task) throws Exception {
        task.unseen();
        state.add(1L);
    }

    /** An element behind others. */
    @Benchmark
    public void listAppend(Task task) throws Exception {
        state.add(task.any());
    }

    /** The first 100 elements of a key. */
    @Benchmark
    public void listAddAll(Task task) throws Exception {
        task.unseen();
        state.addAll(elements);
    }

    /** A list, not looked into. */
    @Benchmark
    public Object listGet(Task task) throws Exception {
        task.any();
        return state.get();
    }

    /** A list, all of it. */
    @Benchmark
    public long listGetAndIterate(Task task) throws Exception {
        task.any();
        long sum = 0;
        for (Long element : state.get()) {
            sum += element;
        }
        return sum;
    }
}
