package org.apache.flink.state.rocksdb;

import io.alluvium.flink.AlluviumOptions.TimerService;
import io.alluvium.flink.AlluviumStateBackend;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.IllegalConfigurationException;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.runtime.state.StateBackendFactory;

/**
 * What Flink loads by the name {@code rocksdb}, here: it stands before RocksDB's own factory on the class path, so that suites which ask for
 * RocksDB get Alluvium. Of RocksDB's options it heeds those that suites set: where timers are kept, and whether checkpoints are incremental.
 */
public final class EmbeddedRocksDBStateBackendFactory implements StateBackendFactory<AlluviumStateBackend> {
    private static final AtomicLong MADE = new AtomicLong();
    private static final ConfigOption<String> TIMERS =
            ConfigOptions.key("state.backend.rocksdb.timer-service.factory").stringType().noDefaultValue();

    /** For Flink, which makes it by reflection. */
    public EmbeddedRocksDBStateBackendFactory() {}

    /** How many backends were made. */
    public static long made() {
        return MADE.get();
    }

    @Override
    public AlluviumStateBackend createFromConfig(ReadableConfig config, ClassLoader classLoader)
            throws IllegalConfigurationException {
        MADE.incrementAndGet();
        AlluviumStateBackend backend = new AlluviumStateBackend();
        backend.setIncremental(config.get(CheckpointingOptions.INCREMENTAL_CHECKPOINTS));
        config.getOptional(TIMERS).ifPresent(where -> backend.setTimerService(
                where.equalsIgnoreCase("heap") ? TimerService.HEAP : TimerService.STORE));
        return backend.configure(config, classLoader);
    }
}
