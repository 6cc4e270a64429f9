package io.alluvium.flink;

import io.alluvium.AlluviumException;
import io.alluvium.Store;
import io.alluvium.flink.AlluviumOptions.TimerService;
import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.runtime.execution.CancelTaskException;
import org.apache.flink.runtime.memory.OpaqueMemoryResource;
import org.apache.flink.runtime.metrics.MetricNames;
import org.apache.flink.runtime.state.AbstractKeyedStateBackendBuilder;
import org.apache.flink.runtime.state.AbstractStateBackend;
import org.apache.flink.runtime.state.BackendBuildingException;
import org.apache.flink.runtime.state.IncrementalKeyedStateHandle;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.apache.flink.runtime.state.StateBackend.CustomInitializationMetrics;
import org.apache.flink.runtime.state.StateBackend.KeyedStateBackendParameters;
import org.apache.flink.runtime.state.InternalKeyContextImpl;
import org.apache.flink.runtime.state.metrics.LatencyTrackingStateConfig;
import org.apache.flink.runtime.state.metrics.SizeTrackingStateConfig;
import org.apache.flink.util.IOUtils;

/** Makes a keyed backend: creates its store, or restores it from what Flink hands over. */
final class AlluviumKeyedStateBackendBuilder<K> extends AbstractKeyedStateBackendBuilder<K> {
    private final AlluviumStateBackend options;
    private final Path directory;
    private final OpaqueMemoryResource<SlotEngine> engine;
    private final LocalRecoveryConfig localRecovery;
    private final MetricGroup metrics;
    private final CustomInitializationMetrics durations;

    AlluviumKeyedStateBackendBuilder(
            KeyedStateBackendParameters<K> parameters,
            AlluviumStateBackend options,
            Path directory,
            OpaqueMemoryResource<SlotEngine> engine,
            LatencyTrackingStateConfig latency,
            SizeTrackingStateConfig size) {
        super(
                parameters.getKvStateRegistry(),
                parameters.getKeySerializer(),
                parameters.getEnv().getUserCodeClassLoader().asClassLoader(),
                parameters.getNumberOfKeyGroups(),
                parameters.getKeyGroupRange(),
                parameters.getEnv().getExecutionConfig(),
                parameters.getTtlTimeProvider(),
                latency,
                size,
                parameters.getStateHandles(),
                AbstractStateBackend.getCompressionDecorator(parameters.getEnv().getExecutionConfig()),
                parameters.getCancelStreamRegistry());
        this.options = options;
        this.directory = directory;
        this.engine = engine;
        localRecovery = parameters.getEnv().getTaskStateManager().createLocalRecoveryConfig();
        metrics = parameters.getMetricGroup();
        durations = parameters.getCustomInitializationMetrics();
    }

    @Override
    public AlluviumKeyedStateBackend<K> build() throws BackendBuildingException {
        Restored restored = new Restored(
                engine,
                directory,
                io.alluvium.KeyGroupRange.of(keyGroupRange.getStartKeyGroup(), keyGroupRange.getEndKeyGroup()),
                numberOfKeyGroups,
                options.compresses());
        Transfer transfer = new Transfer(options.transferThreads());
        HeapTimers heapTimers =
                options.timerService() == TimerService.HEAP ? new HeapTimers(keyGroupRange, numberOfKeyGroups) : null;
        CloseableRegistry backendRegistry = new CloseableRegistry();
        try {
            long begin = System.nanoTime();
            restore(restored, transfer, heapTimers);
            tell(MetricNames.RESTORE_STATE_DURATION, System.nanoTime() - begin);
            if (options.reportsMetrics()) {
                restored.store.report(metrics);
            }
            if (restored.store.bringing() != null) {
                // A task that is cancelled must not wait for files.
                backendRegistry.registerCloseable(restored.store.bringing()::cancel);
            }
            return new AlluviumKeyedStateBackend<>(
                    kvStateRegistry,
                    keySerializerProvider.currentSchemaSerializer(),
                    userCodeClassLoader,
                    executionConfig,
                    new StoreClock(ttlTimeProvider, restored.store),
                    latencyTrackingStateConfig,
                    sizeTrackingStateConfig,
                    backendRegistry,
                    keyGroupCompressionDecorator,
                    new InternalKeyContextImpl<>(keyGroupRange, numberOfKeyGroups),
                    restored,
                    heapTimers,
                    transfer,
                    localRecovery,
                    options.isIncremental());
        } catch (Throwable e) {
            IOUtils.closeQuietly(backendRegistry);
            IOUtils.closeQuietly(transfer);
            giveUp(restored);
            if (cancelStreamRegistry.isClosed()) {
                throw new BackendBuildingException("the task was cancelled", new CancelTaskException(e));
            }
            throw new BackendBuildingException("the state in " + directory + " was not opened", e);
        }
    }

    private void restore(Restored restored, Transfer transfer, HeapTimers heapTimers) throws Exception {
        List<KeyedStateHandle> handles = new ArrayList<>();
        restoreStateHandles.stream().filter(Objects::nonNull).forEach(handles::add);
        if (handles.isEmpty()) {
            create(restored);
        } else if (handles.get(0) instanceof IncrementalKeyedStateHandle) {
            new NativeRestore<>(
                            restored,
                            keySerializerProvider,
                            userCodeClassLoader,
                            transfer,
                            options.restoresOnDemand() ? options.transferThreads() : 0,
                            cancelStreamRegistry)
                    .run(handles, ns -> tell(MetricNames.DOWNLOAD_STATE_DURATION, ns));
            if (heapTimers != null) {
                takeTimers(restored, heapTimers);
            }
        } else {
            create(restored);
            new CanonicalRestore<>(
                            restored, heapTimers, keyGroupRange, userCodeClassLoader, handles, keySerializerProvider)
                    .run();
        }
    }

    private void tell(String duration, long ns) {
        if (!restoreStateHandles.isEmpty()) {
            durations.addMetric(duration, TimeUnit.NANOSECONDS.toMillis(ns));
        }
    }

    /** Reads them, which may wait for files; a task that is cancelled meanwhile must not. */
    private void takeTimers(Restored restored, HeapTimers heapTimers) throws IOException {
        Bringing bringing = restored.store.bringing();
        Closeable cancel = bringing == null ? () -> {} : bringing::cancel;
        try (Closeable ignored = cancelStreamRegistry.registerCloseableTemporarily(cancel)) {
            heapTimers.takeFrom(restored);
        } catch (AlluviumException e) {
            throw Failure.io("timers that are in the store", e);
        }
    }

    private void create(Restored restored) throws IOException {
        try {
            Store store = Store.create(restored.engine(), restored.storeDirectory(), restored.options(restored.range));
            restored.store = new OpenStore(store, restored.storeDirectory(), directory, engine);
        } catch (AlluviumException e) {
            throw Failure.io("no store in " + restored.storeDirectory(), e);
        }
    }

    private void giveUp(Restored restored) {
        if (restored.store != null) {
            restored.store.close();
            return;
        }
        IOUtils.closeQuietly(engine);
        OpenStore.delete(directory);
    }
}
