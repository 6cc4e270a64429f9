package io.alluvium.flink;

import io.alluvium.flink.AlluviumOptions.TimerService;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.IllegalConfigurationException;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.runtime.execution.Environment;
import org.apache.flink.runtime.memory.OpaqueMemoryResource;
import org.apache.flink.runtime.memory.SharedResources.ResourceAndSize;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.AbstractManagedMemoryStateBackend;
import org.apache.flink.runtime.state.AsyncKeyedStateBackend;
import org.apache.flink.runtime.state.ConfigurableStateBackend;
import org.apache.flink.runtime.state.DefaultOperatorStateBackendBuilder;
import org.apache.flink.runtime.state.OperatorStateBackend;
import org.apache.flink.runtime.state.metrics.LatencyTrackingStateConfig;
import org.apache.flink.runtime.state.metrics.SizeTrackingStateConfig;
import org.apache.flink.util.IOUtils;
import org.apache.flink.util.function.LongFunctionWithException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Keeps keyed state in Alluvium stores: one for each keyed operator's subtask, in a local directory that needs not last, all of a slot in one
 * memory budget. Operator state is Flink's own, on the heap.
 *
 * <p>What is set here by hand wins over the configuration.
 */
public final class AlluviumStateBackend extends AbstractManagedMemoryStateBackend implements ConfigurableStateBackend {
    private static final long serialVersionUID = 1;
    private static final long UNMANAGED_BYTES = 256L << 20;
    private static final Logger LOG = LoggerFactory.getLogger(AlluviumStateBackend.class);

    // Null: not settled yet.
    private String localDirectories;
    private TimerService timerService;
    private Boolean managedMemory;
    private Boolean incremental;
    private Boolean compress;
    private Boolean restoreOnDemand;
    private Boolean metrics;
    private MemorySize fixedPerSlot;
    private Integer threads;
    private Integer transferThreads;

    /** A backend that is as its configuration will say. */
    public AlluviumStateBackend() {}

    private AlluviumStateBackend(AlluviumStateBackend original, ReadableConfig config) {
        localDirectories = settled(original.localDirectories, config, AlluviumOptions.LOCAL_DIRECTORIES);
        timerService = settled(original.timerService, config, AlluviumOptions.TIMER_SERVICE);
        managedMemory = settled(original.managedMemory, config, AlluviumOptions.MANAGED_MEMORY);
        compress = settled(original.compress, config, AlluviumOptions.COMPRESS);
        restoreOnDemand = settled(original.restoreOnDemand, config, AlluviumOptions.RESTORE_ON_DEMAND);
        metrics = settled(original.metrics, config, AlluviumOptions.METRICS);
        fixedPerSlot = settled(original.fixedPerSlot, config, AlluviumOptions.FIXED_PER_SLOT);
        threads = settled(original.threads, config, AlluviumOptions.THREADS);
        transferThreads = settled(original.transferThreads, config, AlluviumOptions.TRANSFER_THREADS);
        // Flink's default is false for the sake of other backends; a checkpoint here is incremental by nature.
        incremental = original.incremental != null
                ? original.incremental
                : config.getOptional(CheckpointingOptions.INCREMENTAL_CHECKPOINTS).orElse(null);
        latencyTrackingConfigBuilder = original.latencyTrackingConfigBuilder.configure(config);
        sizeTrackingConfigBuilder = original.sizeTrackingConfigBuilder.configure(config);
        check();
    }

    private static <T> T settled(T byHand, ReadableConfig config, ConfigOption<T> option) {
        return byHand != null ? byHand : config.getOptional(option).orElse(null);
    }

    private void check() {
        if (threads() < 1 || threads() > 64) {
            throw new IllegalConfigurationException(
                    AlluviumOptions.THREADS.key() + " is " + threads() + ", not between 1 and 64");
        }
        if (transferThreads() < 1) {
            throw new IllegalConfigurationException(
                    AlluviumOptions.TRANSFER_THREADS.key() + " is " + transferThreads() + ", not at least 1");
        }
        for (Path directory : localDirectories()) {
            if (!directory.isAbsolute()) {
                throw new IllegalConfigurationException(
                        AlluviumOptions.LOCAL_DIRECTORIES.key() + " has a relative path: " + directory);
            }
        }
    }

    @Override
    public AlluviumStateBackend configure(ReadableConfig config, ClassLoader classLoader)
            throws IllegalConfigurationException {
        return new AlluviumStateBackend(this, config);
    }

    /** Sets the directories for stores, separated as the option says. */
    public AlluviumStateBackend setLocalDirectories(String directories) {
        localDirectories = directories;
        return this;
    }

    /** Sets where timers are kept. */
    public AlluviumStateBackend setTimerService(TimerService timerService) {
        this.timerService = timerService;
        return this;
    }

    /** Sets whether checkpoints share files with earlier ones. */
    public AlluviumStateBackend setIncremental(boolean incremental) {
        this.incremental = incremental;
        return this;
    }

    /** Sets whether a restored task begins before its files are here. */
    public AlluviumStateBackend setRestoreOnDemand(boolean restoreOnDemand) {
        this.restoreOnDemand = restoreOnDemand;
        return this;
    }

    /** Sets whether what the engine counts is among Flink's metrics. */
    public AlluviumStateBackend setMetrics(boolean metrics) {
        this.metrics = metrics;
        return this;
    }

    /** Sets how much memory a slot's stores have, in place of a share of Flink's managed memory. */
    public AlluviumStateBackend setFixedMemoryPerSlot(MemorySize bytes) {
        fixedPerSlot = bytes;
        return this;
    }

    private static <T> T or(T value, T usual) {
        return value != null ? value : usual;
    }

    /** Where timers are kept. */
    public TimerService timerService() {
        return or(timerService, AlluviumOptions.TIMER_SERVICE.defaultValue());
    }

    /** Whether checkpoints share files with earlier ones. */
    public boolean isIncremental() {
        return or(incremental, true);
    }

    private int threads() {
        return or(threads, AlluviumOptions.THREADS.defaultValue());
    }

    int transferThreads() {
        return or(transferThreads, AlluviumOptions.TRANSFER_THREADS.defaultValue());
    }

    boolean compresses() {
        return or(compress, AlluviumOptions.COMPRESS.defaultValue());
    }

    boolean restoresOnDemand() {
        return or(restoreOnDemand, AlluviumOptions.RESTORE_ON_DEMAND.defaultValue());
    }

    boolean reportsMetrics() {
        return or(metrics, AlluviumOptions.METRICS.defaultValue());
    }

    private List<Path> localDirectories() {
        List<Path> directories = new ArrayList<>();
        if (localDirectories != null) {
            for (String directory : localDirectories.split(",|" + File.pathSeparator)) {
                if (!directory.trim().isEmpty()) {
                    directories.add(Paths.get(directory.trim()));
                }
            }
        }
        return directories;
    }

    @Override
    public boolean useManagedMemory() {
        return fixedPerSlot == null && or(managedMemory, AlluviumOptions.MANAGED_MEMORY.defaultValue());
    }

    @Override
    public boolean supportsNoClaimRestoreMode() {
        return true;
    }

    @Override
    public boolean supportsSavepointFormat(SavepointFormatType formatType) {
        return true;
    }

    @Override
    public <K> AbstractKeyedStateBackend<K> createKeyedStateBackend(KeyedStateBackendParameters<K> parameters)
            throws IOException {
        return builder(parameters).build();
    }

    @Override
    public boolean supportsAsyncKeyedStateBackend() {
        return true;
    }

    @Override
    public <K> AsyncKeyedStateBackend<K> createAsyncKeyedStateBackend(KeyedStateBackendParameters<K> parameters)
            throws IOException {
        return new AlluviumAsyncKeyedStateBackend<>(builder(parameters).build());
    }

    private <K> AlluviumKeyedStateBackendBuilder<K> builder(KeyedStateBackendParameters<K> parameters) throws IOException {
        Path directory = directory(parameters);
        LatencyTrackingStateConfig latency =
                latencyTrackingConfigBuilder.setMetricGroup(parameters.getMetricGroup()).build();
        SizeTrackingStateConfig size =
                sizeTrackingConfigBuilder.setMetricGroup(parameters.getMetricGroup()).build();
        OpaqueMemoryResource<SlotEngine> engine;
        try {
            engine = engine(parameters.getEnv(), parameters.getManagedMemoryFraction());
        } catch (Exception e) {
            OpenStore.delete(directory);
            throw new IOException("no engine for the state of " + parameters.getOperatorIdentifier(), e);
        }
        try {
            return new AlluviumKeyedStateBackendBuilder<>(parameters, this, directory, engine, latency, size);
        } catch (Throwable e) {
            IOUtils.closeQuietly(engine);
            OpenStore.delete(directory);
            throw e;
        }
    }

    /** The engine of the slot, or of the task manager. Whoever comes first opens it. */
    private OpaqueMemoryResource<SlotEngine> engine(Environment env, double fraction) throws Exception {
        int engineThreads = threads();
        LongFunctionWithException<SlotEngine, Exception> open = bytes -> new SlotEngine(bytes, engineThreads);
        if (useManagedMemory()) {
            return env.getMemoryManager()
                    .getSharedMemoryResourceForManagedMemory("state-alluvium-managed-memory", open, fraction);
        }
        Optional<MemorySize> perTaskManager =
                env.getTaskManagerInfo().getConfiguration().getOptional(AlluviumOptions.FIXED_PER_TASK_MANAGER);
        if (fixedPerSlot == null && perTaskManager.isPresent()) {
            String name = "state-alluvium-task-manager-memory";
            Object lease = new Object();
            ResourceAndSize<SlotEngine> shared = env.getSharedResources()
                    .getOrAllocateSharedResource(name, lease, open, perTaskManager.get().getBytes());
            return new OpaqueMemoryResource<>(
                    shared.resourceHandle(),
                    shared.size(),
                    () -> env.getSharedResources().release(name, lease, bytes -> {}));
        }
        long bytes = fixedPerSlot == null ? UNMANAGED_BYTES : fixedPerSlot.getBytes();
        return env.getMemoryManager().getExternalSharedMemoryResource("state-alluvium-fixed-memory", open, bytes);
    }

    /** A directory that nobody has had, in one of those that can be written to. */
    private Path directory(KeyedStateBackendParameters<?> parameters) throws IOException {
        List<Path> directories = localDirectories();
        if (directories.isEmpty()) {
            directories.add(parameters.getEnv().getTaskManagerInfo().getTmpWorkingDirectory().toPath());
        }
        Collections.shuffle(directories, ThreadLocalRandom.current());
        IOException failure = new IOException("no directory for stores can be written to: " + directories);
        for (Path root : directories) {
            try {
                return Files.createDirectories(named(root, parameters));
            } catch (IOException e) {
                LOG.warn("No store can be put into {}", root, e);
                failure.addSuppressed(e);
            }
        }
        throw failure;
    }

    private static Path named(Path root, KeyedStateBackendParameters<?> parameters) {
        String operator = parameters.getOperatorIdentifier().replaceAll("[^a-zA-Z0-9\\-]", "_");
        String job = parameters.getJobID().toString();
        return root.toAbsolutePath().resolve("alluvium_job_" + job + "_op_" + operator + "_" + UUID.randomUUID());
    }

    @Override
    public OperatorStateBackend createOperatorStateBackend(OperatorStateBackendParameters parameters) throws Exception {
        return new DefaultOperatorStateBackendBuilder(
                        parameters.getEnv().getUserCodeClassLoader().asClassLoader(),
                        parameters.getEnv().getExecutionConfig(),
                        true,
                        parameters.getStateHandles(),
                        parameters.getCancelStreamRegistry())
                .build();
    }
}
