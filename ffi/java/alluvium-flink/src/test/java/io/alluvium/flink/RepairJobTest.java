package io.alluvium.flink;

import io.alluvium.flink.AlluviumOptions.TimerService;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.CheckpointListener;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.connector.source.util.ratelimit.RateLimiterStrategy;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.ExternalizedCheckpointRetention;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.core.execution.RecoveryClaimMode;
import org.apache.flink.runtime.jobgraph.JobGraph;
import org.apache.flink.runtime.jobgraph.SavepointRestoreSettings;
import org.apache.flink.runtime.minicluster.MiniCluster;
import org.apache.flink.runtime.minicluster.MiniClusterConfiguration;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.util.Collector;
import org.apache.flink.util.FileUtils;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

import static org.assertj.core.api.Assertions.assertThat;

/**
 * A job is cancelled, a checkpoint of it repaired, everything else of it deleted, and the job started from what was repaired: it has lost what
 * came in for the key groups between the two checkpoints, and nothing else.
 */
class RepairJobTest {
    private static final int KEYS = 50;
    private static final int EVENTS = 10_000;
    private static final int KEY_GROUPS = 16;
    private static final Map<Long, List<Long>> RESULTS = new ConcurrentHashMap<>();
    private static final Map<Long, List<Long>> FIRED = new ConcurrentHashMap<>();
    private static final AtomicLong COMPLETED = new AtomicLong();

    /** What the job is configured with. */
    enum Variant {
        PLAIN,
        HEAP_TIMERS_AND_FULL_CHECKPOINTS,
        FILE_MERGING;

        void set(Configuration config) {
            switch (this) {
                case HEAP_TIMERS_AND_FULL_CHECKPOINTS:
                    config.set(AlluviumOptions.TIMER_SERVICE, TimerService.HEAP);
                    config.set(CheckpointingOptions.INCREMENTAL_CHECKPOINTS, false);
                    break;
                case FILE_MERGING:
                    config.set(CheckpointingOptions.FILE_MERGING_ENABLED, true);
                    config.set(CheckpointingOptions.FILE_MERGING_ACROSS_BOUNDARY, true);
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
        FIRED.clear();
        COMPLETED.set(0);
    }

    /**
     * Gathers events and counts them, and sets a timer for each, by which it is seen which there are; the last one, which a key's first event sets,
     * tells what was gathered.
     */
    private static final class Gather extends KeyedProcessFunction<Long, Long, Long> implements CheckpointListener {
        private static final long serialVersionUID = 1;
        private static final long LAST = Long.MAX_VALUE - 1;

        private transient ValueState<Long> count;
        private transient ListState<Long> seen;

        @Override
        public void open(OpenContext context) {
            count = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Types.LONG));
            seen = getRuntimeContext().getListState(new ListStateDescriptor<>("seen", Types.LONG));
        }

        @Override
        public void processElement(Long event, Context context, Collector<Long> out) throws Exception {
            if (count.value() == null) {
                context.timerService().registerEventTimeTimer(LAST);
            }
            context.timerService().registerEventTimeTimer(LAST - 1 - event);
            count.update(count.value() == null ? 1 : count.value() + 1);
            seen.add(event);
        }

        @Override
        public void onTimer(long timestamp, OnTimerContext context, Collector<Long> out) throws Exception {
            if (timestamp < LAST) {
                FIRED.computeIfAbsent(context.getCurrentKey(), key -> new ArrayList<>()).add(LAST - 1 - timestamp);
                return;
            }
            List<Long> events = new ArrayList<>();
            seen.get().forEach(events::add);
            assertThat(count.value()).isEqualTo(events.size());
            RESULTS.put(context.getCurrentKey(), events);
        }

        @Override
        public void notifyCheckpointComplete(long checkpointId) {
            COMPLETED.accumulateAndGet(checkpointId, Math::max);
        }
    }

    private Configuration config(Variant variant) {
        Configuration config = new Configuration();
        config.set(StateBackendOptions.STATE_BACKEND, AlluviumStateBackendFactory.class.getName());
        config.set(AlluviumOptions.LOCAL_DIRECTORIES, directory.resolve("stores").toString());
        config.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, directory.resolve("checkpoints").toUri().toString());
        config.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, Duration.ofMillis(50));
        config.set(CheckpointingOptions.MAX_RETAINED_CHECKPOINTS, 1_000);
        config.set(CheckpointingOptions.EXTERNALIZED_CHECKPOINT_RETENTION, ExternalizedCheckpointRetention.RETAIN_ON_CANCELLATION);
        config.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(64));
        variant.set(config);
        return config;
    }

    private static JobGraph job(Configuration config, double eventsPerSecond) {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment(config);
        env.setParallelism(2);
        env.setMaxParallelism(KEY_GROUPS);
        DataGeneratorSource<Long> numbers = new DataGeneratorSource<>(
                number -> number, EVENTS, RateLimiterStrategy.perSecond(eventsPerSecond), Types.LONG);
        env.fromSource(numbers, WatermarkStrategy.noWatermarks(), "numbers")
                .setParallelism(1)
                .uid("numbers")
                .keyBy(event -> event % KEYS, Types.LONG)
                .process(new Gather())
                .uid("gather")
                .sinkTo(new DiscardingSink<>())
                .uid("nothing");
        return env.getStreamGraph().getJobGraph();
    }

    /** Runs the job until it has taken some checkpoints, and cancels it: their directory. */
    private Path runAndCancel(MiniCluster cluster, Configuration config) throws Exception {
        JobGraph graph = job(config, 1_000);
        JobID id = cluster.submitJob(graph).get().getJobID();
        while (COMPLETED.get() < 8) {
            Thread.sleep(10);
        }
        cluster.cancelJob(id).get();
        cluster.requestJobResult(id).get();
        return directory.resolve("checkpoints").resolve(id.toString());
    }

    private static String chk(Path checkpoints, int which) throws Exception {
        try (Stream<Path> all = Files.list(checkpoints)) {
            TreeSet<Long> ids = all.filter(each -> Files.exists(each.resolve("_metadata")))
                    .map(each -> Long.valueOf(each.getFileName().toString().substring("chk-".length())))
                    .collect(Collectors.toCollection(TreeSet::new));
            long id = which < 0 ? ids.last() : new ArrayList<>(ids).get(which);
            return checkpoints.resolve("chk-" + id).toString();
        }
    }

    private void check(BitSet back) {
        assertThat(RESULTS).hasSize(KEYS);
        TreeSet<Long> missing = new TreeSet<>();
        RESULTS.forEach((key, events) -> {
            assertThat(events).doesNotHaveDuplicates();
            assertThat(FIRED.get(key)).containsExactlyInAnyOrderElementsOf(events);
            LongStream.range(0, EVENTS).filter(event -> event % KEYS == key).forEach(missing::add);
        });
        RESULTS.values().forEach(events -> events.forEach(missing::remove));
        assertThat(missing).isNotEmpty();
        // From where the source was at the one checkpoint to where it was at the other, of the key groups that went back.
        List<Long> lost = LongStream.rangeClosed(missing.first(), missing.last())
                .filter(event -> back.get(KeyGroupRangeAssignment.assignToKeyGroup(event % KEYS, KEY_GROUPS)))
                .boxed()
                .collect(Collectors.toList());
        assertThat(missing).containsExactlyElementsOf(lost);
    }

    @ParameterizedTest
    @EnumSource
    @Timeout(60)
    void losesWhatItSays(Variant variant) throws Exception {
        Configuration config = config(variant);
        String repaired = directory.resolve("repaired").toString();
        OperatorRepair which = OperatorRepair.of("gather").keyGroups("1-5,11");
        try (MiniCluster cluster = new MiniCluster(new MiniClusterConfiguration.Builder()
                .setConfiguration(config)
                .setNumTaskManagers(1)
                .setNumSlotsPerTaskManager(2)
                .build())) {
            cluster.start();
            Path checkpoints = runAndCancel(cluster, config);
            CheckpointRepair repair =
                    new CheckpointRepair(chk(checkpoints, -1), repaired).from(chk(checkpoints, 2)).repair(which);
            RepairReport report = repair.run();
            assertThat(report.toString()).contains("'Source: numbers' (uid numbers", "LOST unless it is replayed separately");
            FileUtils.deleteDirectory(directory.resolve("checkpoints").toFile());
            JobGraph graph = job(config, 1_000_000);
            RecoveryClaimMode claim = variant == Variant.PLAIN ? RecoveryClaimMode.CLAIM : RecoveryClaimMode.NO_CLAIM;
            graph.setSavepointRestoreSettings(SavepointRestoreSettings.forPath(repaired, false, claim));
            cluster.executeJobBlocking(graph);
        }
        check(which.keyGroups);
    }
}
