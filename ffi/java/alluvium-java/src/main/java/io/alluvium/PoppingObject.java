package io.alluvium;

import java.util.ArrayList;
import java.util.List;

/** What a writer takes out of maps when it is due. */
abstract class PoppingObject extends EventsObject {
    /** What is popped is taken out so much at a time. */
    private static final int POP_BYTES = 1 << 20;

    PoppingObject(long handle, Store store, boolean shared) {
        super(handle, store, shared);
    }

    /**
     * Takes all entries with user keys below {@code below} out of a map, in order: the timers that are due. Where it fails after it took
     * some out, it returns those, and the next call fails.
     */
    public List<Entry> mapPopBelow(State state, Key key, byte[] below) {
        List<Entry> due = new ArrayList<>();
        boolean locked = enter();
        try {
            boolean more = popBelow(state, key, below, Integer.MAX_VALUE, due) > 0;
            if (more) {
                scratch.widen(POP_BYTES);
            }
            while (more) {
                more = popBelow(state, key, below, Integer.MAX_VALUE, due) > 0;
            }
        } catch (AlluviumException | OutOfMemoryError failed) {
            if (due.isEmpty()) {
                throw failed;
            }
        } finally {
            leave(locked);
        }
        return due;
    }

    /**
     * The same, but takes no more out at once than {@code bytesMax}, and 1 MiB, where an entry counts 12 bytes more than its user key and its value: for
     * who works much that is due off piece by piece. If the first one alone has more, it is taken all the same; so nothing is due any more where there
     * is none.
     */
    public List<Entry> mapPopBelow(State state, Key key, byte[] below, int bytesMax) {
        List<Entry> due = new ArrayList<>();
        boolean locked = enter();
        try {
            scratch.widen(Math.min(bytesMax, POP_BYTES));
            int needed = popBelow(state, key, below, Math.min(bytesMax, POP_BYTES), due);
            if (due.isEmpty() && needed > 0) {
                popBelow(state, key, below, needed, due);
            }
        } finally {
            leave(locked);
        }
        return due;
    }

    /**
     * Takes out as much as there is room for, in this writer's memory as well: what is out of the map while there is none would be lost. Says how much room
     * the next call needs at least; 0 where there is no more.
     */
    private int popBelow(State state, Key key, byte[] below, int room, List<Entry> due) {
        Memory keys = key.withUserKey(below);
        Memory out = scratch.out;
        int capacity = Math.min(room, out.capacity);
        long result = Failures.check(Native.writerMapPopBelow(
                handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys),
                keys.part(below.length), out.address, capacity));
        keys.keep();
        boolean more = (result & 1) != 0;
        long len = result >>> 1;
        if (len > capacity) {
            // The first one alone, which is still there.
            if (len > out.capacity) {
                scratch.out = out.grown(0, len);
            }
            return (int) len;
        }
        due.addAll(Packing.entries(out.bytes(0, (int) len)));
        return more ? 1 : 0;
    }
}
