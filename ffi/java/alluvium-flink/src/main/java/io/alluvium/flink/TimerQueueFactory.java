package io.alluvium.flink;

import java.util.Map;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.TypeSerializerSchemaCompatibility;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.runtime.state.KeyExtractorFunction;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupedInternalPriorityQueue;
import org.apache.flink.runtime.state.Keyed;
import org.apache.flink.runtime.state.PriorityComparable;
import org.apache.flink.runtime.state.PriorityComparator;
import org.apache.flink.runtime.state.PriorityQueueSetFactory;
import org.apache.flink.runtime.state.RegisteredPriorityQueueStateBackendMetaInfo;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueElement;
import org.apache.flink.runtime.state.heap.KeyGroupPartitionedPriorityQueue;
import org.apache.flink.util.FlinkRuntimeException;
import org.apache.flink.util.StateMigrationException;

/** Makes priority queues that live in the store: a map state each, in which each key group has a map. */
final class TimerQueueFactory implements PriorityQueueSetFactory {
    private final OpenStore store;
    private final Map<String, RegisteredState> states;
    private final KeyGroupRange range;
    private final int keyGroups;
    private final DataOutputSerializer out = new DataOutputSerializer(64);
    private final DataInputDeserializer in = new DataInputDeserializer();

    TimerQueueFactory(OpenStore store, Map<String, RegisteredState> states, KeyGroupRange range, int keyGroups) {
        this.store = store;
        this.states = states;
        this.range = range;
        this.keyGroups = keyGroups;
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
        RegisteredState registered = register(stateName, byteOrderedElementSerializer, allowFutureMetadataUpdates);
        return new KeyGroupPartitionedPriorityQueue<T, TimerQueue<T>>(
                KeyExtractorFunction.forKeyedObjects(),
                PriorityComparator.forPriorityComparableObjects(),
                (group, total, keys, priorities) ->
                        new TimerQueue<>(store.writer, registered.state, group, byteOrderedElementSerializer, out, in),
                range,
                keyGroups);
    }

    private <T> RegisteredState register(String name, TypeSerializer<T> serializer, boolean allowFutureMetadataUpdates) {
        RegisteredState known = states.get(name);
        if (known != null && known.isKeyed()) {
            throw new FlinkRuntimeException("the name of the timers, " + name + ", is a state's");
        }
        RegisteredPriorityQueueStateBackendMetaInfo<T> metaInfo =
                new RegisteredPriorityQueueStateBackendMetaInfo<>(name, serializer);
        if (known != null && !check(known, serializer)) {
            return known;
        }
        if (allowFutureMetadataUpdates) {
            metaInfo = metaInfo.withSerializerUpgradesAllowed();
        }
        RegisteredState registered =
                known == null ? RegisteredState.register(store.store, metaInfo) : known.with(metaInfo);
        states.put(name, registered);
        return registered;
    }

    /** Whether another serializer than the known one can go on with the stored bytes; fails where it can't. */
    private static <T> boolean check(RegisteredState known, TypeSerializer<T> serializer) {
        @SuppressWarnings("unchecked")
        RegisteredPriorityQueueStateBackendMetaInfo<T> before =
                (RegisteredPriorityQueueStateBackendMetaInfo<T>) known.metaInfo;
        if (before.getPreviousElementSerializer() == serializer) {
            return false;
        }
        TypeSerializerSchemaCompatibility<T> compatibility = before.updateElementSerializer(serializer);
        // Elements are keys of the store, which are not rewritten.
        if (compatibility.isIncompatible()) {
            throw new FlinkRuntimeException(new StateMigrationException(
                    "The new serializer of the timers " + known.metaInfo.getName() + " must not be incompatible."));
        }
        return true;
    }
}
