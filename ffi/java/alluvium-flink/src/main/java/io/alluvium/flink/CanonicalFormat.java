package io.alluvium.flink;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.runtime.state.CompositeKeySerializationUtils;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;

/**
 * The keys and lists of canonical savepoints, which all backends read and write: {@code key group | key | namespace | user key}, with the
 * lengths of key and namespace behind each where both have none of their own; and a list's elements with a comma between two.
 */
final class CanonicalFormat<K> {
    private static final byte DELIMITER = ',';
    private static final byte[] VOID_NAMESPACE = {0};

    /** The parts of a key. */
    static final class Parts {
        final int group;
        final byte[] key;
        final byte[] namespace;
        /** What is left: a map's user key. */
        final byte[] userKey;

        private Parts(int group, byte[] key, byte[] namespace, byte[] userKey) {
            this.group = group;
            this.key = key;
            this.namespace = namespace;
            this.userKey = userKey;
        }
    }

    private final TypeSerializer<K> keySerializer;
    private final int prefixBytes;
    private final DataOutputSerializer out = new DataOutputSerializer(128);
    private final DataInputDeserializer in = new DataInputDeserializer();

    CanonicalFormat(TypeSerializer<K> keySerializer, int keyGroups) {
        this.keySerializer = keySerializer;
        prefixBytes = CompositeKeySerializationUtils.computeRequiredBytesInKeyGroupPrefix(keyGroups);
    }

    /** Puts a key together. */
    byte[] key(int group, byte[] key, byte[] namespace, byte[] userKey, TypeSerializer<?> namespaceSerializer)
            throws IOException {
        boolean lengths = CompositeKeySerializationUtils.isAmbiguousKeyPossible(keySerializer, namespaceSerializer);
        byte[] written = namespaceSerializer instanceof VoidNamespaceSerializer ? VOID_NAMESPACE : namespace;
        out.clear();
        CompositeKeySerializationUtils.writeKeyGroup(group, prefixBytes, out);
        out.write(key);
        if (lengths) {
            CompositeKeySerializationUtils.writeVariableIntBytes(key.length, out);
        }
        out.write(written);
        if (lengths) {
            CompositeKeySerializationUtils.writeVariableIntBytes(written.length, out);
        }
        out.write(userKey);
        return out.getCopyOfBuffer();
    }

    /** The key of an element of a priority queue. */
    byte[] element(int group, byte[] element) throws IOException {
        out.clear();
        CompositeKeySerializationUtils.writeKeyGroup(group, prefixBytes, out);
        out.write(element);
        return out.getCopyOfBuffer();
    }

    /** Takes a key apart. */
    Parts parts(byte[] bytes, TypeSerializer<?> namespaceSerializer) throws IOException {
        boolean lengths = CompositeKeySerializationUtils.isAmbiguousKeyPossible(keySerializer, namespaceSerializer);
        in.setBuffer(bytes);
        int group = CompositeKeySerializationUtils.readKeyGroup(prefixBytes, in);
        byte[] key = part(bytes, keySerializer, lengths);
        byte[] namespace = part(bytes, namespaceSerializer, lengths);
        byte[] stored = namespaceSerializer instanceof VoidNamespaceSerializer ? Bytes.NONE : namespace;
        return new Parts(group, key, stored, Arrays.copyOfRange(bytes, in.getPosition(), bytes.length));
    }

    private byte[] part(byte[] bytes, TypeSerializer<?> serializer, boolean length) throws IOException {
        int begin = in.getPosition();
        serializer.deserialize(in);
        int end = in.getPosition();
        if (length) {
            CompositeKeySerializationUtils.readVariableIntBytes(in, end - begin);
        }
        return Arrays.copyOfRange(bytes, begin, end);
    }

    /** The element in a key of a priority queue. */
    byte[] elementOf(byte[] bytes) {
        return Arrays.copyOfRange(bytes, prefixBytes, bytes.length);
    }

    /** The key group of a key of a priority queue. */
    int groupOf(byte[] bytes) {
        return CompositeKeySerializationUtils.extractKeyGroup(prefixBytes, bytes);
    }

    /** A list's bytes from its elements'. */
    static byte[] join(List<byte[]> elements) {
        int len = elements.size() - 1;
        for (byte[] element : elements) {
            len = Math.addExact(len, element.length);
        }
        byte[] list = new byte[len];
        int at = 0;
        for (byte[] element : elements) {
            System.arraycopy(element, 0, list, at, element.length);
            at += element.length;
            if (at < len) {
                list[at++] = DELIMITER;
            }
        }
        return list;
    }

    /** The elements' bytes from a list's. Where one ends its serializer alone knows. */
    List<byte[]> split(byte[] list, TypeSerializer<?> elementSerializer) throws IOException {
        List<byte[]> elements = new ArrayList<>();
        in.setBuffer(list);
        while (in.available() > 0) {
            int begin = in.getPosition();
            elementSerializer.deserialize(in);
            elements.add(Arrays.copyOfRange(list, begin, in.getPosition()));
            if (in.available() > 0) {
                in.readByte();
            }
        }
        return elements;
    }
}
