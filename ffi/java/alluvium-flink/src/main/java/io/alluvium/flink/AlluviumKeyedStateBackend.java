package io.alluvium.flink;

import io.alluvium.AlluviumException;
import io.alluvium.Cursor;
import io.alluvium.Key;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.RunnableFuture;
import java.util.stream.Stream;
import org.apache.flink.api.common.ExecutionConfig;
import org.apache.flink.api.common.state.State;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.checkpoint.SavepointType;
import org.apache.flink.runtime.checkpoint.SnapshotType;
import org.apache.flink.runtime.query.TaskKvStateRegistry;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.HeapPriorityQueuesManager;
import org.apache.flink.runtime.state.KeyGroupedInternalPriorityQueue;
import org.apache.flink.runtime.state.Keyed;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.apache.flink.runtime.state.PriorityComparable;
import org.apache.flink.runtime.state.SavepointResources;
import org.apache.flink.runtime.state.SnapshotExecutionType;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.SnapshotStrategyRunner;
import org.apache.flink.runtime.state.StateSnapshotTransformer.StateSnapshotTransformFactory;
import org.apache.flink.runtime.state.StreamCompressionDecorator;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueElement;
import org.apache.flink.runtime.state.InternalKeyContext;
import org.apache.flink.runtime.state.metrics.LatencyTrackingStateConfig;
import org.apache.flink.runtime.state.metrics.SizeTrackingStateConfig;
import org.apache.flink.runtime.state.ttl.TtlTimeProvider;
import org.apache.flink.util.FlinkRuntimeException;
import org.apache.flink.util.ResourceGuard;

/**
 * The keyed state of one subtask of an operator, in one store.
 *
 * <p>The task's thread made it and alone uses it, but for the asynchronous parts of snapshots, and for queries of state from elsewhere.
 */
public final class AlluviumKeyedStateBackend<K> extends AbstractKeyedStateBackend<K> {
    private final ExecutionConfig executionConfig;
    private final OpenStore store;
    private final CurrentKey<K> currentKey;
    private final Map<String, RegisteredState> registered;
    private final StateFactory<K> stateFactory;
    private final StateRegistrar registrar;
    private final KeyStreams<K> keyStreams;
    private final TimerQueueFactory timerQueues;
    /** Null where timers are in the store. */
    private final HeapTimers heapTimers;

    private final HeapPriorityQueuesManager heapQueues;
    private final Transfer transfer;
    private final UploadHistory history;
    private final Checkpoints checkpoints;
    private final SnapshotOperation.Shared<K> snapshots;
    /** Held by snapshots that are under way. */
    private final ResourceGuard guard = new ResourceGuard();

    private boolean disposed;

    AlluviumKeyedStateBackend(
            TaskKvStateRegistry kvStateRegistry,
            TypeSerializer<K> keySerializer,
            ClassLoader userCodeClassLoader,
            ExecutionConfig executionConfig,
            StoreClock clock,
            LatencyTrackingStateConfig latency,
            SizeTrackingStateConfig size,
            CloseableRegistry cancelStreamRegistry,
            StreamCompressionDecorator compression,
            InternalKeyContext<K> keyContext,
            Restored restored,
            HeapTimers heapTimers,
            Transfer transfer,
            LocalRecoveryConfig localRecovery,
            boolean incremental) {
        super(
                kvStateRegistry,
                keySerializer,
                userCodeClassLoader,
                executionConfig,
                clock,
                latency,
                size,
                cancelStreamRegistry,
                compression,
                keyContext);
        this.executionConfig = executionConfig;
        store = restored.store;
        registered = restored.states;
        history = restored.history;
        this.transfer = transfer;
        this.heapTimers = heapTimers;
        currentKey = new CurrentKey<>(keySerializer);
        stateFactory = new StateFactory<>(this);
        registrar = new StateRegistrar(store, registered, ttlTimeProvider);
        keyStreams = new KeyStreams<>(store, keySerializer);
        timerQueues = new TimerQueueFactory(store, registered, keyGroupRange, numberOfKeyGroups);
        heapQueues = heapTimers == null ? null : heapTimers.manager();
        checkpoints = new Checkpoints(store, guard, clock);
        snapshots = new SnapshotOperation.Shared<>(
                store, checkpoints, history, transfer, keyGroupRange, keySerializer, localRecovery, incremental);
    }

    OpenStore openStore() {
        return store;
    }

    ExecutionConfig executionConfig() {
        return executionConfig;
    }

    TtlTimeProvider ttlClock() {
        return ttlTimeProvider;
    }

    CurrentKey<K> currentKey() {
        return currentKey;
    }

    @Override
    public void setCurrentKey(K newKey) {
        super.setCurrentKey(newKey);
        currentKey.set(getCurrentKey(), getCurrentKeyGroupIndex());
    }

    @Override
    public void setCurrentKeyAndKeyGroup(K newKey, int newKeyGroupIndex) {
        super.setCurrentKeyAndKeyGroup(newKey, newKeyGroupIndex);
        currentKey.set(getCurrentKey(), getCurrentKeyGroupIndex());
    }

    /** The state of a name, if it has keys. */
    private RegisteredState keyed(String name) {
        RegisteredState state = registered.get(name);
        return state != null && state.isKeyed() ? state : null;
    }

    @Override
    public <N> Stream<K> getKeys(String state, N namespace) {
        RegisteredState of = keyed(state);
        return of == null ? Stream.empty() : keyStreams.keys(of, namespace);
    }

    @Override
    public <N> Stream<K> getKeys(List<String> states, N namespace) {
        List<RegisteredState> all = new ArrayList<>();
        for (String name : states) {
            RegisteredState of = keyed(name);
            if (of != null) {
                all.add(of);
            }
        }
        return keyStreams.keys(all, namespace);
    }

    @Override
    public <N> Stream<Tuple2<K, N>> getKeysAndNamespaces(String state) {
        RegisteredState of = keyed(state);
        return of == null ? Stream.empty() : keyStreams.keysAndNamespaces(of);
    }

    @Override
    public <N, V, E, S extends State, IS extends S> IS createOrUpdateInternalState(
            TypeSerializer<N> namespaceSerializer,
            StateDescriptor<S, V> descriptor,
            StateSnapshotTransformFactory<E> transforms)
            throws Exception {
        return createOrUpdateInternalState(namespaceSerializer, descriptor, transforms, false);
    }

    @Override
    public <N, V, E, S extends State, IS extends S> IS createOrUpdateInternalState(
            TypeSerializer<N> namespaceSerializer,
            StateDescriptor<S, V> descriptor,
            StateSnapshotTransformFactory<E> transforms,
            boolean allowFutureMetadataUpdates)
            throws Exception {
        RegisteredState of =
                registrar.register(namespaceSerializer, descriptor, transforms, allowFutureMetadataUpdates);
        return stateFactory.createOrUpdate(descriptor, of);
    }

    @Override
    public <T extends HeapPriorityQueueElement & PriorityComparable<? super T> & Keyed<?>>
            KeyGroupedInternalPriorityQueue<T> create(String stateName, TypeSerializer<T> byteOrderedElementSerializer) {
        return create(stateName, byteOrderedElementSerializer, false);
    }

    @Override
    public <T extends HeapPriorityQueueElement & PriorityComparable<? super T> & Keyed<?>>
            KeyGroupedInternalPriorityQueue<T> create(
                    String stateName,
                    TypeSerializer<T> byteOrderedElementSerializer,
                    boolean allowFutureMetadataUpdates) {
        if (heapQueues != null) {
            return heapQueues.createOrUpdate(stateName, byteOrderedElementSerializer, allowFutureMetadataUpdates);
        }
        return timerQueues.create(stateName, byteOrderedElementSerializer, allowFutureMetadataUpdates);
    }

    @Override
    public RunnableFuture<SnapshotResult<KeyedStateHandle>> snapshot(
            long checkpointId, long timestamp, CheckpointStreamFactory streamFactory, CheckpointOptions options)
            throws Exception {
        return new SnapshotStrategyRunner<>(
                        "Asynchronous snapshot of an Alluvium store",
                        new SnapshotOperation<>(snapshots, registered, options),
                        cancelStreamRegistry,
                        SnapshotExecutionType.ASYNCHRONOUS)
                .snapshot(checkpointId, timestamp, streamFactory, options);
    }

    @Override
    public SavepointResources<K> savepoint() throws IOException {
        Checkpoints.Cut cut = checkpoints.cut(-1, true);
        try {
            CanonicalResources<K> resources = new CanonicalResources<>(
                    store,
                    cut,
                    registered,
                    heapTimers == null ? Collections.emptyMap() : heapTimers.queues(),
                    this,
                    keyGroupCompressionDecorator);
            return new SavepointResources<>(resources, SnapshotExecutionType.ASYNCHRONOUS);
        } catch (Throwable e) {
            // Disposal waits for it.
            cut.release();
            throw e;
        }
    }

    @Override
    public void notifyCheckpointComplete(long checkpointId) throws IOException {
        history.completed(checkpointId);
        say(checkpointId, checkpoints::completed);
    }

    @Override
    public void notifyCheckpointAborted(long checkpointId) throws IOException {
        history.aborted(checkpointId);
        say(checkpointId, checkpoints::aborted);
    }

    @Override
    public void notifyCheckpointSubsumed(long checkpointId) throws IOException {
        say(checkpointId, checkpoints::subsumed);
    }

    private interface Word {
        void say(long checkpoint);
    }

    private void say(long checkpoint, Word word) throws IOException {
        if (disposed) {
            return;
        }
        try {
            word.say(checkpoint);
        } catch (AlluviumException e) {
            throw Failure.io("what became of the checkpoint " + checkpoint + " was not heard", e);
        }
    }

    @Override
    public boolean requiresLegacySynchronousTimerSnapshots(SnapshotType checkpointType) {
        boolean canonical = checkpointType instanceof SavepointType
                && ((SavepointType) checkpointType).getFormatType() == SavepointFormatType.CANONICAL;
        return heapTimers != null && !canonical;
    }

    @Override
    public boolean isSafeToReuseKVState() {
        // Whatever is returned was made for the caller; timers on the heap are not.
        return heapTimers == null;
    }

    @Override
    public String getBackendTypeIdentifier() {
        return "alluvium";
    }

    @Override
    public int numKeyValueStateEntries() {
        int count = 0;
        for (RegisteredState of : registered.values()) {
            try (Cursor cursor = store.writer.keysAndNamespaces(of.state, store.range)) {
                Key key = new Key();
                while (cursor.next()) {
                    count += of.isMap() ? entries(of, StoredKey.of(cursor).in(key)) : 1;
                }
            } catch (AlluviumException e) {
                throw Failure.of(of.metaInfo.getName(), e);
            }
        }
        return count;
    }

    private int entries(RegisteredState of, Key container) {
        int count = 0;
        for (EntryPages pages = new EntryPages(store.writer, of.state, () -> container); pages.hasNext(); pages.next()) {
            count++;
        }
        return count;
    }

    @Override
    public void dispose() {
        if (disposed) {
            return;
        }
        disposed = true;
        // Cancels the snapshots that are under way.
        super.dispose();
        // Waits for them.
        guard.close();
        transfer.close();
        store.close();
    }
}
