package io.alluvium.flink;

import io.alluvium.AlluviumException;
import io.alluvium.Key;
import io.alluvium.Writer;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.ListSerializer;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;
import org.apache.flink.runtime.state.StateSerializerProvider;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueElement;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueSnapshotRestoreWrapper;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot.BackendStateType;
import org.apache.flink.runtime.state.restore.FullSnapshotRestoreOperation;
import org.apache.flink.runtime.state.restore.KeyGroup;
import org.apache.flink.runtime.state.restore.KeyGroupEntry;
import org.apache.flink.runtime.state.restore.SavepointRestoreResult;
import org.apache.flink.runtime.state.restore.ThrowingIterator;
import org.apache.flink.util.StateMigrationException;

/** Fills an empty store from canonical savepoints, entry by entry, whichever backend wrote them. */
final class CanonicalRestore<K> {
    private final Restored restored;
    private final HeapTimers heapTimers;
    private final FullSnapshotRestoreOperation<K> operation;
    private final StateSerializerProvider<K> keySerializer;
    private final Key key = new Key();
    private final DataInputDeserializer in = new DataInputDeserializer();

    /** {@code heapTimers} is null where timers are kept in the store. */
    CanonicalRestore(
            Restored restored,
            HeapTimers heapTimers,
            KeyGroupRange range,
            ClassLoader classLoader,
            Collection<KeyedStateHandle> handles,
            StateSerializerProvider<K> keySerializer) {
        this.restored = restored;
        this.heapTimers = heapTimers;
        this.keySerializer = keySerializer;
        operation = new FullSnapshotRestoreOperation<>(range, classLoader, handles, keySerializer);
    }

    /** Takes an entry of a state. */
    private interface Sink {
        void take(byte[] key, byte[] value) throws IOException;
    }

    void run() throws IOException, StateMigrationException {
        try (ThrowingIterator<SavepointRestoreResult> results = operation.restore()) {
            while (results.hasNext()) {
                fill(results.next());
            }
        } catch (AlluviumException e) {
            throw Failure.io("the store in " + restored.storeDirectory() + " was not restored", e);
        }
    }

    private void fill(SavepointRestoreResult result) throws IOException, StateMigrationException {
        // Only now is it sure what the key serializer is.
        CanonicalFormat<K> format = new CanonicalFormat<>(keySerializer.currentSchemaSerializer(), restored.keyGroups);
        List<Sink> sinks = new ArrayList<>();
        for (StateMetaInfoSnapshot snapshot : result.getStateMetaInfoSnapshots()) {
            sinks.add(sink(snapshot, format));
        }
        try (ThrowingIterator<KeyGroup> groups = result.getRestoredKeyGroups()) {
            while (groups.hasNext()) {
                try (ThrowingIterator<KeyGroupEntry> entries = groups.next().getKeyGroupEntries()) {
                    while (entries.hasNext()) {
                        KeyGroupEntry entry = entries.next();
                        sinks.get(entry.getKvStateId()).take(entry.getKey(), entry.getValue());
                    }
                }
            }
        }
    }

    private Sink sink(StateMetaInfoSnapshot snapshot, CanonicalFormat<K> format) {
        if (snapshot.getBackendStateType() == BackendStateType.PRIORITY_QUEUE && heapTimers != null) {
            HeapPriorityQueueSnapshotRestoreWrapper<HeapPriorityQueueElement> queue = heapTimers.restored(snapshot);
            TypeSerializer<HeapPriorityQueueElement> serializer = queue.getMetaInfo().getElementSerializer();
            return (bytes, value) -> {
                in.setBuffer(format.elementOf(bytes));
                queue.getPriorityQueue().add(serializer.deserialize(in));
            };
        }
        RegisteredState registered = restored.register(snapshot);
        Writer writer = restored.store.writer;
        if (!registered.isKeyed()) {
            return (bytes, value) -> {
                key.set(Bytes.NONE).group(format.groupOf(bytes));
                writer.mapPut(registered.state, key, format.elementOf(bytes), Bytes.NONE);
            };
        }
        RegisteredKeyValueStateBackendMetaInfo<?, ?> metaInfo = registered.keyed();
        TypeSerializer<?> namespaceSerializer = metaInfo.getNamespaceSerializer();
        switch (metaInfo.getStateType()) {
            case MAP:
                return (bytes, value) -> {
                    byte[] userKey = set(format.parts(bytes, namespaceSerializer));
                    writer.mapPut(registered.state, key, userKey, value);
                };
            case LIST:
                TypeSerializer<?> elementSerializer = ((ListSerializer<?>) metaInfo.getStateSerializer()).getElementSerializer();
                return (bytes, value) -> {
                    set(format.parts(bytes, namespaceSerializer));
                    writer.putList(registered.state, key, format.split(value, elementSerializer));
                };
            default:
                return (bytes, value) -> {
                    set(format.parts(bytes, namespaceSerializer));
                    writer.put(registered.state, key, value);
                };
        }
    }

    private byte[] set(CanonicalFormat.Parts parts) {
        key.set(parts.key).namespace(parts.namespace).group(parts.group);
        return parts.userKey;
    }
}
