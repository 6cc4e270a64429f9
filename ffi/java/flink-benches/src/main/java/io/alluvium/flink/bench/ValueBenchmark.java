package io.alluvium.flink.bench;

import java.util.concurrent.TimeUnit;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
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

/** One value for each key. */
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 2, jvmArgsAppend = {"-Xms8g", "-Xmx8g"})
@State(Scope.Thread)
public class ValueBenchmark {
    private ValueState<Long> state;

    /** Gives each key a value. */
    @Setup(Level.Trial)
    public void fill(Task task) throws Exception {
        task.open();
        state = task.state(new ValueStateDescriptor<>("values", LongSerializer.INSTANCE));
        for (long key = 0; key < task.keys; key++) {
            task.at(key);
            state.update(key);
        }
    }

    /** A value in place of another. */
    @Benchmark
    public void valueUpdate(Task task) throws Exception {
        state.update(task.any());
    }

    /** The first value of a key. */
    @Benchmark
    public void valueAdd(Task task) throws Exception {
        task.unseen();
        state.update(1L);
    }

    /** A value. */
    @Benchmark
    public Long valueGet(Task task) throws Exception {
        task.any();
        return state.value();
    }
}
