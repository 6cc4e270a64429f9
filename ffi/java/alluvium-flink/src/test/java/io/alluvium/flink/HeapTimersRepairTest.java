package io.alluvium.flink;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupRangeOffsets;
import org.apache.flink.runtime.state.KeyGroupsStateHandle;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.memory.ByteStreamStateHandle;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import static org.assertj.core.api.Assertions.assertThat;

/** Streams of timers, put together of two checkpoints' key groups. */
class HeapTimersRepairTest {
    @TempDir
    Path directory;

    /**
     * A stream in which each key group has its number behind a text. Key groups come from the last to the first, as nothing says in which order
     * they do.
     */
    static KeyedStateHandle timers(int first, int last, String text) {
        long[] offsets = new long[last - first + 1];
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        for (int group = last; group >= first; group--) {
            offsets[group - first] = bytes.size();
            bytes.writeBytes((text + ":" + group).getBytes(StandardCharsets.UTF_8));
        }
        return new KeyGroupsStateHandle(
                new KeyGroupRangeOffsets(new KeyGroupRange(first, last), offsets), new ByteStreamStateHandle(text, bytes.toByteArray()));
    }

    private String read(KeyedStateHandle handle, int group) throws Exception {
        KeyGroupsStateHandle stream = (KeyGroupsStateHandle) handle;
        long begin = stream.getOffsetForKeyGroup(group);
        if (begin < 0) {
            return null;
        }
        try (FSDataInputStream in = stream.openInputStream()) {
            in.seek(begin);
            String rest = new String(in.readAllBytes(), StandardCharsets.UTF_8);
            int next = rest.indexOf(':') + 1 + Integer.toString(group).length();
            return rest.substring(0, next);
        }
    }

    private KeyedStateHandle run(OperatorRepair repair) throws Exception {
        OperatorSubtaskState state = OperatorSubtaskState.builder().setRawKeyedState(timers(5, 12, "now")).build();
        SubtaskPlan plan = new SubtaskPlan(0, new KeyGroupRange(5, 12), state);
        plan.groups.or(repair.keyGroups);
        if (!repair.removes()) {
            plan.olderRaw.add(timers(0, 7, "then"));
            plan.olderRaw.add(timers(8, 15, "before"));
        }
        NewCheckpoint into = NewCheckpoint.in(directory.resolve("new").toUri().toString(), false);
        into.begin();
        List<KeyedStateHandle> made = HeapTimersRepair.run(repair, plan, into);
        assertThat(made).hasSize(1);
        assertThat(made.get(0).getKeyGroupRange()).isEqualTo(plan.range);
        return made.get(0);
    }

    @Test
    void keyGroupsGoBack() throws Exception {
        KeyedStateHandle made = run(OperatorRepair.of("any").keyGroups("5,7,8,12"));
        for (int group = 5; group <= 12; group++) {
            String from = group == 5 || group == 7 ? "then" : group == 8 || group == 12 ? "before" : "now";
            assertThat(read(made, group)).isEqualTo(from + ":" + group);
        }
    }

    @Test
    void keyGroupsAreRemoved() throws Exception {
        KeyedStateHandle made = run(OperatorRepair.of("any").keyGroups("6-9").remove());
        for (int group = 5; group <= 12; group++) {
            assertThat(read(made, group)).isEqualTo(group >= 6 && group <= 9 ? null : "now:" + group);
        }
    }
}
