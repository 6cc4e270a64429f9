package io.alluvium.flink;

import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.MemorySize;

/** The options of the backend. Whether checkpoints are incremental is Flink's own option, {@code execution.checkpointing.incremental}. */
public final class AlluviumOptions {
    /** Where timers are kept. */
    public enum TimerService {
        /** In the store, with the state: as many as the disk holds, part of incremental checkpoints. */
        STORE,
        /** On Java's heap: faster, part of the synchronous part of each checkpoint. */
        HEAP
    }

    /** The directories that stores are put into: each into one of them. */
    public static final ConfigOption<String> LOCAL_DIRECTORIES = ConfigOptions.key("state.backend.alluvium.localdir")
            .stringType()
            .noDefaultValue()
            .withDescription("Local directories for stores, separated by commas or by the system's path separator."
                    + " Without it the task manager's working directory is used.");

    /** Where timers are kept. */
    public static final ConfigOption<TimerService> TIMER_SERVICE =
            ConfigOptions.key("state.backend.alluvium.timer-service.factory")
                    .enumType(TimerService.class)
                    .defaultValue(TimerService.STORE)
                    .withDescription("Whether timers are kept in the store or on Java's heap.");

    /** Whether a slot's stores live in its share of Flink's managed memory. */
    public static final ConfigOption<Boolean> MANAGED_MEMORY = ConfigOptions.key("state.backend.alluvium.memory.managed")
            .booleanType()
            .defaultValue(true)
            .withDescription("Whether the memory of a slot's stores is its share of Flink's managed memory.");

    /** How much memory a slot's stores have, whatever Flink manages. */
    public static final ConfigOption<MemorySize> FIXED_PER_SLOT =
            ConfigOptions.key("state.backend.alluvium.memory.fixed-per-slot")
                    .memoryType()
                    .noDefaultValue()
                    .withDescription("The memory of a slot's stores, in place of a share of Flink's managed memory.");

    /** How much memory the stores of a whole task manager have together. */
    public static final ConfigOption<MemorySize> FIXED_PER_TASK_MANAGER =
            ConfigOptions.key("state.backend.alluvium.memory.fixed-per-tm")
                    .memoryType()
                    .noDefaultValue()
                    .withDescription("The memory of all stores of a task manager together, where neither is Flink's managed"
                            + " memory used nor the memory of a slot fixed. It is read from the task manager's configuration.");

    /** Background threads of a slot. */
    public static final ConfigOption<Integer> THREADS = ConfigOptions.key("state.backend.alluvium.threads")
            .intType()
            .defaultValue(2)
            .withDescription("Threads that flush and compact the stores of a slot.");

    /** Threads that move the files of checkpoints. */
    public static final ConfigOption<Integer> TRANSFER_THREADS =
            ConfigOptions.key("state.backend.alluvium.checkpoint.transfer.thread.num")
                    .intType()
                    .defaultValue(4)
                    .withDescription("Threads of each keyed backend that upload and download the files of checkpoints.");

    /** Whether segments are compressed. */
    public static final ConfigOption<Boolean> COMPRESS = ConfigOptions.key("state.backend.alluvium.compress")
            .booleanType()
            .defaultValue(true)
            .withDescription("Whether segments are compressed where it pays.");

    /** Whether a restored task begins before its files are here. */
    public static final ConfigOption<Boolean> RESTORE_ON_DEMAND =
            ConfigOptions.key("state.backend.alluvium.restore.on-demand")
                    .booleanType()
                    .defaultValue(false)
                    .withDescription("Whether a task that is restored begins at once, and what it reads is downloaded before"
                            + " the rest; otherwise all of its files are downloaded first.");

    /** Whether what the engine counts is among Flink's metrics. */
    public static final ConfigOption<Boolean> METRICS = ConfigOptions.key("state.backend.alluvium.metrics")
            .booleanType()
            .defaultValue(false)
            .withDescription("Whether what the stores count and how much memory they have is reported with Flink's metrics.");

    private AlluviumOptions() {}
}
