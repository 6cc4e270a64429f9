package io.alluvium.flink;

import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.StateTtlConfig;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.IntSerializer;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.apache.flink.runtime.state.StateSnapshotTransformer.StateSnapshotTransformFactory;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.internal.InternalMapState;
import org.apache.flink.runtime.state.ttl.TtlStateFactory.TtlSerializer;
import org.apache.flink.runtime.state.ttl.TtlValue;
import org.apache.flink.util.StateMigrationException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

/** Maps that have null values when their entries get a time to live: these had no time, never went, and made each cleanup fail. */
class TtlOfNullsTest {
    @TempDir
    Path directory;

    private final AtomicLong now = new AtomicLong(1_000);
    private Tasks tasks;

    @BeforeEach
    void begin() throws Exception {
        tasks = new Tasks(directory, LocalRecoveryConfig.BACKUP_AND_RECOVERY_DISABLED);
        tasks.clock = now::get;
    }

    @AfterEach
    void end() throws Exception {
        tasks.close();
    }

    private AbstractKeyedStateBackend<Integer> open(KeyedStateHandle... handles) throws Exception {
        AbstractKeyedStateBackend<Integer> task = tasks.open(
                new AlluviumStateBackend().setLocalDirectories(directory.resolve("stores").toString()), 0, 15, handles);
        task.setCurrentKey(1);
        return task;
    }

    private static <V> MapState<String, V> maps(
            AbstractKeyedStateBackend<Integer> task, TypeSerializer<V> values, boolean isTimed) throws Exception {
        MapStateDescriptor<String, V> descriptor =
                new MapStateDescriptor<>("maps", StringSerializer.INSTANCE, values);
        if (isTimed) {
            descriptor.enableTimeToLive(StateTtlConfig.newBuilder(Duration.ofMillis(500))
                    .cleanupIncrementally(5, false)
                    .build());
        }
        return task.getPartitionedState(VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, descriptor);
    }

    /** A checkpoint of a map without a time to live. */
    private KeyedStateHandle untimed() throws Exception {
        AbstractKeyedStateBackend<Integer> task = open();
        MapState<String, String> maps = maps(task, StringSerializer.INSTANCE, false);
        maps.put("null", null);
        maps.put("some", "value");
        KeyedStateHandle checkpoint = tasks.checkpoint(task, 1);
        tasks.close(task);
        return checkpoint;
    }

    @Test
    void nullsLiveAsLongAsOthers() throws Exception {
        AbstractKeyedStateBackend<Integer> task = open(untimed());
        MapState<String, String> maps = maps(task, StringSerializer.INSTANCE, true);
        now.set(1_499);
        assertThat(maps.get("null")).isNull();
        assertThat(maps.contains("null")).isTrue();
        assertThat(maps.get("some")).isEqualTo("value");
        assertThat(task.numKeyValueStateEntries()).isEqualTo(2);
        now.set(1_500);
        // Others' accesses clean up.
        task.setCurrentKey(2);
        maps.get("other");
        maps.get("other");
        assertThat(task.numKeyValueStateEntries()).isZero();
    }

    @Test
    void nullsStayWhereTheTimeToLiveIsSwitchedOffAgain() throws Exception {
        AbstractKeyedStateBackend<Integer> timed = open(untimed());
        maps(timed, StringSerializer.INSTANCE, true);
        KeyedStateHandle second = tasks.checkpoint(timed, 2);
        tasks.close(timed);
        now.set(10_000);
        MapState<String, String> maps = maps(open(second), StringSerializer.INSTANCE, false);
        assertThat(maps.contains("null")).isTrue();
        assertThat(maps.get("null")).isNull();
        assertThat(maps.get("some")).isEqualTo("value");
    }

    /** The serializers of values with a time have those without written as they are. */
    @Test
    void whatTheSerializerDoesNotTakeIsTold() throws Exception {
        AbstractKeyedStateBackend<Integer> task = open();
        maps(task, IntSerializer.INSTANCE, false).put("null", null);
        KeyedStateHandle checkpoint = tasks.checkpoint(task, 1);
        tasks.close(task);
        AbstractKeyedStateBackend<Integer> restored = open(checkpoint);
        assertThatThrownBy(() -> maps(restored, IntSerializer.INSTANCE, true))
                .isInstanceOf(StateMigrationException.class)
                .hasMessageContaining("maps");
    }

    /** As a store has it that got the time to live before null got a time with it. */
    private KeyedStateHandle withoutATime() throws Exception {
        AbstractKeyedStateBackend<Integer> task = open();
        InternalMapState<Integer, VoidNamespace, String, TtlValue<String>> inner = task.createOrUpdateInternalState(
                VoidNamespaceSerializer.INSTANCE,
                new MapStateDescriptor<>(
                        "maps",
                        StringSerializer.INSTANCE,
                        new TtlSerializer<>(LongSerializer.INSTANCE, StringSerializer.INSTANCE)),
                StateSnapshotTransformFactory.noTransform());
        inner.setCurrentNamespace(VoidNamespace.INSTANCE);
        inner.put("null", null);
        KeyedStateHandle checkpoint = tasks.checkpoint(task, 1);
        tasks.close(task);
        return checkpoint;
    }

    @Test
    void cleanupsPassByNullsWithoutATime() throws Exception {
        AbstractKeyedStateBackend<Integer> task = open(withoutATime());
        MapState<String, String> maps = maps(task, StringSerializer.INSTANCE, true);
        maps.put("some", "value");
        now.set(1_500);
        task.setCurrentKey(2);
        maps.get("other");
        maps.get("other");
        assertThat(task.numKeyValueStateEntries()).isEqualTo(1);
        task.setCurrentKey(1);
        assertThat(maps.contains("some")).isFalse();
    }
}
