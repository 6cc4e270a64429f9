package io.alluvium.flink;

import java.nio.file.Path;
import java.util.List;
import org.apache.flink.runtime.state.CheckpointStorage;
import org.apache.flink.runtime.state.ConfigurableStateBackend;
import org.apache.flink.runtime.state.v2.StateBackendTestV2Base;
import org.apache.flink.testutils.junit.extensions.parameterized.Parameter;
import org.apache.flink.testutils.junit.extensions.parameterized.ParameterizedTestExtension;
import org.apache.flink.testutils.junit.extensions.parameterized.Parameters;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Flink's suite for backends of the asynchronous state API. */
@ExtendWith({ParameterizedTestExtension.class, Skips.class})
class AlluviumStateBackendV2Test extends StateBackendTestV2Base<AlluviumStateBackend> {
    @TempDir
    static Path directory;

    @Parameter
    Storages storage;

    @Parameters(name = "checkpoints: {0}")
    static List<Storages> modes() {
        return List.of(Storages.values());
    }

    @Override
    protected ConfigurableStateBackend getStateBackend() {
        return new AlluviumStateBackend()
                .setLocalDirectories(Storages.directory(directory).toString())
                .setRestoreOnDemand(storage == Storages.FILES);
    }

    @Override
    protected void restoreJob() {
        // Nothing of a job is kept beside its checkpoints.
    }

    @Override
    protected CheckpointStorage getCheckpointStorage() {
        return storage.make(directory);
    }
}
