package io.alluvium.flink;

import java.io.IOException;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.base.IntSerializer;
import org.apache.flink.api.common.typeutils.base.LongSerializer;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;

/** Keys that a user gives, in the bytes and the key group that a store has them by. */
final class GivenKeys {
    private GivenKeys() {}

    static SubtaskPlan.StoreKey stored(OperatorRepair.GivenKey given, TypeSerializerSnapshot<?> keys, int maxParallelism)
            throws RepairRefusedException {
        return stored(given, keys.restoreSerializer(), maxParallelism);
    }

    private static <K> SubtaskPlan.StoreKey stored(OperatorRepair.GivenKey given, TypeSerializer<K> serializer, int maxParallelism)
            throws RepairRefusedException {
        K key = given.text == null ? object(given, serializer) : parse(given.text, serializer);
        int group = KeyGroupRangeAssignment.assignToKeyGroup(key, maxParallelism);
        return new SubtaskPlan.StoreKey(given.text == null ? given.bytes : Bytes.of(key, serializer), group);
    }

    private static <K> K object(OperatorRepair.GivenKey given, TypeSerializer<K> serializer) throws RepairRefusedException {
        try {
            DataInputDeserializer in = new DataInputDeserializer(given.bytes);
            K key = serializer.deserialize(in);
            if (in.available() == 0) {
                return key;
            }
        } catch (IOException | RuntimeException e) {
            throw new RepairRefusedException("these bytes are no key by " + serializer.getClass().getName() + ": " + given, e);
        }
        throw new RepairRefusedException("there are more bytes than those of a key by " + serializer.getClass().getName() + ": " + given);
    }

    @SuppressWarnings("unchecked")
    private static <K> K parse(String text, TypeSerializer<K> serializer) throws RepairRefusedException {
        try {
            if (serializer instanceof StringSerializer) {
                return (K) text;
            }
            if (serializer instanceof LongSerializer) {
                return (K) Long.valueOf(text);
            }
            if (serializer instanceof IntSerializer) {
                return (K) Integer.valueOf(text);
            }
        } catch (NumberFormatException e) {
            throw new RepairRefusedException("no whole number, as keys are: " + text, e);
        }
        throw new RepairRefusedException("keys are neither texts nor whole numbers, but of " + serializer.getClass().getName()
                + ": the bytes that it makes have to be given");
    }
}
