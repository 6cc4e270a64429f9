package io.alluvium.flink;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.LongStream;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.runtime.state.KeyGroupRangeOffsets;
import org.apache.flink.runtime.state.KeyGroupsStateHandle;
import org.apache.flink.runtime.state.KeyedStateHandle;

/**
 * Timers that are on Java's heap, which Flink writes into a stream of a subtask's own, a part for each key group: a new stream has the parts of
 * either checkpoint, as they are.
 */
final class HeapTimersRepair {
    /** What Flink has as the offset of a key group that isn't in a stream. */
    private static final long NONE = -1;

    private HeapTimersRepair() {}

    /** Of one subtask; none where it has none. */
    static List<KeyedStateHandle> run(OperatorRepair repair, SubtaskPlan plan, NewCheckpoint into) throws IOException {
        List<KeyedStateHandle> made = new ArrayList<>();
        if (plan.state.getRawKeyedState().isEmpty() && plan.olderRaw.isEmpty()) {
            return made;
        }
        long[] offsets = new long[plan.range.getNumberOfKeyGroups()];
        Arrays.fill(offsets, NONE);
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        for (int group : plan.range) {
            boolean isOther = plan.groups.get(group);
            Iterable<KeyedStateHandle> from = isOther ? plan.olderRaw : plan.state.getRawKeyedState();
            byte[] part = isOther && repair.removes() ? null : part(from, group);
            if (part != null) {
                offsets[group - plan.range.getStartKeyGroup()] = bytes.size();
                bytes.writeBytes(part);
            }
        }
        made.add(new KeyGroupsStateHandle(new KeyGroupRangeOffsets(plan.range, offsets), into.write(bytes.toByteArray())));
        return made;
    }

    /** What there is of a key group; null where it is in none of these. */
    private static byte[] part(Iterable<KeyedStateHandle> handles, int group) throws IOException {
        for (KeyedStateHandle handle : handles) {
            if (!handle.getKeyGroupRange().contains(group)) {
                continue;
            }
            KeyGroupsStateHandle stream = (KeyGroupsStateHandle) handle;
            long begin = stream.getOffsetForKeyGroup(group);
            if (begin == NONE) {
                return null;
            }
            // Key groups may come in any order.
            long end = LongStream.range(0, handle.getKeyGroupRange().getNumberOfKeyGroups())
                    .map(place -> stream.getOffsetForKeyGroup((int) (handle.getKeyGroupRange().getStartKeyGroup() + place)))
                    .filter(offset -> offset > begin)
                    .min()
                    .orElse(stream.getStateSize());
            try (FSDataInputStream in = stream.openInputStream()) {
                in.seek(begin);
                return read(in, Math.toIntExact(end - begin));
            }
        }
        return null;
    }

    private static byte[] read(InputStream in, int len) throws IOException {
        byte[] bytes = in.readNBytes(len);
        if (bytes.length != len) {
            throw new IOException("a stream of timers ends after " + bytes.length + " of " + len + " bytes");
        }
        return bytes;
    }
}
