package io.alluvium.flink;

import java.nio.file.Path;
import org.apache.flink.runtime.state.CheckpointStorage;
import org.apache.flink.runtime.state.StateBackend;
import org.apache.flink.runtime.state.ttl.StateBackendTestContext;
import org.apache.flink.runtime.state.ttl.TtlStateTestBase;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;
import org.junit.jupiter.api.io.TempDir;

/** Flink's suite for state with a time to live. */
class AlluviumTtlStateTest extends TtlStateTestBase {
    @TempDir
    Path directory;

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
        };
    }

    @Override
    protected boolean incrementalCleanupSupported() {
        return false;
    }
}
