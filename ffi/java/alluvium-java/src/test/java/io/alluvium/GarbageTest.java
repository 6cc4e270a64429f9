package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

/** Calls that are not to allocate on Java's heap don't. */
class GarbageTest {
    private static final int TIMES = 50_000;
    private static final int ENTRIES = 20_000;

    private static long allocated() {
        com.sun.management.ThreadMXBean threads =
                (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
        return threads.getThreadAllocatedBytes(Thread.currentThread().getId());
    }

    /** How many bytes a call allocates, once the compiler has seen it often; the least of some tries, as compilers come late. */
    private static long bytesOf(Runnable call) {
        return bytesOf(TIMES, call);
    }

    private static long bytesOf(int times, Runnable call) {
        long least = Long.MAX_VALUE;
        for (int tries = 0; tries < 8; tries++) {
            long before = allocated();
            for (int time = 0; time < times; time++) {
                call.run();
            }
            least = Math.min(least, (allocated() - before) / times);
        }
        return least;
    }

    /** The same of a step of a walk, from the second one on, and a look at what it came to: in batches of 100. */
    private static long bytesOfStep(Supplier<Cursor> open, Consumer<Cursor> look) {
        long least = Long.MAX_VALUE;
        for (int tries = 0; tries < 8; tries++) {
            try (Cursor cursor = open.get()) {
                cursor.setBatch(100, 1 << 20);
                cursor.next();
                look.accept(cursor);
                int steps = 1;
                long before = allocated();
                while (cursor.next()) {
                    look.accept(cursor);
                    steps++;
                }
                least = Math.min(least, (allocated() - before) / steps);
                assertEquals(ENTRIES, steps);
            }
        }
        return least;
    }

    @Test
    void nothingIsAllocated() {
        try (Fixture fixture = new Fixture()) {
            Store store = fixture.store;
            State values = store.state(StateOptions.value("values"));
            State sums = store.state(StateOptions.merging("sums", StateOptions.Operator.I64_ADD));
            State maps = store.state(StateOptions.map("maps"));
            byte[] name = bytes("a key of 16 byte");
            byte[] absent = bytes("another of its k");
            byte[] value = new byte[100];
            byte[] into = new byte[100];
            Key key = Key.of(name);
            Keys keys = new Keys();
            Values found = new Values();
            try (Writer writer = store.writer(); Reader reader = store.reader()) {
                writer.put(values, name, value);
                writer.mapPut(maps, key, bytes("u"), value);
                assertEquals(0, bytesOf(() -> writer.get(values, name, into)), "a get");
                assertEquals(0, bytesOf(() -> writer.get(values, absent, into)), "a miss");
                assertEquals(0, bytesOf(() -> writer.get(values, key.set(name), into)), "a get of a key");
                assertEquals(0, bytesOf(() -> writer.put(values, name, value)), "a put");
                assertEquals(0, bytesOf(() -> writer.mergeLong(sums, key, 1)), "a merge");
                assertEquals(0, bytesOf(() -> writer.mapGet(maps, key, absent, into)), "a get of an entry");
                assertEquals(0, bytesOf(() -> reader.get(values, name, into)), "a reader's get");
                assertEquals(0, bytesOf(() -> {
                    keys.clear().add(name).add(absent);
                    writer.getMany(values, keys, found);
                    found.get(0, into);
                }), "a batch");
                // What returns an array allocates that: the test can tell.
                assertEquals(true, bytesOf(() -> writer.get(values, name)) >= 100, "a get of an array");
            }
        }
    }

    @Test
    void nothingIsAllocatedByWrites() {
        try (Fixture fixture = new Fixture(); Writer writer = fixture.store.writer()) {
            Store store = fixture.store;
            State values = store.state(StateOptions.value("values"));
            State lists = store.state(StateOptions.list("lists"));
            State sums = store.state(StateOptions.merging("sums", StateOptions.Operator.I64_ADD));
            State maps = store.state(StateOptions.map("maps"));
            byte[] name = bytes("a key of 16 byte");
            byte[] value = new byte[100];
            byte[] eight = new byte[8];
            Key key = Key.of(name).namespace(bytes("n"));
            assertEquals(0, bytesOf(() -> {
                writer.append(lists, name, value);
                writer.append(lists, key, eight);
                // Else they grow without end.
                writer.delete(lists, name);
                writer.delete(lists, key);
            }), "an append and a delete");
            assertEquals(List.of(), writer.list(lists, key));
            assertEquals(0, bytesOf(() -> {
                writer.put(values, key, value);
                writer.delete(values, key);
            }), "a put and a delete");
            assertEquals(0, bytesOf(() -> writer.merge(sums, name, eight)), "a merge");
            assertEquals(0, bytesOf(() -> writer.merge(sums, key, eight)), "a merge of a key");
            assertEquals(0, bytesOf(() -> {
                writer.mapPut(maps, key, name, value);
                writer.mapContains(maps, key, name);
                writer.mapDelete(maps, key, name);
                writer.mapIsEmpty(maps, key);
            }), "an entry");
            Batch batch = new Batch(store);
            assertEquals(0, bytesOf(() -> {
                batch.clear().put(values, key, value).merge(sums, key, eight).mapPut(maps, key, name, value);
                batch.append(lists, key, eight).delete(lists, key).mapExpire(maps, key, 7);
                writer.apply(batch);
            }), "a packed batch");
            assertEquals(100, writer.get(values, key, new byte[100]));
        }
    }

    @Test
    void nothingIsAllocatedByBatches() {
        try (Fixture fixture = new Fixture(); Writer writer = fixture.store.writer()) {
            Store store = fixture.store;
            State values = store.state(StateOptions.value("values"));
            State lists = store.state(StateOptions.list("lists"));
            State sums = store.state(StateOptions.merging("sums", StateOptions.Operator.I64_ADD));
            byte[] name = bytes("a key of 16 byte");
            byte[] longer = bytes("a longer key of more than 64 bytes, which is copied as a whole in place of word by word");
            Key key = Key.of(name).namespace(bytes("n"));
            Keys keys = new Keys();
            Values given = new Values();
            // One that is gathered, and one that is not.
            byte[] value = new byte[100];
            byte[] large = new byte[1_000];
            assertEquals(0, bytesOf(() -> {
                keys.clear().add(name).add(longer).add(key).addLong(7);
                given.clear().add(value).add(large).addLong(1).addNone();
                writer.putMany(values, keys, given);
                writer.prefetch(values, keys);
            }), "puts");
            assertEquals(1_000, writer.get(values, longer, large));
            assertEquals(0, bytesOf(() -> {
                keys.clear().add(name).add(longer).add(key).addLong(7);
                given.clear().add(value).add(large).addLong(1).addLong(2);
                writer.appendMany(lists, keys, given);
                writer.deleteMany(lists, keys);
            }), "appends and deletes");
            assertEquals(List.of(), writer.list(lists, key));
            assertEquals(0, bytesOf(() -> {
                keys.clear().add(name).addLong(7);
                given.clear().addLong(1).addLong(2);
                writer.mergeMany(sums, keys, given);
            }), "merges");
            Values found = new Values();
            keys.clear().add(name).addLong(7);
            assertEquals(0, bytesOf(() -> {
                writer.getMany(values, keys, found);
                found.getLong(1, -1);
            }), "numbers");
            assertEquals(-1, found.getLong(1, -1));
            assertEquals(100, found.length(0));
        }
    }

    /** Of a state's value and a map's entry, of which the buffers say which, into one that has room for it, and one that hasn't. */
    private static void nothingIsAllocatedByBuffers(Fixture fixture, Writer writer, Reader reader, ByteBuffer name, ByteBuffer value) {
        Store store = fixture.store;
        State values = store.state(StateOptions.value("values"));
        State lists = store.state(StateOptions.list("lists"));
        State sums = store.state(StateOptions.merging("sums", StateOptions.Operator.I64_ADD));
        State maps = store.state(StateOptions.map("maps"));
        String what = name + ", " + value;
        Key key = new Key();
        ByteBuffer operand = ByteBuffer.allocateDirect(8);
        assertEquals(0, bytesOf(() -> {
            key.set(name).namespace(operand);
            writer.put(values, key, value);
            writer.mapPut(maps, key, name, value);
            writer.append(lists, key, value);
            writer.merge(sums, key, operand);
            writer.delete(lists, key);
        }), what);
        Keys keys = new Keys();
        Values given = new Values();
        assertEquals(0, bytesOf(() -> {
            keys.clear().add(name);
            given.clear().add(value);
            writer.putMany(values, keys, given);
        }), what);
        Batch batch = new Batch(store);
        assertEquals(0, bytesOf(() -> {
            writer.apply(batch.clear().put(values, key, value).mapPut(maps, key, name, value).merge(sums, key, operand));
        }), what);
        Values found = new Values();
        for (int room : new int[] {value.remaining(), value.remaining() - 1}) {
            ByteBuffer into = value.isDirect() ? ByteBuffer.allocateDirect(room) : ByteBuffer.allocate(room);
            assertEquals(0, bytesOf(() -> {
                into.clear();
                writer.get(values, key, into);
                into.clear();
                writer.mapGet(maps, key, name, into);
                into.clear();
                reader.get(values, key, into);
                into.clear();
                reader.mapGet(maps, key, name, into);
                into.clear();
                keys.clear().add(name);
                writer.getMany(values, keys, found);
                found.get(0, into);
            }), what);
            assertEquals(value.remaining(), found.length(0));
            assertEquals(room < found.length(0) ? 0 : room, into.position());
        }
    }

    @Test
    void nothingIsAllocatedByBuffers() {
        try (Fixture fixture = new Fixture(); Writer writer = fixture.store.writer(); Reader reader = fixture.store.reader()) {
            ByteBuffer direct = ByteBuffer.allocateDirect(16);
            nothingIsAllocatedByBuffers(fixture, writer, reader, direct, ByteBuffer.allocateDirect(64));
            nothingIsAllocatedByBuffers(fixture, writer, reader, ByteBuffer.allocate(16), ByteBuffer.allocate(64));
            nothingIsAllocatedByBuffers(fixture, writer, reader, direct.asReadOnlyBuffer(), ByteBuffer.allocate(64));
            // Of more than 64 bytes each is copied as a whole, which takes a view of the buffer in Java before 16.
            if (Runtime.version().feature() >= 16) {
                direct = ByteBuffer.allocateDirect(80);
                nothingIsAllocatedByBuffers(fixture, writer, reader, direct, ByteBuffer.allocateDirect(100));
                nothingIsAllocatedByBuffers(fixture, writer, reader, direct, ByteBuffer.allocateDirect(1_000));
                nothingIsAllocatedByBuffers(fixture, writer, reader, ByteBuffer.allocate(80), ByteBuffer.allocate(100));
                nothingIsAllocatedByBuffers(fixture, writer, reader, direct.asReadOnlyBuffer(), ByteBuffer.allocate(1_000));
            }
        }
    }

    /** Of values that are there, of none, and of an array that is too short. */
    private static void nothingIsAllocatedBy(PointView view, State values, State maps, int times) {
        byte[] name = bytes("a key of 16 byte");
        byte[] absent = bytes("another of its k");
        byte[] into = new byte[100];
        byte[] small = new byte[99];
        Key key = Key.of(name).namespace(bytes("n"));
        Key map = Key.of(name);
        String what = "by a " + view.getClass().getSimpleName();
        assertEquals(100, view.get(values, name, into), what);
        assertEquals(100, view.mapGet(maps, map, name, into), what);
        assertEquals(0, bytesOf(times, () -> view.get(values, name, into)), what);
        assertEquals(0, bytesOf(times, () -> view.get(values, key, into)), what);
        assertEquals(0, bytesOf(times, () -> view.get(values, absent, into)), what);
        assertEquals(0, bytesOf(times, () -> view.get(values, name, small)), what);
        assertEquals(0, bytesOf(times, () -> view.mapGet(maps, map, name, into)), what);
        assertEquals(0, bytesOf(times, () -> view.mapGet(maps, map, absent, into)), what);
        assertEquals(0, bytesOf(times, () -> view.mapGet(maps, map, name, small)), what);
        assertEquals(true, bytesOf(times, () -> view.mapGet(maps, map, name)) >= 100, what);
    }

    @Test
    void nothingIsAllocatedByReadersOfAnyMoment() {
        StoreOptions options = new StoreOptions()
                .durability(Durability.CHANGELOG)
                .changelogFileBytes(1 << 20)
                .historyCheckpoints(2);
        try (Fixture fixture = new Fixture(options)) {
            Store store = fixture.store;
            State values = store.state(StateOptions.value("values"));
            State maps = store.state(StateOptions.map("maps"));
            byte[] name = bytes("a key of 16 byte");
            try (Writer writer = store.writer()) {
                writer.put(values, name, new byte[100]);
                writer.put(values, Key.of(name).namespace(bytes("n")), new byte[100]);
                writer.mapPut(maps, Key.of(name), name, new byte[100]);
            }
            fixture.checkpoint(1);
            try (Writer writer = store.writer()) {
                writer.put(values, bytes("later"), new byte[100]);
            }
            try (Reader reader = store.reader(); Snapshot snapshot = store.snapshot(); Snapshot then = store.asOf(1);
                    Past past = store.asOfPosition(store.position())) {
                nothingIsAllocatedBy(reader, values, maps, TIMES);
                nothingIsAllocatedBy(snapshot, values, maps, 5_000);
                nothingIsAllocatedBy(then, values, maps, 5_000);
                // Each of its reads goes through the changelog.
                nothingIsAllocatedBy(past, values, maps, 2_000);
            }
        }
    }

    @Test
    void nothingIsAllocatedByFilledBuffersAndAddresses() {
        try (Fixture fixture = new Fixture(); Writer writer = fixture.store.writer()) {
            State values = fixture.store.state(StateOptions.value("values"));
            Key key = Key.of(bytes("a key of 16 byte"));
            ByteBuffer value = ByteBuffer.allocate(100);
            for (ByteBuffer into : new ByteBuffer[] {ByteBuffer.allocate(100), ByteBuffer.allocateDirect(100)}) {
                writer.put(values, key, value);
                assertEquals(100, writer.get(values, key, into));
                assertEquals(0, bytesOf(() -> {
                    into.clear();
                    writer.get(values, key, into);
                }), "a get into a buffer");
                assertEquals(0, bytesOf(() -> writer.get(values, key, into)), "a get into one that is full");
            }
            Memory memory = Memory.allocate(256);
            memory.copyIn(0, bytes("a key of 16 byte"), 0, 16);
            assertEquals(100, writer.getAt(values, -1, memory.address, 16, 0, memory.address + 16, 100));
            assertEquals(
                    0, bytesOf(() -> writer.getAt(values, -1, memory.address, 16, 0, memory.address + 16, 100)), "a get at an address");
            assertEquals(
                    0, bytesOf(() -> writer.putAt(values, -1, memory.address, 16, 0, memory.address + 16, 100)), "a put at one");
            memory.keep();
        }
    }

    @Test
    void nothingIsAllocatedByWalks() {
        try (Fixture fixture = new Fixture()) {
            Store store = fixture.store;
            State values = store.state(StateOptions.value("values"));
            State maps = store.state(StateOptions.map("maps"));
            byte[] into = new byte[32];
            Key map = Key.of(bytes("map"));
            try (Writer writer = store.writer()) {
                for (int number = 0; number < ENTRIES; number++) {
                    byte[] name = ByteBuffer.allocate(16).putInt(number).array();
                    writer.put(values, Key.of(name).namespace(bytes("n")), name);
                    writer.mapPut(maps, map, name, name);
                }
                Consumer<Cursor> key = cursor -> {
                    cursor.group();
                    assertEquals(16, cursor.key(into));
                };
                Consumer<Cursor> pair = cursor -> {
                    assertEquals(16, cursor.key(into));
                    assertEquals(1, cursor.namespace(into));
                };
                Consumer<Cursor> entry = cursor -> {
                    assertEquals(16, cursor.userKey(into));
                    assertEquals(16, cursor.value(into));
                };
                ByteBuffer buffer = ByteBuffer.allocateDirect(32);
                Consumer<Cursor> filled = cursor -> {
                    buffer.clear();
                    assertEquals(16, cursor.userKey(buffer));
                    assertEquals(16, cursor.value(buffer));
                };
                KeyGroupRange all = store.range();
                assertEquals(0, bytesOfStep(() -> writer.entries(maps, map, MapRange.all()), filled), "of entries into a buffer");
                assertEquals(0, bytesOfStep(() -> writer.keys(values, all), key), "of keys");
                assertEquals(0, bytesOfStep(() -> writer.keys(values, all, bytes("n")), key), "of keys in a namespace");
                assertEquals(0, bytesOfStep(() -> writer.keysAndNamespaces(values, all), pair), "of pairs");
                assertEquals(0, bytesOfStep(() -> writer.entries(maps, map, MapRange.all()), entry), "of entries");
                assertEquals(0, bytesOfStep(() -> writer.entries(maps, map, MapRange.all().reversed()), entry), "downwards");
                try (Reader reader = store.reader(); Snapshot snapshot = store.snapshot()) {
                    for (ReadView view : new ReadView[] {reader, snapshot}) {
                        assertEquals(0, bytesOfStep(() -> view.keys(values, all), key), "of keys");
                        assertEquals(0, bytesOfStep(() -> view.keysAndNamespaces(values, all), pair), "of pairs");
                        assertEquals(0, bytesOfStep(() -> view.entries(maps, map, MapRange.all()), entry), "of entries");
                    }
                }
                assertEquals(true, bytesOfStep(() -> writer.keys(values, all), Cursor::key) >= 16, "an array is");
            }
        }
    }
}
