package io.alluvium.flink;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.RunnableFuture;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.typeutils.base.IntSerializer;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.checkpoint.CheckpointType;
import org.apache.flink.runtime.checkpoint.SnapshotType;
import org.apache.flink.runtime.operators.testutils.MockEnvironment;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.CheckpointStorageLocationReference;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyedStateBackendParametersImpl;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.SharedStateRegistry;
import org.apache.flink.runtime.state.SharedStateRegistryImpl;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.Snapshotable;
import org.apache.flink.runtime.state.StateBackend;
import org.apache.flink.runtime.state.StateBackend.KeyedStateBackendParameters;
import org.apache.flink.runtime.state.TestTaskStateManager;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;
import org.apache.flink.runtime.util.TestingTaskManagerRuntimeInfo;

/** Subtasks of a job with 16 key groups and integer keys, in one slot. */
final class Tasks implements AutoCloseable {
    static final int KEY_GROUPS = 16;

    final MockEnvironment env;
    final SharedStateRegistry registry = new SharedStateRegistryImpl();
    final CheckpointStreamFactory factory;
    TtlTimeProvider clock = TtlTimeProvider.DEFAULT;
    MetricGroup metrics = new UnregisteredMetricsGroup();
    /** What restoring took, in ms, by Flink's names. */
    final Map<String, Long> durations = new HashMap<>();
    private final List<AbstractKeyedStateBackend<Integer>> backends = new ArrayList<>();

    Tasks(Path directory, LocalRecoveryConfig localRecovery) throws Exception {
        this(directory, localRecovery, new Configuration());
    }

    Tasks(Path directory, LocalRecoveryConfig localRecovery, Configuration taskManager) throws Exception {
        env = MockEnvironment.builder()
                .setTaskManagerRuntimeInfo(new TestingTaskManagerRuntimeInfo(taskManager, directory.toFile()))
                .setTaskStateManager(
                        TestTaskStateManager.builder().setLocalRecoveryConfig(localRecovery).build())
                .build();
        env.setCheckpointStorageAccess(Storages.FILES.make(directory).createCheckpointStorage(new JobID()));
        factory = env.getCheckpointStorageAccess()
                .resolveCheckpointStorageLocation(1, CheckpointStorageLocationReference.getDefault());
    }

    /** A subtask of these key groups, restored from what there is. */
    AbstractKeyedStateBackend<Integer> open(StateBackend backend, int first, int last, KeyedStateHandle... handles)
            throws Exception {
        AbstractKeyedStateBackend<Integer> opened = (AbstractKeyedStateBackend<Integer>)
                backend.createKeyedStateBackend(parameters(first, last, handles));
        backends.add(opened);
        return opened;
    }

    /** What a subtask of these key groups opens its backend with. */
    KeyedStateBackendParameters<Integer> parameters(int first, int last, KeyedStateHandle... handles) {
        return new KeyedStateBackendParametersImpl<>(
                env,
                new JobID(),
                "operator",
                IntSerializer.INSTANCE,
                KEY_GROUPS,
                new KeyGroupRange(first, last),
                env.getTaskKvStateRegistry(),
                clock,
                metrics,
                durations::put,
                List.of(handles),
                new CloseableRegistry(),
                1.0);
    }

    SnapshotResult<KeyedStateHandle> snapshot(
            Snapshotable<SnapshotResult<KeyedStateHandle>> backend, long checkpoint, SnapshotType type) throws Exception {
        RunnableFuture<SnapshotResult<KeyedStateHandle>> future = backend.snapshot(
                checkpoint,
                checkpoint,
                factory,
                new CheckpointOptions(type, CheckpointStorageLocationReference.getDefault()));
        future.run();
        return future.get();
    }

    /** A checkpoint as the job manager has it: registered, and completed. */
    KeyedStateHandle checkpoint(AbstractKeyedStateBackend<?> backend, long checkpoint) throws Exception {
        KeyedStateHandle handle =
                snapshot(backend, checkpoint, CheckpointType.CHECKPOINT).getJobManagerOwnedSnapshot();
        if (handle != null) {
            handle.registerSharedStates(registry, checkpoint);
        }
        backend.notifyCheckpointComplete(checkpoint);
        return handle;
    }

    void close(AbstractKeyedStateBackend<Integer> backend) throws Exception {
        backend.close();
        backend.dispose();
        backends.remove(backend);
    }

    @Override
    public void close() throws Exception {
        for (AbstractKeyedStateBackend<Integer> backend : new ArrayList<>(backends)) {
            close(backend);
        }
        registry.close();
        env.close();
    }
}
