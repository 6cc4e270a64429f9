package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static io.alluvium.Fixture.text;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** As many key groups as there can be: numbers of 16 bits, of which half are below 0 where somebody takes them for Java's. */
class KeyGroupsTest {
    private static final int LAST = 65_535;
    private static final int[] GROUPS = {0, 1, 32_767, 32_768, 65_534, LAST};
    private static final KeyGroupRange UPPER = KeyGroupRange.of(32_768, LAST);
    /** How many keys go by their hashes: among so many some are of each half. */
    private static final int HASHED = 64;

    private static StoreOptions options() {
        return new StoreOptions().keyGroups(LAST + 1);
    }

    private static Key key(int group) {
        return Key.of(bytes("k")).namespace(bytes("n")).group(group);
    }

    /** The keys of all, given or hashed, in the order in which {@link #value} numbers them. */
    private static List<Key> keys() {
        List<Key> keys = new ArrayList<>();
        for (int group : GROUPS) {
            keys.add(key(group));
        }
        for (int number = 0; number < HASHED; number++) {
            keys.add(Key.of(bytes("hashed " + number)));
        }
        return keys;
    }

    private static byte[] value(String state, int number) {
        return bytes(state + " " + number);
    }

    /** Writes the keys one by one, packed, and in a batch, each into a state of its own. */
    private static void write(Store store, Writer writer) {
        State single = store.state(StateOptions.value("single"));
        State packed = store.state(StateOptions.value("packed"));
        State batched = store.state(StateOptions.value("batched"));
        Keys keys = new Keys();
        Values values = new Values();
        Batch batch = new Batch(store);
        int number = 0;
        for (Key key : keys()) {
            writer.put(single, key, value("single", number));
            keys.add(key);
            values.add(value("packed", number));
            batch.put(batched, key, value("batched", number));
            number++;
        }
        writer.putMany(packed, keys, values);
        writer.apply(batch);
    }

    private static void check(Store store) {
        assertEquals(LAST + 1, store.keyGroups());
        assertEquals(KeyGroupRange.of(0, LAST), store.range());
        try (Writer writer = store.writer(); Reader reader = store.reader(); Snapshot snapshot = store.snapshot()) {
            for (String name : new String[] {"single", "packed", "batched"}) {
                State state = store.state(StateOptions.value(name));
                checkOneByOne(writer, reader, snapshot, state);
                checkTogether(store, writer, state);
                checkCursors(store, writer, reader, state);
            }
        }
    }

    private static void checkOneByOne(Writer writer, Reader reader, Snapshot snapshot, State state) {
        int number = 0;
        for (Key key : keys()) {
            String expected = text(value(state.name(), number++));
            assertEquals(expected, text(writer.get(state, key)));
            assertEquals(expected, text(reader.get(state, key)));
            assertEquals(expected, text(snapshot.get(state, key)));
        }
        assertNull(writer.get(state, key(32_769)));
        assertNull(reader.get(state, key(2)));
    }

    private static void checkTogether(Store store, Writer writer, State state) {
        Keys keys = new Keys();
        Batch batch = new Batch(store);
        for (Key key : keys()) {
            keys.add(key);
            batch.get(state, key);
        }
        Values found = new Values();
        writer.getMany(state, keys, found);
        for (int number = 0; number < keys.size(); number++) {
            assertEquals(text(value(state.name(), number)), text(found.get(number)));
        }
        try (Ticket ticket = writer.submit(batch)) {
            ticket.await();
            int answers = 0;
            while (!ticket.isDone()) {
                for (Answer answer : writer.poll(ticket)) {
                    assertEquals(text(value(state.name(), answer.index())), text(answer.value()));
                    answers++;
                }
            }
            assertEquals(batch.size(), answers);
        }
    }

    /** The keys by their groups: what a cursor goes through, in its order. */
    private static Map<Integer, List<String>> byGroup(Store store, KeyGroupRange range) {
        Map<Integer, List<String>> byGroup = new TreeMap<>();
        for (Key key : keys()) {
            int group = key.group() >= 0 ? key.group() : store.groupOf(key.key());
            if (range.contains(group)) {
                byGroup.computeIfAbsent(group, none -> new ArrayList<>()).add(text(key.key()));
            }
        }
        byGroup.values().forEach(names -> names.sort(null));
        return byGroup;
    }

    private static Map<Integer, List<String>> through(Cursor opened) {
        Map<Integer, List<String>> byGroup = new TreeMap<>();
        int before = 0;
        try (Cursor cursor = opened) {
            while (cursor.next()) {
                assertTrue(before <= cursor.group(), cursor.group() + " after " + before);
                before = cursor.group();
                byGroup.computeIfAbsent(before, none -> new ArrayList<>()).add(text(cursor.key()));
            }
        }
        return byGroup;
    }

    private static void checkCursors(Store store, Writer writer, Reader reader, State state) {
        Map<Integer, List<String>> all = byGroup(store, store.range());
        Map<Integer, List<String>> upper = byGroup(store, UPPER);
        assertTrue(all.size() > upper.size() + 3 && upper.size() > 6, "some were hashed into either half");
        assertEquals(all, through(writer.keys(state, store.range())));
        assertEquals(all, through(reader.keysAndNamespaces(state, store.range())));
        assertEquals(upper, through(writer.keys(state, UPPER)));
        assertEquals(List.of("k"), through(reader.keys(state, KeyGroupRange.of(LAST, LAST))).get(LAST));
    }

    @Test
    void thereMayBe65536() {
        try (Fixture fixture = new Fixture(options(), 64L << 20)) {
            try (Writer writer = fixture.store.writer()) {
                write(fixture.store, writer);
            }
            check(fixture.store);
            fixture.checkpoint(1);
            fixture.reopen(options());
            check(fixture.store);
            List<Integer> groups = new ArrayList<>();
            try (CheckpointIterator items = fixture.store.iterate(1)) {
                items.forEachRemaining(item -> {
                    if (item.state().name().equals("single") && text(item.key()).equals("k")) {
                        groups.add(item.group());
                    }
                });
            }
            assertEquals(List.of(0, 1, 32_767, 32_768, 65_534, LAST), groups);
        }
    }

    /** Key groups are counted up to the last one, and no further. */
    @Test
    void theLastOneHasAWriterOfItsOwn() {
        try (Fixture fixture = new Fixture(options(), 64L << 20)) {
            State values = fixture.store.state(StateOptions.value("values"));
            try (Writer below = fixture.store.writer(KeyGroupRange.of(0, LAST - 1));
                    Writer last = fixture.store.writer(KeyGroupRange.of(LAST, LAST))) {
                last.put(values, key(LAST), bytes("last"));
                below.put(values, key(LAST - 1), bytes("below"));
                assertEquals("last", text(last.get(values, key(LAST))));
                AlluviumException outside = assertThrows(AlluviumException.class, () -> below.get(values, key(LAST)));
                assertEquals(Status.OUTSIDE_RANGE, outside.status());
            }
            AlluviumException tooMany = assertThrows(AlluviumException.class, () -> Store.create(
                    fixture.engine, fixture.directory.resolve("more"), new StoreOptions().keyGroups(LAST + 2)));
            assertEquals(Status.OPTIONS, tooMany.status());
            fixture.checkpoint(1);
            fixture.store.close();
            AlluviumException others = assertThrows(AlluviumException.class, () -> Store.open(
                    fixture.engine, fixture.directory.resolve("store"), new StoreOptions().keyGroups(LAST)));
            assertEquals(Status.OPTIONS, others.status());
            fixture.reopen(options());
            try (Reader reader = fixture.store.reader()) {
                assertEquals("last", text(reader.get(fixture.store.state(StateOptions.value("values")), key(LAST))));
            }
        }
    }
}
