package io.alluvium.flink;

import io.alluvium.AlluviumException;
import io.alluvium.Batch;
import io.alluvium.Key;
import io.alluvium.State;
import io.alluvium.Writer;
import java.io.IOException;
import java.util.function.Supplier;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.queryablestate.client.state.serialization.KvStateSerializer;
import org.apache.flink.runtime.asyncprocessing.StateRequest;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.runtime.state.internal.InternalKvState;
import org.apache.flink.util.FlinkRuntimeException;

/**
 * What all states have in common: their serializers, the namespace that they are at, and how one value is read and put.
 *
 * <p>Values go through buffers that are used again. The task's thread alone uses a state, but for {@link #getSerializedValue}.
 */
abstract class AbstractAlluviumState<K, N, V> implements InternalKvState<K, N, V> {
    /** A buffer that grew beyond this for one value is not kept. */
    private static final int KEPT_BYTES_MAX = 1 << 20;

    final AlluviumKeyedStateBackend<K> backend;
    final Writer writer;
    final State state;
    private DataOutputSerializer out = new DataOutputSerializer(128);
    final DataInputDeserializer in = new DataInputDeserializer();
    TypeSerializer<N> namespaceSerializer;
    TypeSerializer<V> valueSerializer;
    /** For keys that are not the current one. */
    final Key other = new Key();

    private V defaultValue;
    private N currentNamespace;
    private byte[] buffer = new byte[128];
    private boolean visitable;

    AbstractAlluviumState(AlluviumKeyedStateBackend<K> backend, RegisteredState registered, V defaultValue) {
        this.backend = backend;
        writer = backend.openStore().writer;
        state = registered.state;
        update(registered, defaultValue);
    }

    /** Takes over what the state was registered with anew. */
    void update(RegisteredState registered, V newDefault) {
        namespaceSerializer = registered.<N, V>keyed().getNamespaceSerializer();
        valueSerializer = registered.<N, V>keyed().getStateSerializer();
        defaultValue = newDefault;
    }

    @Override
    public TypeSerializer<K> getKeySerializer() {
        return backend.getKeySerializer();
    }

    @Override
    public TypeSerializer<N> getNamespaceSerializer() {
        return namespaceSerializer;
    }

    @Override
    public TypeSerializer<V> getValueSerializer() {
        return valueSerializer;
    }

    @Override
    public void setCurrentNamespace(N namespace) {
        currentNamespace = namespace;
    }

    N currentNamespace() {
        return currentNamespace;
    }

    /** A copy of the value that stands for none; null where there is none. */
    V defaultValue() {
        return defaultValue == null ? null : valueSerializer.copy(defaultValue);
    }

    /** The current key in the current namespace. */
    Key key() {
        return keyIn(currentNamespace);
    }

    /** The current key in a namespace. */
    Key keyIn(N namespace) {
        if (namespace == null) {
            throw new FlinkRuntimeException("the state " + state.name() + " has no namespace set");
        }
        return backend.currentKey().in(namespace, namespaceSerializer);
    }

    FlinkRuntimeException failure(AlluviumException cause) {
        return Failure.of(state.name(), cause);
    }

    /** An empty buffer to serialize into: the same one, unless it has become large. */
    final DataOutputSerializer out() {
        if (out.getSharedBuffer().length > KEPT_BYTES_MAX) {
            out = new DataOutputSerializer(128);
        }
        out.clear();
        return out;
    }

    /** The value of a key; null where there is none. Other threads than the task's may read, too, if they wait for each other. */
    V read(Key key) throws IOException {
        if (!backend.openStore().isOwner()) {
            return readElsewhere(key);
        }
        try {
            int len = writer.get(state, key, buffer);
            if (len < 0) {
                return null;
            }
            // What doesn't fit is read once more, and compaction may have removed it meanwhile, if it is expired.
            if (len > KEPT_BYTES_MAX) {
                byte[] value = writer.get(state, key);
                if (value == null) {
                    return null;
                }
                in.setBuffer(value);
            } else {
                if (len > buffer.length) {
                    buffer = new byte[Math.max(len, 2 * buffer.length)];
                    len = writer.get(state, key, buffer);
                    if (len < 0) {
                        return null;
                    }
                }
                in.setBuffer(buffer, 0, len);
            }
        } catch (AlluviumException e) {
            throw failure(e);
        }
        return valueSerializer.deserialize(in);
    }

    private V readElsewhere(Key key) throws IOException {
        try {
            byte[] stored = backend.openStore().reader().get(state, key);
            return stored == null ? null : valueSerializer.deserialize(new DataInputDeserializer(stored));
        } catch (AlluviumException e) {
            throw failure(e);
        }
    }

    /** Puts a value. */
    void put(Key key, V value) throws IOException {
        DataOutputSerializer cleared = out();
        valueSerializer.serialize(value, cleared);
        try {
            writer.put(state, key, cleared.wrapAsByteBuffer());
        } catch (AlluviumException e) {
            throw failure(e);
        }
    }

    /**
     * Puts a request of a state of single values into a batch, as {@link AsyncState#add} says. The serializer is that of the thread which takes
     * the answer.
     */
    @SuppressWarnings("unchecked")
    final AsyncState.Result add(
            StateRequest<K, N, ?, ?> request, Key key, Batch batch, Supplier<TypeSerializer<V>> serializer)
            throws IOException {
        switch (request.getRequestType()) {
            case VALUE_GET:
            case REDUCING_GET:
            case AGGREGATING_GET:
                batch.get(state, key);
                return answer -> {
                    byte[] stored = answer.value();
                    return stored == null ? null : serializer.get().deserialize(new DataInputDeserializer(stored));
                };
            default:
                V value = (V) request.getPayload();
                if (value == null) {
                    batch.delete(state, key);
                } else {
                    DataOutputSerializer cleared = out();
                    valueSerializer.serialize(value, cleared);
                    batch.put(state, key, cleared.getCopyOfBuffer());
                }
                return AsyncState.WRITTEN;
        }
    }

    /** Does a request of a state of single values at once. */
    @SuppressWarnings("unchecked")
    final Object run(StateRequest<K, N, ?, ?> request) throws IOException {
        switch (request.getRequestType()) {
            case VALUE_GET:
            case REDUCING_GET:
            case AGGREGATING_GET:
                return read(key());
            case VALUE_UPDATE:
            case REDUCING_ADD:
            case AGGREGATING_ADD:
            case CLEAR:
                V value = (V) request.getPayload();
                if (value == null) {
                    delete(key());
                } else {
                    put(key(), value);
                }
                return null;
            default:
                throw AsyncState.unknown(request);
        }
    }

    /** Deletes a value or list. */
    void delete(Key key) {
        try {
            writer.delete(state, key);
        } catch (AlluviumException e) {
            throw failure(e);
        }
    }

    @Override
    public void clear() {
        delete(key());
    }

    @Override
    public byte[] getSerializedValue(
            byte[] serializedKeyAndNamespace,
            TypeSerializer<K> safeKeySerializer,
            TypeSerializer<N> safeNamespaceSerializer,
            TypeSerializer<V> safeValueSerializer)
            throws Exception {
        Tuple2<K, N> both = KvStateSerializer.deserializeKeyAndNamespace(
                serializedKeyAndNamespace, safeKeySerializer, safeNamespaceSerializer);
        int group = KeyGroupRangeAssignment.assignToKeyGroup(both.f0, backend.getNumberOfKeyGroups());
        byte[] namespace = CurrentKey.namespace(both.f1, safeNamespaceSerializer);
        try {
            return serialized(CurrentKey.key(Bytes.of(both.f0, safeKeySerializer), namespace, group), safeValueSerializer);
        } catch (AlluviumException e) {
            throw failure(e);
        }
    }

    /** What a key holds, as Flink sends it to who asks for it from elsewhere; null where there is none. Any thread calls it. */
    byte[] serialized(Key key, TypeSerializer<V> safeValueSerializer) throws IOException {
        return backend.openStore().reader().get(state, key);
    }

    void setVisitable(boolean visitable) {
        this.visitable = visitable;
    }

    @Override
    public StateIncrementalVisitor<K, N, V> getStateIncrementalVisitor(int recommendedMaxNumberOfReturnedRecords) {
        if (!visitable) {
            throw new UnsupportedOperationException("compaction removes what is expired of the state " + state.name());
        }
        return new EntryVisitor<>(this, recommendedMaxNumberOfReturnedRecords);
    }

    /** What a key holds, or of a large map a part; null where there is none. The key is any, not the current one. */
    V visit(StoredKey key) throws IOException {
        return read(key.in(other));
    }

    /** Changes what a key was {@linkplain #visit found} to hold; null: to nothing. */
    void revise(StoredKey key, V before, V after) throws IOException {
        if (after == null) {
            delete(key.in(other));
        } else {
            put(key.in(other), after);
        }
    }
}
