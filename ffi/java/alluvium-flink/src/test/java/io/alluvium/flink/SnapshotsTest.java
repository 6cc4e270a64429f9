package io.alluvium.flink;

import io.alluvium.Engine;
import io.alluvium.Snapshot;
import io.alluvium.Store;
import io.alluvium.flink.AlluviumOptions.TimerService;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.RunnableFuture;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.State;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.state.StateTtlConfig;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.IntSerializer;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.checkpoint.CheckpointType;
import org.apache.flink.runtime.checkpoint.SavepointType;
import org.apache.flink.runtime.jobgraph.JobVertexID;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.IncrementalKeyedStateHandle.HandleAndLocalPath;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.runtime.state.KeyGroupedInternalPriorityQueue;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.apache.flink.runtime.state.LocalSnapshotDirectoryProviderImpl;
import org.apache.flink.runtime.state.PlaceholderStreamStateHandle;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.hashmap.HashMapStateBackend;
import org.apache.flink.streaming.api.operators.TimerHeapInternalTimer;
import org.apache.flink.streaming.api.operators.TimerSerializer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

/** Checkpoints and savepoints of whole backends: what is uploaded, and that state and timers come back from any of them. */
class SnapshotsTest {
    private static final int KEYS = 200;

    @TempDir
    Path directory;

    private Tasks tasks;
    private final Map<
                    AbstractKeyedStateBackend<Integer>,
                    KeyGroupedInternalPriorityQueue<TimerHeapInternalTimer<Integer, VoidNamespace>>>
            queues = new HashMap<>();

    private long before;

    @BeforeEach
    void begin() throws Exception {
        // Others in this process may have left some.
        before = Engine.openObjects();
        tasks = new Tasks(directory, LocalRecoveryConfig.BACKUP_AND_RECOVERY_DISABLED);
    }

    @AfterEach
    void end() throws Exception {
        tasks.close();
        assertThat(Engine.openObjects()).isLessThanOrEqualTo(before);
        try (Stream<Path> left = Files.list(directory.resolve("stores"))) {
            assertThat(left).isEmpty();
        } catch (java.nio.file.NoSuchFileException e) {
            // No store was made.
        }
    }

    private AlluviumStateBackend backend() {
        return new AlluviumStateBackend().setLocalDirectories(directory.resolve("stores").toString());
    }

    private static ValueState<String> values(AbstractKeyedStateBackend<Integer> backend) throws Exception {
        return backend.getPartitionedState(
                VoidNamespace.INSTANCE,
                VoidNamespaceSerializer.INSTANCE,
                new ValueStateDescriptor<>("values", StringSerializer.INSTANCE));
    }

    private static ListState<Integer> lists(AbstractKeyedStateBackend<Integer> backend) throws Exception {
        return backend.getPartitionedState(
                VoidNamespace.INSTANCE,
                VoidNamespaceSerializer.INSTANCE,
                new ListStateDescriptor<>("lists", IntSerializer.INSTANCE));
    }

    /** Namespaces and user keys of variable length are what the canonical format writes lengths of. */
    private static MapState<String, String> maps(AbstractKeyedStateBackend<Integer> backend) throws Exception {
        return backend.getPartitionedState(
                "a window",
                StringSerializer.INSTANCE,
                new MapStateDescriptor<>("maps", StringSerializer.INSTANCE, StringSerializer.INSTANCE));
    }

    /** A timer service makes its queue once. */
    private KeyGroupedInternalPriorityQueue<TimerHeapInternalTimer<Integer, VoidNamespace>> timers(
            AbstractKeyedStateBackend<Integer> backend) {
        return queues.computeIfAbsent(
                backend,
                made -> made.create(
                        "timers", new TimerSerializer<>(IntSerializer.INSTANCE, VoidNamespaceSerializer.INSTANCE)));
    }

    private static boolean has(AbstractKeyedStateBackend<Integer> backend, int key) {
        int group = KeyGroupRangeAssignment.assignToKeyGroup(key, Tasks.KEY_GROUPS);
        return backend.getKeyGroupRange().contains(group);
    }

    private void fill(AbstractKeyedStateBackend<Integer> backend, String what) throws Exception {
        for (int key = 0; key < KEYS; key++) {
            if (has(backend, key)) {
                backend.setCurrentKey(key);
                values(backend).update(what + key);
                lists(backend).update(List.of(key, 2 * key));
                maps(backend).put("k" + key, null);
                maps(backend).put("longer k" + key, what);
                timers(backend).add(new TimerHeapInternalTimer<>(1_000 - key, key, VoidNamespace.INSTANCE));
            }
        }
    }

    private void check(AbstractKeyedStateBackend<Integer> backend, String what) throws Exception {
        int held = 0;
        for (int key = 0; key < KEYS; key++) {
            if (!has(backend, key)) {
                continue;
            }
            held++;
            backend.setCurrentKey(key);
            assertThat(values(backend).value()).isEqualTo(what + key);
            assertThat(lists(backend).get()).containsExactly(key, 2 * key);
            Map<String, String> map = new HashMap<>();
            maps(backend).entries().forEach(entry -> map.put(entry.getKey(), entry.getValue()));
            Map<String, String> expected = new HashMap<>();
            expected.put("k" + key, null);
            expected.put("longer k" + key, what);
            assertThat(map).isEqualTo(expected);
        }
        KeyGroupedInternalPriorityQueue<TimerHeapInternalTimer<Integer, VoidNamespace>> timers = timers(backend);
        assertThat(timers.size()).isEqualTo(held);
        long before = Long.MIN_VALUE;
        for (int left = held; left > 0; left--) {
            TimerHeapInternalTimer<Integer, VoidNamespace> timer = timers.poll();
            assertThat(timer.getTimestamp()).isEqualTo(1_000 - timer.getKey()).isGreaterThan(before);
            before = timer.getTimestamp();
        }
        assertThat(timers.poll()).isNull();
        try (Stream<Integer> keys = backend.getKeys("values", VoidNamespace.INSTANCE)) {
            assertThat(keys.distinct().count()).isEqualTo(held);
        }
    }

    private static long placeholders(KeyedStateHandle handle) {
        return ((IncrementalRemoteKeyedStateHandle) handle)
                .getSharedState().stream()
                        .filter(file -> file.getHandle() instanceof PlaceholderStreamStateHandle)
                        .count();
    }

    @Test
    void nextCheckpointUploadsOnlyWhatIsNew() throws Exception {
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend(), 0, 15);
        fill(task, "first ");
        KeyedStateHandle first = tasks.checkpoint(task, 1);
        assertThat(placeholders(first)).isZero();
        task.setCurrentKey(7);
        values(task).update("changed");
        KeyedStateHandle second =
                tasks.snapshot(task, 2, CheckpointType.CHECKPOINT).getJobManagerOwnedSnapshot();
        assertThat(placeholders(second)).isPositive();
        assertThat(second.getCheckpointedSize()).isLessThan(first.getCheckpointedSize());
        second.registerSharedStates(tasks.registry, 2);
        tasks.close(task);

        AbstractKeyedStateBackend<Integer> restored = tasks.open(backend(), 0, 15, second);
        restored.setCurrentKey(7);
        assertThat(values(restored).value()).isEqualTo("changed");
        restored.setCurrentKey(8);
        assertThat(values(restored).value()).isEqualTo("first 8");
        // Its first checkpoint builds on the one that it was restored from.
        assertThat(placeholders(tasks.snapshot(restored, 3, CheckpointType.CHECKPOINT).getJobManagerOwnedSnapshot()))
                .isPositive();
    }

    @Test
    void nothingIsSharedWithCheckpointsThatAreNotCompleted() throws Exception {
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend(), 0, 15);
        fill(task, "first ");
        tasks.snapshot(task, 1, CheckpointType.CHECKPOINT);
        task.notifyCheckpointAborted(1);
        KeyedStateHandle second =
                tasks.snapshot(task, 2, CheckpointType.CHECKPOINT).getJobManagerOwnedSnapshot();
        assertThat(placeholders(second)).isZero();
        KeyedStateHandle full =
                tasks.snapshot(task, 3, CheckpointType.FULL_CHECKPOINT).getJobManagerOwnedSnapshot();
        assertThat(placeholders(full)).isZero();
        tasks.close(task);
        check(tasks.open(backend(), 0, 15, full), "first ");
    }

    @Test
    void rescaledOutAndInAgain() throws Exception {
        AbstractKeyedStateBackend<Integer> one = tasks.open(backend(), 0, 15);
        fill(one, "v");
        KeyedStateHandle whole = tasks.checkpoint(one, 1);
        tasks.close(one);
        AbstractKeyedStateBackend<Integer> low = tasks.open(backend(), 0, 4, whole);
        AbstractKeyedStateBackend<Integer> high = tasks.open(backend(), 5, 15, whole);
        KeyedStateHandle ofLow = tasks.checkpoint(low, 2);
        KeyedStateHandle ofHigh = tasks.checkpoint(high, 2);
        check(low, "v");
        check(high, "v");
        tasks.close(low);
        tasks.close(high);
        check(tasks.open(backend(), 0, 15, ofLow, ofHigh), "v");
        check(tasks.open(backend(), 3, 9, ofLow, ofHigh), "v");
    }

    @Test
    void tasksWithoutStateLeaveNoGap() throws Exception {
        AbstractKeyedStateBackend<Integer> low = tasks.open(backend(), 0, 7);
        AbstractKeyedStateBackend<Integer> high = tasks.open(backend(), 8, 15);
        fill(low, "v");
        KeyedStateHandle ofLow = tasks.checkpoint(low, 1);
        assertThat(tasks.checkpoint(high, 1)).isNull();
        AbstractKeyedStateBackend<Integer> all = tasks.open(backend(), 0, 15, ofLow);
        for (int key = 0; key < KEYS; key++) {
            all.setCurrentKey(key);
            assertThat(values(all).value()).isEqualTo(has(low, key) ? "v" + key : null);
        }
    }

    @Test
    void nativeSavepointStandsAlone() throws Exception {
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend(), 0, 15);
        fill(task, "v");
        tasks.checkpoint(task, 1);
        KeyedStateHandle savepoint = tasks.snapshot(task, 2, SavepointType.savepoint(SavepointFormatType.NATIVE))
                .getJobManagerOwnedSnapshot();
        assertThat(placeholders(savepoint)).isZero();
        // Flink says that a savepoint is complete, too; the next checkpoint goes on from the last one.
        task.notifyCheckpointComplete(2);
        assertThat(placeholders(tasks.snapshot(task, 3, CheckpointType.CHECKPOINT).getJobManagerOwnedSnapshot()))
                .isPositive();
        tasks.close(task);
        check(tasks.open(backend(), 0, 15, savepoint), "v");
    }

    @Test
    void canonicalSavepointsLeadToAndFromTheHeapBackend() throws Exception {
        for (TimerService timers : TimerService.values()) {
            AbstractKeyedStateBackend<Integer> task = tasks.open(backend().setTimerService(timers), 0, 15);
            fill(task, "v");
            KeyedStateHandle written = Savepoints.canonical(task, tasks.factory);
            tasks.close(task);
            check(tasks.open(backend().setTimerService(timers), 0, 15, written), "v");

            AbstractKeyedStateBackend<Integer> heap = tasks.open(new HashMapStateBackend(), 0, 15, written);
            KeyedStateHandle rewritten = Savepoints.canonical(heap, tasks.factory);
            check(heap, "v");
            check(tasks.open(backend().setTimerService(timers), 0, 15, rewritten), "v");
        }
    }

    @Test
    void timersMoveFromTheStoreToTheHeap() throws Exception {
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend(), 0, 15);
        fill(task, "v");
        KeyedStateHandle handle = tasks.checkpoint(task, 1);
        tasks.close(task);
        check(tasks.open(backend().setTimerService(TimerService.HEAP), 0, 15, handle), "v");
    }

    @Test
    void localCopiesAreRestoredFrom() throws Exception {
        tasks.close();
        LocalRecoveryConfig local = LocalRecoveryConfig.backupAndRecoveryEnabled(new LocalSnapshotDirectoryProviderImpl(
                Files.createDirectories(directory.resolve("local")).toFile(), new JobID(), new JobVertexID(), 0));
        tasks = new Tasks(directory, local);
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend(), 0, 15);
        fill(task, "v");
        SnapshotResult<KeyedStateHandle> result = tasks.snapshot(task, 1, CheckpointType.CHECKPOINT);
        tasks.close(task);
        assertThat(result.getTaskLocalSnapshot()).isNotNull();
        check(tasks.open(backend(), 0, 15, result.getTaskLocalSnapshot()), "v");
        result.getTaskLocalSnapshot().discardState();
    }

    private static <S extends State> S expiring(AbstractKeyedStateBackend<Integer> backend, StateDescriptor<S, ?> descriptor)
            throws Exception {
        descriptor.enableTimeToLive(StateTtlConfig.newBuilder(Duration.ofMillis(500))
                .setStateVisibility(StateTtlConfig.StateVisibility.ReturnExpiredIfNotCleanedUp)
                .build());
        return backend.getPartitionedState(VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, descriptor);
    }

    /** What is still there though it is expired, of a value, a list and a map. */
    private static List<Object> expired(AbstractKeyedStateBackend<Integer> backend) throws Exception {
        backend.setCurrentKey(1);
        List<Object> found = new ArrayList<>();
        found.add(expiring(backend, new ValueStateDescriptor<>("values", IntSerializer.INSTANCE)).value());
        Iterable<Integer> list = expiring(backend, new ListStateDescriptor<>("lists", IntSerializer.INSTANCE)).get();
        found.add(list == null || !list.iterator().hasNext() ? null : list.iterator().next());
        MapStateDescriptor<Integer, Integer> maps =
                new MapStateDescriptor<>("maps", IntSerializer.INSTANCE, IntSerializer.INSTANCE);
        found.add(expiring(backend, maps).get(5));
        return found;
    }

    private static void writeExpiring(AbstractKeyedStateBackend<Integer> backend) throws Exception {
        backend.setCurrentKey(1);
        expiring(backend, new ValueStateDescriptor<>("values", IntSerializer.INSTANCE)).update(3);
        expiring(backend, new ListStateDescriptor<>("lists", IntSerializer.INSTANCE)).add(4);
        expiring(backend, new MapStateDescriptor<>("maps", IntSerializer.INSTANCE, IntSerializer.INSTANCE)).put(5, 6);
    }

    /** In a task, or as it moved to another machine: all of it was too old already by the time of the checkpoint before. */
    @Test
    void compactionLeavesWhatIsWrittenAfterTheClockWentBack() throws Exception {
        for (boolean moves : new boolean[] {false, true}) {
            AtomicLong now = new AtomicLong(10_000_000);
            tasks.clock = now::get;
            AbstractKeyedStateBackend<Integer> task = tasks.open(backend(), 0, 15);
            task.setCurrentKey(2);
            expiring(task, new ValueStateDescriptor<>("values", IntSerializer.INSTANCE)).update(1);
            KeyedStateHandle ahead = tasks.checkpoint(task, 1);
            now.set(0);
            if (moves) {
                tasks.close(task);
                task = tasks.open(backend(), 0, 15, ahead);
            }
            writeExpiring(task);
            Store store = ((AlluviumKeyedStateBackend<Integer>) task).openStore().store;
            // It comes to the disk and is merged before there is another checkpoint.
            try (Snapshot snapshot = store.snapshot()) {
                snapshot.await();
            }
            store.compact();
            tasks.checkpoint(task, 2);
            store.compact();
            KeyedStateHandle after = tasks.checkpoint(task, 3);
            tasks.close(task);
            AbstractKeyedStateBackend<Integer> restored = tasks.open(backend(), 0, 15, after);
            assertThat(expired(restored)).containsExactly(3, 4, 6);
            tasks.close(restored);
        }
    }

    @Test
    void compactionRemovesWhatIsExpired() throws Exception {
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend(), 0, 15);
        writeExpiring(task);
        KeyedStateHandle before = tasks.checkpoint(task, 1);
        Thread.sleep(600);
        tasks.checkpoint(task, 2);
        ((AlluviumKeyedStateBackend<Integer>) task).openStore().store.compact();
        KeyedStateHandle after = tasks.checkpoint(task, 3);
        tasks.close(task);
        assertThat(expired(tasks.open(backend(), 0, 15, before))).containsExactly(3, 4, 6);
        assertThat(expired(tasks.open(backend(), 0, 15, after))).containsExactly(null, null, null);
    }

    @Test
    void damageIsTold() throws Exception {
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend(), 0, 15);
        fill(task, "v");
        KeyedStateHandle handle = tasks.checkpoint(task, 1);
        tasks.close(task);
        String name = null;
        for (HandleAndLocalPath file : ((IncrementalRemoteKeyedStateHandle) handle).getSharedState()) {
            Path path = Path.of(file.getHandle().maybeGetPath().get().toUri().getPath());
            byte[] bytes = Files.readAllBytes(path);
            for (int at = 0; at < bytes.length; at++) {
                bytes[at] ^= 1;
            }
            Files.write(path, bytes);
            name = file.getLocalPath();
        }
        assertThat(name).isNotNull();
        assertThatThrownBy(() -> check(tasks.open(backend(), 0, 15, handle), "v"))
                .hasStackTraceContaining(name)
                .hasStackTraceContaining("damaged");
    }

    @Test
    void disposedBeforeItsSnapshotRuns() throws Exception {
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend(), 0, 15);
        fill(task, "v");
        RunnableFuture<SnapshotResult<KeyedStateHandle>> future = task.snapshot(
                1, 1, tasks.factory, CheckpointOptions.forCheckpointWithDefaultLocation());
        tasks.close(task);
        future.run();
        assertThat(future).isCancelled();
    }

    @Test
    void disposedWithStreamsAndIteratorsOpen() throws Exception {
        AbstractKeyedStateBackend<Integer> task = tasks.open(backend(), 0, 15);
        fill(task, "v");
        task.setCurrentKey(1);
        assertThat(maps(task).iterator().next().getKey()).isNotNull();
        assertThat(task.getKeys("values", VoidNamespace.INSTANCE).iterator().next()).isNotNull();
        assertThat(task.getKeysAndNamespaces("maps").iterator().next()).isNotNull();
    }
}
