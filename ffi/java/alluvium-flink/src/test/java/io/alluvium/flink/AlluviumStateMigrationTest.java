package io.alluvium.flink;

import java.nio.file.Path;
import java.util.List;
import org.apache.flink.runtime.state.CheckpointStorage;
import org.apache.flink.runtime.state.StateBackendMigrationTestBase;
import org.apache.flink.testutils.junit.extensions.parameterized.Parameter;
import org.apache.flink.testutils.junit.extensions.parameterized.ParameterizedTestExtension;
import org.apache.flink.testutils.junit.extensions.parameterized.Parameters;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Flink's suite for state whose serializers change. */
@ExtendWith({ParameterizedTestExtension.class, Skips.class})
class AlluviumStateMigrationTest extends StateBackendMigrationTestBase<AlluviumStateBackend> {
    @TempDir
    static Path directory;

    @Parameter
    Storages storage;

    @Parameters(name = "checkpoints: {0}")
    static List<Storages> modes() {
        return List.of(Storages.values());
    }

    @Override
    protected AlluviumStateBackend getStateBackend() {
        return new AlluviumStateBackend()
                .setLocalDirectories(Storages.directory(directory).toString())
                .setRestoreOnDemand(storage == Storages.FILES);
    }

    @Override
    protected CheckpointStorage getCheckpointStorage() {
        return storage.make(directory);
    }
}
