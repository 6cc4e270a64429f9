package io.alluvium.flink;

import java.nio.file.Path;
import org.apache.flink.api.common.JobID;
import org.apache.flink.runtime.state.CheckpointStorage;
import org.apache.flink.runtime.state.CheckpointStorageAccess;
import org.apache.flink.runtime.state.CheckpointStorageLocationReference;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.StateBackend;
import org.apache.flink.runtime.state.ttl.StateBackendTestContext;
import org.apache.flink.runtime.state.ttl.TtlStateTestBase;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Flink's suite for state with a time to live, through native checkpoints. */
@ExtendWith(Skips.class)
@Skips.Known({
    // What a kind of state doesn't have.
    "testMergeNamespaces",
    "testValueSetNull",
    // Native checkpoints hold files as they are, with what is expired.
    "testMultipleKeysWithSnapshotCleanup",
    "testMultipleNamespacesWithSnapshotCleanup",
    // Looks into the tables of the heap backend.
    "testIncrementalCleanupWholeState"
})
class AlluviumTtlStateTest extends TtlStateTestBase {
    @TempDir
    Path directory;

    private String test;

    @BeforeEach
    void remember(TestInfo info) {
        test = info.getTestMethod().orElseThrow().getName();
    }

    @Override
    protected StateBackendTestContext createStateBackendTestContext(TtlTimeProvider timeProvider) {
        return new StateBackendTestContext(timeProvider) {
            @Override
            protected StateBackend createStateBackend() {
                return new AlluviumStateBackend().setLocalDirectories(directory.toString());
            }

            @Override
            protected CheckpointStorage createCheckpointStorage() {
                return Storages.FILES.make(directory);
            }

            @Override
            public KeyedStateHandle takeSnapshot() throws Exception {
                if (!isSavepoint()) {
                    return super.takeSnapshot();
                }
                CheckpointStorageAccess storage = createCheckpointStorage().createCheckpointStorage(new JobID());
                return Savepoints.canonical(
                        getKeyedStateBackend(),
                        storage.resolveCheckpointStorageLocation(1, CheckpointStorageLocationReference.getDefault()));
            }
        };
    }

    /** Native checkpoints hold files as they are, with what is expired. */
    @Override
    public boolean isSavepoint() {
        return false;
    }

    @Override
    protected boolean incrementalCleanupSupported() {
        // That one looks into the tables of the heap backend.
        return !test.equals("testIncrementalCleanupWholeState");
    }
}
