package io.alluvium.flink;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.IntSerializer;
import org.apache.flink.metrics.Gauge;
import org.apache.flink.metrics.Metric;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import static org.assertj.core.api.Assertions.assertThat;

/** What the engine counts, as Flink's reporters see it. */
class MetricsTest {
    @TempDir
    Path directory;

    private Tasks tasks;

    /** A group that keeps its gauges, and those of its groups by longer names. */
    private static final class Kept extends UnregisteredMetricsGroup {
        private final String prefix;
        private final Map<String, Metric> gauges;

        Kept(String prefix, Map<String, Metric> gauges) {
            this.prefix = prefix;
            this.gauges = gauges;
        }

        @Override
        public <T, G extends Gauge<T>> G gauge(String name, G gauge) {
            gauges.put(prefix + name, gauge);
            return gauge;
        }

        @Override
        public MetricGroup addGroup(String name) {
            return new Kept(prefix + name + ".", gauges);
        }

        double value(String name) {
            assertThat(gauges).containsKey(name);
            return ((Number) ((Gauge<?>) gauges.get(name)).getValue()).doubleValue();
        }
    }

    @BeforeEach
    void begin() throws Exception {
        tasks = new Tasks(directory, LocalRecoveryConfig.BACKUP_AND_RECOVERY_DISABLED);
    }

    @AfterEach
    void end() throws Exception {
        tasks.close();
    }

    private AlluviumStateBackend backend(boolean metrics) {
        return new AlluviumStateBackend()
                .setLocalDirectories(directory.resolve("stores").toString())
                .setMetrics(metrics);
    }

    private static ValueState<Integer> values(AbstractKeyedStateBackend<Integer> backend) throws Exception {
        return backend.getPartitionedState(
                VoidNamespace.INSTANCE,
                VoidNamespaceSerializer.INSTANCE,
                new ValueStateDescriptor<>("values", IntSerializer.INSTANCE));
    }

    @Test
    void gaugesFollowTheStore() throws Exception {
        Kept group = new Kept("", new HashMap<>());
        tasks.metrics = group;
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend(true), 0, 15);
        assertThat(group.value("alluvium.segments")).isZero();
        for (int key = 0; key < 1_000; key++) {
            task.setCurrentKey(key);
            values(task).update(key);
            assertThat(values(task).value()).isEqualTo(key);
        }
        tasks.checkpoint(task, 1);
        // They are read at most once a second.
        Thread.sleep(1_100);
        assertThat(group.value("alluvium.segments")).isPositive();
        assertThat(group.value("alluvium.segment_bytes")).isPositive();
        assertThat(group.value("alluvium.checkpoints")).isEqualTo(1);
        assertThat(group.value("alluvium.checkpoint_seconds_max")).isPositive();
        assertThat(group.value("alluvium.hits")).isGreaterThanOrEqualTo(1_000);
        assertThat(group.value("alluvium.memory_bytes")).isPositive();
        assertThat(group.value("alluvium.flushed_bytes")).isPositive();
        assertThat(group.value("alluvium.engine_used_bytes"))
                .isPositive()
                .isLessThanOrEqualTo(group.value("alluvium.engine_budget_bytes"));
        assertThat(group.value("alluvium.stalls")).isZero();
        assertThat(group.gauges).containsKeys("alluvium.cache_hits", "alluvium.io_written_bytes", "alluvium.read_operation_seconds_p99");
        double before = group.value("alluvium.operations");
        tasks.close(task);
        // A reporter may come late.
        Thread.sleep(1_100);
        assertThat(group.value("alluvium.operations")).isEqualTo(before);
    }

    @Test
    void nothingIsReportedUnlessItIsAskedFor() throws Exception {
        Kept group = new Kept("", new HashMap<>());
        tasks.metrics = group;
        tasks.open(backend(false), 0, 15);
        assertThat(group.gauges.keySet()).noneMatch(name -> name.startsWith("alluvium"));
    }

    @Test
    void restoringIsTimed() throws Exception {
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend(false), 0, 15);
        task.setCurrentKey(1);
        values(task).update(1);
        assertThat(tasks.durations).isEmpty();
        tasks.open(backend(false), 0, 15, tasks.checkpoint(task, 1));
        assertThat(tasks.durations).containsOnlyKeys("DownloadStateDurationMs", "RestoreStateDurationMs");
    }
}
