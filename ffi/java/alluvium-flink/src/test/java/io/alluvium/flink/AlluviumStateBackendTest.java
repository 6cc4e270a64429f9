package io.alluvium.flink;

import io.alluvium.Engine;
import io.alluvium.flink.AlluviumOptions.TimerService;
import java.nio.file.Path;
import java.util.List;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.state.CheckpointStorage;
import org.apache.flink.runtime.state.ConfigurableStateBackend;
import org.apache.flink.runtime.state.StateBackendTestBase;
import org.apache.flink.testutils.junit.extensions.parameterized.Parameter;
import org.apache.flink.testutils.junit.extensions.parameterized.ParameterizedTestExtension;
import org.apache.flink.testutils.junit.extensions.parameterized.Parameters;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

import static org.assertj.core.api.Assertions.assertThat;

/** Flink's suite for keyed state backends. */
@ExtendWith({ParameterizedTestExtension.class, Skips.class})
class AlluviumStateBackendTest extends StateBackendTestBase<AlluviumStateBackend> {
    @TempDir
    static Path directory;

    @Parameter
    Storages storage;

    @Parameter(1)
    boolean incremental;

    @Parameter(2)
    TimerService timers;

    @Parameter(3)
    boolean onDemand;

    @Parameters(name = "checkpoints: {0}, incremental: {1}, timers: {2}, on demand: {3}")
    static List<Object[]> modes() {
        return List.of(
                new Object[] {Storages.JOB_MANAGER, true, TimerService.STORE, false},
                new Object[] {Storages.FILES, true, TimerService.STORE, true},
                new Object[] {Storages.FILES, false, TimerService.HEAP, false});
    }

    private static long before;

    @BeforeAll
    static void count() {
        before = Engine.openObjects();
    }

    @AfterAll
    static void everythingElseIsClosed() {
        // The suite's testMapStateWithNullValue disposes of no backend: it leaves engine, store, writer and reader, for each mode.
        assertThat(Engine.openObjects() - before).isLessThanOrEqualTo(4L * modes().size());
    }

    @Override
    protected ConfigurableStateBackend getStateBackend() {
        Configuration config = new Configuration();
        config.set(AlluviumOptions.LOCAL_DIRECTORIES, Storages.directory(directory).toString());
        config.set(AlluviumOptions.TIMER_SERVICE, timers);
        config.set(AlluviumOptions.RESTORE_ON_DEMAND, onDemand);
        return new AlluviumStateBackend().setIncremental(incremental).configure(config, getClass().getClassLoader());
    }

    @Override
    protected CheckpointStorage getCheckpointStorage() {
        return storage.make(directory);
    }

    @Override
    protected boolean isSerializerPresenceRequiredOnRestore() {
        return false;
    }

    @Override
    protected boolean supportsAsynchronousSnapshots() {
        return true;
    }

    @Override
    protected boolean isSafeToReuseKVState() {
        return timers == TimerService.STORE;
    }
}
