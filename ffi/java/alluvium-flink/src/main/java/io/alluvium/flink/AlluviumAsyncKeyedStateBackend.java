package io.alluvium.flink;

import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.RunnableFuture;
import org.apache.flink.api.common.state.v2.AggregatingStateDescriptor;
import org.apache.flink.api.common.state.v2.ReducingStateDescriptor;
import org.apache.flink.api.common.state.v2.State;
import org.apache.flink.api.common.state.v2.StateDescriptor;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.runtime.asyncprocessing.RecordContext;
import org.apache.flink.runtime.asyncprocessing.StateExecutor;
import org.apache.flink.runtime.asyncprocessing.StateRequestHandler;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.checkpoint.SnapshotType;
import org.apache.flink.runtime.state.AsyncKeyedStateBackend;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupedInternalPriorityQueue;
import org.apache.flink.runtime.state.Keyed;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.PriorityComparable;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.StateSnapshotTransformer.StateSnapshotTransformFactory;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueElement;
import org.apache.flink.runtime.state.v2.StateDescriptorUtils;
import org.apache.flink.runtime.state.v2.internal.InternalKeyedState;
import org.apache.flink.runtime.state.v2.ttl.TtlStateFactory;
import org.apache.flink.util.Preconditions;

/**
 * The keyed state of one subtask of an operator for the asynchronous state API. It is the same store, in the same form, as that of a {@link
 * AlluviumKeyedStateBackend}, which it has inside: checkpoints of either are restored by the other.
 */
public final class AlluviumAsyncKeyedStateBackend<K> implements AsyncKeyedStateBackend<K> {
    private final AlluviumKeyedStateBackend<K> inner;
    private final Map<String, State> states = new HashMap<>();
    private final List<StateExecutor> executors = new ArrayList<>();
    private StateRequestHandler handler;

    /** Takes over the inner backend. */
    AlluviumAsyncKeyedStateBackend(AlluviumKeyedStateBackend<K> inner) {
        this.inner = inner;
    }

    /** The same state for the synchronous API. */
    AlluviumKeyedStateBackend<K> inner() {
        return inner;
    }

    @Override
    public void setup(StateRequestHandler stateRequestHandler) {
        handler = stateRequestHandler;
    }

    @Override
    @SuppressWarnings("unchecked")
    public <N, S extends State, SV> S getOrCreateKeyedState(
            N defaultNamespace, TypeSerializer<N> namespaceSerializer, StateDescriptor<SV> descriptor) throws Exception {
        Preconditions.checkNotNull(namespaceSerializer, "Namespace serializer");
        State known = states.get(descriptor.getStateId());
        if (known == null) {
            if (!descriptor.isSerializerInitialized()) {
                descriptor.initializeSerializerUnlessSet(inner.executionConfig());
            }
            known = TtlStateFactory.createStateAndWrapWithTtlIfEnabled(
                    defaultNamespace, namespaceSerializer, descriptor, this, inner.ttlClock());
            states.put(descriptor.getStateId(), known);
        }
        return (S) known;
    }

    @Override
    @SuppressWarnings({"unchecked", "rawtypes"})
    public <N, S extends InternalKeyedState, SV> S createStateInternal(
            N defaultNamespace, TypeSerializer<N> namespaceSerializer, StateDescriptor<SV> descriptor) throws Exception {
        Preconditions.checkNotNull(handler, "The backend was not set up.");
        org.apache.flink.api.common.state.StateDescriptor synchronous = StateDescriptorUtils.transformFromV2ToV1(descriptor);
        if (descriptor.getTtlConfig().isEnabled()) {
            synchronous.enableTimeToLive(descriptor.getTtlConfig());
        }
        synchronous.initializeSerializerUnlessSet(inner.executionConfig());
        AbstractAlluviumState stored = (AbstractAlluviumState) inner.createOrUpdateInternalState(
                namespaceSerializer, synchronous, StateSnapshotTransformFactory.noTransform());
        return (S) of(stored, descriptor, defaultNamespace);
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    private <N> State of(AbstractAlluviumState stored, StateDescriptor<?> descriptor, N defaultNamespace) {
        switch (descriptor.getType()) {
            case VALUE:
                return new AsyncValueState<>(handler, (AlluviumValueState) stored, defaultNamespace);
            case LIST:
                return new AsyncListState<>(handler, (AlluviumListState) stored, defaultNamespace);
            case MAP:
                return new AsyncMapState<>(handler, (AlluviumMapState) stored, defaultNamespace);
            case REDUCING:
                return new AsyncReducingState<>(
                        handler,
                        (AlluviumReducingState) stored,
                        ((ReducingStateDescriptor<?>) descriptor).getReduceFunction(),
                        defaultNamespace);
            case AGGREGATING:
                return new AsyncAggregatingState<>(
                        handler,
                        (AlluviumAggregatingState) stored,
                        ((AggregatingStateDescriptor<?, ?, ?>) descriptor).getAggregateFunction(),
                        defaultNamespace);
            default:
                throw new UnsupportedOperationException(
                        "the state " + descriptor.getStateId() + " is of a kind that isn't kept: " + descriptor.getType());
        }
    }

    @Override
    public StateExecutor createStateExecutor() {
        StateExecutor executor = new BatchExecutor<>(inner);
        executors.add(executor);
        return executor;
    }

    @Override
    public KeyGroupRange getKeyGroupRange() {
        return inner.getKeyGroupRange();
    }

    /** Each request says of which key it is. */
    @Override
    public void switchContext(RecordContext<K> context) {}

    @Override
    public <T extends HeapPriorityQueueElement & PriorityComparable<? super T> & Keyed<?>>
            KeyGroupedInternalPriorityQueue<T> create(String stateName, TypeSerializer<T> byteOrderedElementSerializer) {
        return inner.create(stateName, byteOrderedElementSerializer);
    }

    @Override
    public <T extends HeapPriorityQueueElement & PriorityComparable<? super T> & Keyed<?>>
            KeyGroupedInternalPriorityQueue<T> create(
                    String stateName,
                    TypeSerializer<T> byteOrderedElementSerializer,
                    boolean allowFutureMetadataUpdates) {
        return inner.create(stateName, byteOrderedElementSerializer, allowFutureMetadataUpdates);
    }

    @Override
    public RunnableFuture<SnapshotResult<KeyedStateHandle>> snapshot(
            long checkpointId, long timestamp, CheckpointStreamFactory streamFactory, CheckpointOptions options)
            throws Exception {
        return inner.snapshot(checkpointId, timestamp, streamFactory, options);
    }

    @Override
    public void notifyCheckpointComplete(long checkpointId) throws Exception {
        inner.notifyCheckpointComplete(checkpointId);
    }

    @Override
    public void notifyCheckpointAborted(long checkpointId) throws Exception {
        inner.notifyCheckpointAborted(checkpointId);
    }

    @Override
    public void notifyCheckpointSubsumed(long checkpointId) throws Exception {
        inner.notifyCheckpointSubsumed(checkpointId);
    }

    @Override
    public boolean requiresLegacySynchronousTimerSnapshots(SnapshotType checkpointType) {
        return inner.requiresLegacySynchronousTimerSnapshots(checkpointType);
    }

    @Override
    public boolean isSafeToReuseKVState() {
        return inner.isSafeToReuseKVState();
    }

    @Override
    public String getBackendTypeIdentifier() {
        return inner.getBackendTypeIdentifier();
    }

    /** Cancels what is under way. Any thread. */
    @Override
    public void close() throws IOException {
        inner.close();
    }

    @Override
    public void dispose() {
        executors.forEach(StateExecutor::shutdown);
        executors.clear();
        inner.dispose();
    }
}
