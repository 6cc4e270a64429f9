package io.alluvium.flink;

import java.io.IOException;
import java.util.Arrays;
import java.util.Map;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot;

/** Whether what one serializer wrote is what another one reads, by what checkpoints keep of them: only what is the same is sure. */
final class Serializers {
    private Serializers() {}

    static boolean areSame(TypeSerializerSnapshot<?> one, TypeSerializerSnapshot<?> other) throws IOException {
        return one == other || Arrays.equals(bytes(one), bytes(other));
    }

    private static byte[] bytes(TypeSerializerSnapshot<?> snapshot) throws IOException {
        DataOutputSerializer out = new DataOutputSerializer(256);
        TypeSerializerSnapshot.writeVersionedSnapshot(out, snapshot);
        return out.getCopyOfBuffer();
    }

    /** Two states of one name. */
    static boolean areSame(StateMetaInfoSnapshot one, StateMetaInfoSnapshot other) throws IOException {
        Map<String, TypeSerializerSnapshot<?>> ones = one.getSerializerSnapshotsImmutable();
        Map<String, TypeSerializerSnapshot<?>> others = other.getSerializerSnapshotsImmutable();
        if (one.getBackendStateType() != other.getBackendStateType()
                || !one.getOptionsImmutable().equals(other.getOptionsImmutable())
                || !ones.keySet().equals(others.keySet())) {
            return false;
        }
        for (Map.Entry<String, TypeSerializerSnapshot<?>> entry : ones.entrySet()) {
            if (!areSame(entry.getValue(), others.get(entry.getKey()))) {
                return false;
            }
        }
        return true;
    }
}
