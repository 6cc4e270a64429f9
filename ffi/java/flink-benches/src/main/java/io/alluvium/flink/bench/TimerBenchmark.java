package io.alluvium.flink.bench;

import java.util.concurrent.TimeUnit;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.runtime.state.KeyGroupedInternalPriorityQueue;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.streaming.api.operators.TimerHeapInternalTimer;
import org.apache.flink.streaming.api.operators.TimerSerializer;
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

/** A timer for each key. */
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 2, jvmArgsAppend = {"-Xms8g", "-Xmx8g"})
@State(Scope.Thread)
public class TimerBenchmark {
    private static final int HORIZON = 1_000_000;

    private KeyGroupedInternalPriorityQueue<TimerHeapInternalTimer<Long, VoidNamespace>> queue;
    private long now;

    /** Gives each key a timer. */
    @Setup(Level.Trial)
    public void fill(Task task) throws Exception {
        task.open();
        queue = task.keyed()
                .create("timers", new TimerSerializer<>(LongSerializer.INSTANCE, VoidNamespaceSerializer.INSTANCE));
        for (long key = 0; key < task.keys; key++) {
            queue.add(new TimerHeapInternalTimer<>(task.random(HORIZON), key, VoidNamespace.INSTANCE));
        }
    }

    /** The next timer is taken out, and another is set for its key. */
    @Benchmark
    public boolean timerPollAndAdd(Task task) {
        TimerHeapInternalTimer<Long, VoidNamespace> due = queue.poll();
        now = due.getTimestamp();
        return queue.add(
                new TimerHeapInternalTimer<>(now + task.random(HORIZON), due.getKey(), VoidNamespace.INSTANCE));
    }

    /** A timer is set, and deleted again. */
    @Benchmark
    public boolean timerAddAndRemove(Task task) {
        TimerHeapInternalTimer<Long, VoidNamespace> timer = new TimerHeapInternalTimer<>(
                now + task.random(HORIZON), task.random(task.keys), VoidNamespace.INSTANCE);
        return queue.add(timer) | queue.remove(timer);
    }
}
