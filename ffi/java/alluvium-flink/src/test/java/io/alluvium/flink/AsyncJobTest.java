package io.alluvium.flink;

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
import org.apache.flink.api.common.state.v2.ListState;
import org.apache.flink.api.common.state.v2.ListStateDescriptor;
import org.apache.flink.api.common.state.v2.ValueState;
import org.apache.flink.api.common.state.v2.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.connector.source.util.ratelimit.RateLimiterStrategy;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.RestartStrategyOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.runtime.minicluster.MiniCluster;
import org.apache.flink.runtime.minicluster.MiniClusterConfiguration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.util.Collector;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import static org.assertj.core.api.Assertions.assertThat;

/** A job of the asynchronous state API that fails after a checkpoint, and counts right all the same; part of its state is on disk alone. */
class AsyncJobTest {
    private static final int KEYS = 2_000;
    private static final int EVENTS = 20_000;
    private static final Map<Long, String> RESULTS = new ConcurrentHashMap<>();
    private static final AtomicBoolean CHECKPOINTED = new AtomicBoolean();
    private static final AtomicBoolean FAILED = new AtomicBoolean();

    @TempDir
    Path directory;

    /** Counts in two kinds of state, and tells by a timer at the end. */
    private static final class Count extends KeyedProcessFunction<Long, Long, Long> implements CheckpointListener {
        private static final long serialVersionUID = 1;

        private transient ValueState<String> count;
        private transient ListState<Long> seen;

        @Override
        public void open(OpenContext context) {
            count = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Types.STRING));
            seen = getRuntimeContext().getListState(new ListStateDescriptor<>("seen", Types.LONG));
        }

        /** A count in a value so long that memory doesn't have room for all of them. */
        private static String written(long count) {
            return "x".repeat(2_000) + count;
        }

        private static long read(String value) {
            return value == null ? 0 : Long.parseLong(value.replace("x", ""));
        }

        @Override
        public void processElement(Long event, Context context, Collector<Long> out) {
            if (CHECKPOINTED.get() && FAILED.compareAndSet(false, true)) {
                throw new IllegalStateException("as planned");
            }
            context.timerService().registerEventTimeTimer(Long.MAX_VALUE - 1 - event % 3);
            seen.asyncAdd(event);
            count.asyncValue().thenCompose(old -> count.asyncUpdate(written(read(old) + 1)));
        }

        @Override
        public void onTimer(long timestamp, OnTimerContext context, Collector<Long> out) {
            Long key = context.getCurrentKey();
            count.asyncValue()
                    .thenCombine(seen.asyncGet(), (value, elements) -> {
                        long[] listed = {0};
                        elements.onNext(element -> {
                            listed[0]++;
                        });
                        return read(value) + " " + listed[0];
                    })
                    .thenAccept(result -> RESULTS.put(key, result));
        }

        @Override
        public void notifyCheckpointComplete(long checkpointId) {
            CHECKPOINTED.set(true);
        }
    }

    private Configuration config() {
        Configuration config = new Configuration();
        config.set(StateBackendOptions.STATE_BACKEND, AlluviumStateBackendFactory.class.getName());
        config.set(AlluviumOptions.LOCAL_DIRECTORIES, directory.resolve("stores").toString());
        config.set(AlluviumOptions.FIXED_PER_SLOT, MemorySize.ofMebiBytes(4));
        config.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, directory.resolve("checkpoints").toUri().toString());
        config.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, Duration.ofMillis(50));
        config.set(RestartStrategyOptions.RESTART_STRATEGY, "fixed-delay");
        config.set(RestartStrategyOptions.RESTART_STRATEGY_FIXED_DELAY_ATTEMPTS, 3);
        config.set(RestartStrategyOptions.RESTART_STRATEGY_FIXED_DELAY_DELAY, Duration.ofMillis(10));
        return config;
    }

    @Test
    @Timeout(120)
    void failsAndCountsRight() throws Exception {
        Configuration config = config();
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment(config);
        env.setParallelism(2);
        // So slow that there are checkpoints before the end.
        DataGeneratorSource<Long> numbers = new DataGeneratorSource<>(
                number -> number, EVENTS, RateLimiterStrategy.perSecond(EVENTS / 3.0), Types.LONG);
        env.fromSource(numbers, WatermarkStrategy.noWatermarks(), "numbers")
                .keyBy(event -> event % KEYS, Types.LONG)
                .enableAsyncState()
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
        assertThat(RESULTS.values()).containsOnly(each + " " + each);
        try (Stream<Path> left = Files.list(directory.resolve("stores"))) {
            assertThat(left).isEmpty();
        }
    }
}
