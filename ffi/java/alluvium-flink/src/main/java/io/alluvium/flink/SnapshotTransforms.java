package io.alluvium.flink;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.ListSerializer;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.runtime.state.StateSnapshotTransformer;
import org.apache.flink.runtime.state.StateSnapshotTransformer.CollectionStateSnapshotTransformer;
import org.apache.flink.runtime.state.StateSnapshotTransformer.CollectionStateSnapshotTransformer.TransformStrategy;
import org.apache.flink.runtime.state.StateSnapshotTransformer.StateSnapshotTransformFactory;
import org.apache.flink.util.FlinkRuntimeException;

/**
 * What canonical savepoints leave out of a state, as its time to live says: from a function on a user's value or element to one on the bytes
 * that are written.
 */
final class SnapshotTransforms {
    private SnapshotTransforms() {}

    /** The function on bytes, of a state of this kind. */
    @SuppressWarnings("unchecked")
    static <V, E> StateSnapshotTransformFactory<V> factory(
            StateDescriptor<?, V> descriptor, StateSnapshotTransformFactory<E> inner, TypeSerializer<V> serializer) {
        switch (descriptor.getType()) {
            case LIST:
                TypeSerializer<E> element = ((ListSerializer<E>) serializer).getElementSerializer();
                return new OfBytes<>(() -> inner.createForDeserializedState()
                        .map(transformer -> new OfList<>(transformer, element.duplicate())));
            case MAP:
                return new OfBytes<>(() -> inner.createForSerializedState().map(SnapshotTransforms::ofEntry));
            default:
                return new OfBytes<>(inner::createForSerializedState);
        }
    }

    /** A function on a map's value; a byte comes before it, which says whether it is null. */
    private static StateSnapshotTransformer<byte[]> ofEntry(StateSnapshotTransformer<byte[]> inner) {
        return value -> {
            if (value == null || value[0] != 0) {
                return value;
            }
            byte[] plain = new byte[value.length - 1];
            System.arraycopy(value, 1, plain, 0, plain.length);
            byte[] transformed = inner.filterOrTransform(plain);
            if (transformed == null || transformed == plain) {
                return transformed == null ? null : value;
            }
            byte[] flagged = new byte[transformed.length + 1];
            System.arraycopy(transformed, 0, flagged, 1, transformed.length);
            return flagged;
        };
    }

    private interface Source {
        Optional<StateSnapshotTransformer<byte[]>> make();
    }

    private static final class OfBytes<V> implements StateSnapshotTransformFactory<V> {
        private final Source source;

        OfBytes(Source source) {
            this.source = source;
        }

        @Override
        public Optional<StateSnapshotTransformer<V>> createForDeserializedState() {
            throw new UnsupportedOperationException("state is in bytes here");
        }

        @Override
        public Optional<StateSnapshotTransformer<byte[]>> createForSerializedState() {
            return source.make();
        }
    }

    /** A function on the elements of a list. */
    private static final class OfList<E> implements StateSnapshotTransformer<byte[]> {
        private final StateSnapshotTransformer<E> inner;
        private final TypeSerializer<E> serializer;
        private final boolean restIsKept;
        private final DataInputDeserializer in = new DataInputDeserializer();
        private final DataOutputSerializer out = new DataOutputSerializer(128);

        OfList(StateSnapshotTransformer<E> inner, TypeSerializer<E> serializer) {
            this.inner = inner;
            this.serializer = serializer;
            restIsKept = inner instanceof CollectionStateSnapshotTransformer
                    && ((CollectionStateSnapshotTransformer<E>) inner).getFilterStrategy()
                            == TransformStrategy.STOP_ON_FIRST_INCLUDED;
        }

        @Override
        public byte[] filterOrTransform(byte[] list) {
            if (list == null) {
                return null;
            }
            List<byte[]> kept = new ArrayList<>();
            try {
                in.setBuffer(list);
                while (in.available() > 0) {
                    int begin = in.getPosition();
                    E transformed = inner.filterOrTransform(serializer.deserialize(in));
                    if (transformed != null && restIsKept) {
                        return Arrays.copyOfRange(list, begin, list.length);
                    }
                    if (in.available() > 0) {
                        in.readByte();
                    }
                    if (transformed != null) {
                        out.clear();
                        serializer.serialize(transformed, out);
                        kept.add(out.getCopyOfBuffer());
                    }
                }
            } catch (IOException e) {
                throw new FlinkRuntimeException("a list that was to be filtered for a savepoint", e);
            }
            return kept.isEmpty() ? null : CanonicalFormat.join(kept);
        }
    }
}
