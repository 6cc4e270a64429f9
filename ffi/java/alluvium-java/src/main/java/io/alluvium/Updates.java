package io.alluvium;

import java.util.Arrays;

/** The memory of {@link Writer#updateMany}: values before and after, and which keys occurred before. */
final class Updates {
    final Values old = new Values();
    final Values now = new Values();
    /** Open addressing: places in the keys, -1 for none. The last place of a key counts. */
    private int[] places = new int[0];

    /** Makes the new values. */
    void run(Keys keys, Store store, ManyUpdate change) {
        int size = Integer.highestOneBit(Math.max(keys.size(), 1)) * 4;
        if (places.length < size) {
            places = new int[size];
        }
        Arrays.fill(places, -1);
        Store groups = keys.isMixed() ? store : null;
        now.clear();
        for (int index = 0; index < keys.size(); index++) {
            int before = before(keys, index, groups);
            byte[] value = before < 0 ? old.get(index) : now.get(before);
            byte[] changed = change.change(index, value);
            if (changed == null) {
                now.addNone();
            } else {
                now.add(changed);
            }
        }
    }

    /** Where a key occurred last; -1 where it didn't. From now on it occurred at {@code index}. */
    private int before(Keys keys, int index, Store groups) {
        int mask = places.length - 1;
        int slot = keys.hash(index, groups) & mask;
        while (places[slot] >= 0 && !keys.isSame(places[slot], index, groups)) {
            slot = (slot + 1) & mask;
        }
        int before = places[slot];
        places[slot] = index;
        return before;
    }
}
