package io.alluvium.flink;

import io.alluvium.flink.AlluviumOptions.TimerService;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Stream;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.CheckpointListener;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.connector.source.util.ratelimit.RateLimiterStrategy;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.RestartStrategyOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.configuration.StateChangelogOptions;
import org.apache.flink.configuration.StateRecoveryOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.runtime.minicluster.MiniCluster;
import org.apache.flink.runtime.minicluster.MiniClusterConfiguration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.util.Collector;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

import static org.assertj.core.api.Assertions.assertThat;

/** A job in a small cluster that fails after a checkpoint, and counts right all the same. */
class JobTest {
    private static final int KEYS = 50;
    private static final int EVENTS = 20_000;
    private static final Map<Long, String> RESULTS = new ConcurrentHashMap<>();
    private static final AtomicBoolean CHECKPOINTED = new AtomicBoolean();
    private static final AtomicBoolean FAILED = new AtomicBoolean();

    /** What the job is configured with. */
    enum Variant {
        PLAIN,
        HEAP_TIMERS,
        FULL_CHECKPOINTS,
        FILE_MERGING,
        ON_DEMAND,
        CHANGELOG,
        LOCAL_RECOVERY;

        void set(Configuration config) {
            switch (this) {
                case HEAP_TIMERS:
                    config.set(AlluviumOptions.TIMER_SERVICE, TimerService.HEAP);
                    break;
                case FULL_CHECKPOINTS:
                    config.set(CheckpointingOptions.INCREMENTAL_CHECKPOINTS, false);
                    break;
                case FILE_MERGING:
                    config.set(CheckpointingOptions.FILE_MERGING_ENABLED, true);
                    config.set(CheckpointingOptions.FILE_MERGING_ACROSS_BOUNDARY, true);
                    break;
                case CHANGELOG:
                    config.set(StateChangelogOptions.ENABLE_STATE_CHANGE_LOG, true);
                    config.set(StateChangelogOptions.STATE_CHANGE_LOG_STORAGE, "memory");
                    config.set(StateChangelogOptions.PERIODIC_MATERIALIZATION_INTERVAL, Duration.ofMillis(100));
                    break;
                case ON_DEMAND:
                    config.set(AlluviumOptions.RESTORE_ON_DEMAND, true);
                    break;
                case LOCAL_RECOVERY:
                    config.set(CheckpointingOptions.LOCAL_BACKUP_ENABLED, true);
                    config.set(StateRecoveryOptions.LOCAL_RECOVERY, true);
                    break;
                default:
            }
        }
    }

    @TempDir
    Path directory;

    @BeforeEach
    void begin() {
        RESULTS.clear();
        CHECKPOINTED.set(false);
        FAILED.set(false);
    }

    /** Counts in three kinds of state, and tells by a timer at the end. */
    private static final class Count extends KeyedProcessFunction<Long, Long, Long> implements CheckpointListener {
        private static final long serialVersionUID = 1;

        private transient ValueState<Long> count;
        private transient ListState<Long> seen;
        private transient MapState<Long, Long> digits;

        @Override
        public void open(OpenContext context) {
            count = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Types.LONG));
            seen = getRuntimeContext().getListState(new ListStateDescriptor<>("seen", Types.LONG));
            digits = getRuntimeContext().getMapState(new MapStateDescriptor<>("digits", Types.LONG, Types.LONG));
        }

        @Override
        public void processElement(Long event, Context context, Collector<Long> out) throws Exception {
            if (CHECKPOINTED.get() && FAILED.compareAndSet(false, true)) {
                throw new IllegalStateException("as planned");
            }
            count.update(count.value() == null ? 1 : count.value() + 1);
            seen.add(event);
            Long before = digits.get(event % 10);
            digits.put(event % 10, before == null ? 1 : before + 1);
            context.timerService().registerEventTimeTimer(Long.MAX_VALUE - 1 - event % 3);
        }

        @Override
        public void onTimer(long timestamp, OnTimerContext context, Collector<Long> out) throws Exception {
            long listed = 0;
            for (Long ignored : seen.get()) {
                listed++;
            }
            long mapped = 0;
            for (Long each : digits.values()) {
                mapped += each;
            }
            RESULTS.put(context.getCurrentKey(), count.value() + " " + listed + " " + mapped);
        }

        @Override
        public void notifyCheckpointComplete(long checkpointId) {
            CHECKPOINTED.set(true);
        }
    }

    private Configuration config(Variant variant) {
        Configuration config = new Configuration();
        config.set(StateBackendOptions.STATE_BACKEND, AlluviumStateBackendFactory.class.getName());
        config.set(AlluviumOptions.LOCAL_DIRECTORIES, directory.resolve("stores").toString());
        config.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, directory.resolve("checkpoints").toUri().toString());
        config.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, Duration.ofMillis(50));
        config.set(RestartStrategyOptions.RESTART_STRATEGY, "fixed-delay");
        config.set(RestartStrategyOptions.RESTART_STRATEGY_FIXED_DELAY_ATTEMPTS, 3);
        config.set(RestartStrategyOptions.RESTART_STRATEGY_FIXED_DELAY_DELAY, Duration.ofMillis(10));
        config.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(64));
        variant.set(config);
        return config;
    }

    @ParameterizedTest
    @EnumSource
    void failsAndCountsRight(Variant variant) throws Exception {
        Configuration config = config(variant);
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment(config);
        env.setParallelism(2);
        // So slow that there are checkpoints before the end.
        DataGeneratorSource<Long> numbers = new DataGeneratorSource<>(
                number -> number, EVENTS, RateLimiterStrategy.perSecond(EVENTS / 2.0), Types.LONG);
        env.fromSource(numbers, WatermarkStrategy.noWatermarks(), "numbers")
                .keyBy(event -> event % KEYS, Types.LONG)
                .process(new Count())
                .sinkTo(new DiscardingSink<>());
        try (MiniCluster cluster = new MiniCluster(new MiniClusterConfiguration.Builder()
                .setConfiguration(config)
                .setNumTaskManagers(1)
                .setNumSlotsPerTaskManager(2)
                .build())) {
            cluster.start();
            cluster.executeJobBlocking(env.getStreamGraph().getJobGraph());
        }
        assertThat(FAILED).isTrue();
        long each = EVENTS / KEYS;
        assertThat(RESULTS).hasSize(KEYS);
        assertThat(RESULTS.values()).containsOnly(each + " " + each + " " + each);
        try (Stream<Path> left = Files.list(directory.resolve("stores"))) {
            assertThat(left).isEmpty();
        }
    }
}
