package io.alluvium.flink;

import io.alluvium.Cursor;
import io.alluvium.Key;
import io.alluvium.KeyGroupRange;
import io.alluvium.State;
import io.alluvium.StateOptions;
import io.alluvium.Store;
import io.alluvium.Writer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot.BackendStateType;

/**
 * What a subtask's store has of some keys, or of some states of some key groups, is removed, and taken over from another store. A key's timers
 * are among those of its key group: they are a map whose user keys are {@code time, 8 bytes | the key | its namespace}, and a key's serializer
 * says where it ends, so no other key begins with its bytes.
 */
final class EntryRepair {
    private static final int TIME_BYTES = 8;

    private final OperatorRepair repair;
    private final SubtaskPlan plan;
    private final Store store;
    private final Writer writer;
    private final Set<String> timers = new HashSet<>();
    /** Used again for each, as its memory is dear to take. */
    private final Key key = new Key();

    EntryRepair(OperatorRepair repair, SubtaskPlan plan, Store store, Writer writer) {
        this.repair = repair;
        this.plan = plan;
        this.store = store;
        this.writer = writer;
        plan.newer.forEach(this::noteTimers);
        plan.older.forEach(this::noteTimers);
    }

    private void noteTimers(StoredHandle handle) {
        for (StateMetaInfoSnapshot state : handle.meta.states) {
            if (state.getBackendStateType() == BackendStateType.PRIORITY_QUEUE) {
                timers.add(state.getName());
            }
        }
    }

    /** Something that a state holds: a value, list or map, or, where {@code userKey} isn't null, one entry of the map. */
    private static final class Place {
        final StoredKey key;
        final byte[] userKey;

        Place(StoredKey key, byte[] userKey) {
            this.key = key;
            this.userKey = userKey;
        }
    }

    private interface Act {
        void on(Place place);
    }

    /** Removes what there is. */
    void remove() {
        for (State state : store.states()) {
            if (repair.has(state.name())) {
                go(writer, state, place -> remove(state, place));
            }
        }
    }

    private void remove(State state, Place place) {
        place.key.in(key);
        if (place.userKey != null) {
            writer.mapDelete(state, key, place.userKey);
        } else if (state.kind() == State.Kind.MAP) {
            writer.mapClear(state, key);
        } else {
            writer.delete(state, key);
        }
    }

    /** Takes over what the store of the older checkpoint has. */
    void copy(Store before, Writer reading) {
        for (State from : before.states()) {
            if (repair.has(from.name())) {
                State to = known(from);
                go(reading, from, place -> copy(reading, from, to, place));
            }
        }
    }

    /** The state of this name; where the newer checkpoint has none yet, it is made. */
    private State known(State from) {
        for (State state : store.states()) {
            if (state.name().equals(from.name())) {
                return state;
            }
        }
        switch (from.kind()) {
            case MAP:
                return store.state(StateOptions.map(from.name()));
            case LIST:
                return store.state(StateOptions.list(from.name()));
            default:
                return store.state(StateOptions.value(from.name()));
        }
    }

    private void copy(Writer reading, State from, State to, Place place) {
        place.key.in(key);
        if (place.userKey != null) {
            writer.mapPut(to, key, place.userKey, reading.mapGet(from, key, place.userKey));
        } else if (from.kind() == State.Kind.MAP) {
            EntryPages pages = new EntryPages(reading, from, () -> key);
            while (pages.hasNext()) {
                EntryPages.Stored entry = pages.next();
                writer.mapPut(to, key, entry.userKey, entry.value);
            }
        } else if (from.kind() == State.Kind.LIST) {
            writer.putList(to, key, reading.list(from, key));
        } else {
            writer.put(to, key, reading.get(from, key));
        }
    }

    /** Does something with all that a state has in what is repaired. */
    private void go(Writer in, State state, Act act) {
        if (!plan.keys.isEmpty()) {
            for (SubtaskPlan.StoreKey key : plan.keys) {
                // Collected first: it is one key's.
                places(in, state, key).forEach(act::on);
            }
            return;
        }
        for (int group = plan.groups.nextSetBit(0); group >= 0; group = plan.groups.nextSetBit(group + 1)) {
            try (Cursor cursor = in.keysAndNamespaces(state, KeyGroupRange.of(group, group))) {
                while (cursor.next()) {
                    act.on(new Place(StoredKey.of(cursor), null));
                }
            }
        }
    }

    private List<Place> places(Writer in, State state, SubtaskPlan.StoreKey key) {
        List<Place> places = new ArrayList<>();
        if (timers.contains(state.name())) {
            Key container = CurrentKey.key(Bytes.NONE, Bytes.NONE, key.group);
            StoredKey of = StoredKey.of(container);
            EntryPages pages = new EntryPages(in, state, () -> container);
            while (pages.hasNext()) {
                byte[] timer = pages.next().userKey;
                if (isOf(timer, key.bytes)) {
                    places.add(new Place(of, timer));
                }
            }
            return places;
        }
        try (Cursor cursor = in.keysAndNamespaces(state, KeyGroupRange.of(key.group, key.group))) {
            while (cursor.next()) {
                if (Arrays.equals(cursor.key(), key.bytes)) {
                    places.add(new Place(StoredKey.of(cursor), null));
                }
            }
        }
        return places;
    }

    private static boolean isOf(byte[] timer, byte[] key) {
        int end = TIME_BYTES + key.length;
        return timer.length >= end && Arrays.equals(timer, TIME_BYTES, end, key, 0, key.length);
    }
}
