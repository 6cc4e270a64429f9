package io.alluvium.flink;

import io.alluvium.Key;
import java.io.IOException;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.util.FlinkRuntimeException;

/**
 * The key that the task is at, in the bytes that the store has it by: what the serializers make of key and namespace, in the key group that
 * Flink gave it. The one namespace of states without windows has no bytes.
 *
 * <p>All states of a backend share this, and so each sets the namespace before it uses the key. Nothing is allocated.
 */
final class CurrentKey<K> {
    private final TypeSerializer<K> serializer;
    private final DataOutputSerializer out = new DataOutputSerializer(64);
    private final Key key = new Key();
    private boolean isSet;

    CurrentKey(TypeSerializer<K> serializer) {
        this.serializer = serializer;
    }

    void set(K value, int group) {
        try {
            out.clear();
            serializer.serialize(value, out);
        } catch (IOException e) {
            throw new FlinkRuntimeException("no bytes of the key " + value + " by " + serializer, e);
        }
        key.set(out.getSharedBuffer(), 0, out.length()).group(group);
        isSet = true;
    }

    /** The key, in a namespace. It changes with the next call. */
    <N> Key in(N namespace, TypeSerializer<N> namespaceSerializer) {
        if (!isSet) {
            throw new FlinkRuntimeException("no key is set: state with keys can't be used outside of the processing of a record");
        }
        if (namespaceSerializer instanceof VoidNamespaceSerializer) {
            return key.namespace(Bytes.NONE);
        }
        try {
            out.clear();
            namespaceSerializer.serialize(namespace, out);
        } catch (IOException e) {
            throw new FlinkRuntimeException("no bytes of the namespace " + namespace + " by " + namespaceSerializer, e);
        }
        return key.namespace(out.wrapAsByteBuffer());
    }

    /** The bytes of a namespace. */
    static <N> byte[] namespace(N namespace, TypeSerializer<N> namespaceSerializer) {
        return namespaceSerializer instanceof VoidNamespaceSerializer ? Bytes.NONE : Bytes.of(namespace, namespaceSerializer);
    }

    /** The namespace of the bytes that {@link #namespace} makes. */
    @SuppressWarnings("unchecked")
    static <N> N namespaceOf(byte[] bytes, TypeSerializer<N> namespaceSerializer) {
        return namespaceSerializer instanceof VoidNamespaceSerializer
                ? (N) VoidNamespace.INSTANCE
                : Bytes.object(bytes, namespaceSerializer);
    }

    /** A key in a namespace, both in bytes, that lasts. */
    static Key key(byte[] key, byte[] namespace, int group) {
        return new Key().set(key).namespace(namespace).group(group);
    }
}
