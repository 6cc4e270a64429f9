package io.alluvium.flink;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyedStateHandle;

/** What is to be done with the keyed state of one subtask, and from what. */
final class SubtaskPlan {
    /** A key that is repaired, as the store has it. */
    static final class StoreKey {
        final byte[] bytes;
        final int group;

        StoreKey(byte[] bytes, int group) {
            this.bytes = bytes;
            this.group = group;
        }
    }

    final int index;
    final KeyGroupRange range;
    /** What the newer checkpoint has of the subtask, and of its keyed state, which may be none. */
    final OperatorSubtaskState state;

    final List<StoredHandle> newer = new ArrayList<>();
    /** What the older checkpoint has of the key groups that are repaired; of its subtasks, however many those were. */
    final List<StoredHandle> older = new ArrayList<>();

    final List<KeyedStateHandle> olderRaw = new ArrayList<>();
    /** The key groups that are repaired, or have keys that are. */
    final BitSet groups = new BitSet();

    final List<StoreKey> keys = new ArrayList<>();

    SubtaskPlan(int index, KeyGroupRange range, OperatorSubtaskState state) {
        this.index = index;
        this.range = range;
        this.state = state;
    }

    /** Whether any of the key groups that are repaired is in a range. */
    boolean touches(KeyGroupRange other) {
        int next = groups.nextSetBit(other.getStartKeyGroup());
        return next >= 0 && next <= other.getEndKeyGroup();
    }
}
