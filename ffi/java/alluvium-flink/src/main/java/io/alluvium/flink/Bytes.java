package io.alluvium.flink;

import java.io.IOException;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.util.FlinkRuntimeException;

/** Bytes of objects, where it doesn't matter that they are made anew. */
final class Bytes {
    static final byte[] NONE = {};

    private Bytes() {}

    static <T> byte[] of(T value, TypeSerializer<T> serializer) {
        try {
            DataOutputSerializer out = new DataOutputSerializer(64);
            serializer.serialize(value, out);
            return out.getCopyOfBuffer();
        } catch (IOException e) {
            throw new FlinkRuntimeException("no bytes of " + value + " by " + serializer, e);
        }
    }

    static <T> T object(byte[] bytes, TypeSerializer<T> serializer) {
        try {
            return serializer.deserialize(new DataInputDeserializer(bytes));
        } catch (IOException e) {
            throw new FlinkRuntimeException(bytes.length + " bytes are no value by " + serializer, e);
        }
    }
}
