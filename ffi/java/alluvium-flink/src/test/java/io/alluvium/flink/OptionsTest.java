package io.alluvium.flink;

import io.alluvium.flink.AlluviumOptions.TimerService;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.IllegalConfigurationException;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.runtime.state.StateBackend;
import org.apache.flink.runtime.state.StateBackendLoader;
import org.apache.flink.util.InstantiationUtil;
import org.junit.jupiter.api.Test;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

/** How a backend comes from a configuration. */
class OptionsTest {
    private static AlluviumStateBackend load(Configuration config) throws Exception {
        config.set(StateBackendOptions.STATE_BACKEND, AlluviumStateBackendFactory.class.getName());
        StateBackend backend =
                StateBackendLoader.loadStateBackendFromConfig(config, OptionsTest.class.getClassLoader(), null);
        return (AlluviumStateBackend) backend;
    }

    @Test
    void flinkLoadsItByTheFactorysName() throws Exception {
        AlluviumStateBackend backend = load(new Configuration());
        assertThat(backend.isIncremental()).isTrue();
        assertThat(backend.timerService()).isEqualTo(TimerService.STORE);
        assertThat(backend.useManagedMemory()).isTrue();
        assertThat(backend.supportsNoClaimRestoreMode()).isTrue();
    }

    @Test
    void optionsAreRead() throws Exception {
        Configuration config = new Configuration();
        config.set(CheckpointingOptions.INCREMENTAL_CHECKPOINTS, false);
        config.set(AlluviumOptions.TIMER_SERVICE, TimerService.HEAP);
        config.set(AlluviumOptions.FIXED_PER_SLOT, MemorySize.ofMebiBytes(8));
        config.set(AlluviumOptions.TRANSFER_THREADS, 1);
        config.set(AlluviumOptions.COMPRESS, false);
        AlluviumStateBackend backend = load(config);
        assertThat(backend.isIncremental()).isFalse();
        assertThat(backend.timerService()).isEqualTo(TimerService.HEAP);
        assertThat(backend.useManagedMemory()).isFalse();
        assertThat(backend.transferThreads()).isEqualTo(1);
        assertThat(backend.compresses()).isFalse();
    }

    @Test
    void whatIsSetByHandWins() throws Exception {
        Configuration config = new Configuration();
        config.set(AlluviumOptions.TIMER_SERVICE, TimerService.HEAP);
        AlluviumStateBackend backend = new AlluviumStateBackend()
                .setTimerService(TimerService.STORE)
                .setIncremental(false)
                .configure(config, getClass().getClassLoader());
        assertThat(backend.timerService()).isEqualTo(TimerService.STORE);
        assertThat(backend.isIncremental()).isFalse();
        // Tasks get it serialized.
        assertThat(InstantiationUtil.clone(backend).isIncremental()).isFalse();
    }

    @Test
    void nonsenseIsRefused() {
        Configuration threads = new Configuration();
        threads.set(AlluviumOptions.THREADS, 0);
        assertThatThrownBy(() -> load(threads)).isInstanceOf(IllegalConfigurationException.class);
        Configuration directory = new Configuration();
        directory.set(AlluviumOptions.LOCAL_DIRECTORIES, "here");
        assertThatThrownBy(() -> load(directory)).isInstanceOf(IllegalConfigurationException.class);
    }
}
