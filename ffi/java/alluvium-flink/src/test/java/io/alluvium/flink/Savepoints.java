package io.alluvium.flink;

import java.util.concurrent.RunnableFuture;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.checkpoint.SavepointType;
import org.apache.flink.runtime.state.CheckpointStorageLocationReference;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.CheckpointableKeyedStateBackend;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.SavepointSnapshotStrategy;
import org.apache.flink.runtime.state.SnapshotExecutionType;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.SnapshotStrategyRunner;

/** Canonical savepoints, as Flink takes them of any backend. */
final class Savepoints {
    private Savepoints() {}

    static KeyedStateHandle canonical(CheckpointableKeyedStateBackend<?> backend, CheckpointStreamFactory factory)
            throws Exception {
        RunnableFuture<SnapshotResult<KeyedStateHandle>> future = new SnapshotStrategyRunner<>(
                        "savepoint",
                        new SavepointSnapshotStrategy<>(backend.savepoint().getSnapshotResources()),
                        new CloseableRegistry(),
                        SnapshotExecutionType.ASYNCHRONOUS)
                .snapshot(
                        1,
                        1,
                        factory,
                        new CheckpointOptions(
                                SavepointType.savepoint(SavepointFormatType.CANONICAL),
                                CheckpointStorageLocationReference.getDefault()));
        future.run();
        return future.get().getJobManagerOwnedSnapshot();
    }
}
