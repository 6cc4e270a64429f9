package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static io.alluvium.Fixture.text;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.ReadOnlyBufferException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Keys, user keys and values in buffers of every kind: what remains in them is what counts, and only those that are filled move. */
class BuffersTest {
    /** Both sides of each border between ways of copying, and of the memory that a call begins with. */
    private static final int[] LENGTHS = {0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513, 4_097, 70_001};

    private final long seed = Long.parseLong(
            System.getenv().getOrDefault("ALLUVIUM_TEST_SEED", Long.toString(System.nanoTime())));
    private final Random random = new Random(seed);
    private Fixture fixture;
    private Writer writer;
    private State values;
    private State maps;

    @BeforeEach
    void open() {
        fixture = new Fixture();
        writer = fixture.store.writer();
        values = fixture.store.state(StateOptions.value("values"));
        maps = fixture.store.state(StateOptions.map("maps"));
    }

    @AfterEach
    void close() {
        writer.close();
        fixture.close();
    }

    private byte[] random(int len) {
        byte[] bytes = new byte[len];
        random.nextBytes(bytes);
        return bytes;
    }

    /** A buffer of some kind in which these bytes remain, with others before and behind them. */
    private ByteBuffer given(byte[] bytes) {
        int before = random.nextInt(5);
        int capacity = before + bytes.length + random.nextInt(5);
        ByteBuffer buffer = random.nextBoolean() ? ByteBuffer.allocate(capacity) : ByteBuffer.allocateDirect(capacity);
        buffer.put(random(capacity)).position(before);
        buffer.put(bytes).limit(before + bytes.length).position(before);
        if (random.nextInt(3) == 0) {
            buffer = buffer.slice();
        }
        if (random.nextInt(3) == 0) {
            buffer = buffer.asReadOnlyBuffer();
        }
        return buffer.order(random.nextBoolean() ? ByteOrder.BIG_ENDIAN : ByteOrder.LITTLE_ENDIAN);
    }

    /** Has a buffer given, and shows that it is as it was afterwards. */
    private void give(byte[] bytes, Consumer<ByteBuffer> call) {
        ByteBuffer buffer = given(bytes);
        int position = buffer.position();
        int limit = buffer.limit();
        call.accept(buffer);
        assertEquals(position, buffer.position(), "seed " + seed);
        assertEquals(limit, buffer.limit(), "seed " + seed);
        byte[] left = new byte[buffer.remaining()];
        buffer.get(left);
        assertArrayEquals(bytes, left, "seed " + seed);
    }

    /**
     * Has buffers filled: one with too little room, which is left alone, one with just enough, and one with more, of both kinds. Around what was put into them
     * nothing changed.
     */
    private void fills(byte[] expected, Function<ByteBuffer, Integer> call) {
        int len = expected == null ? -1 : expected.length;
        for (int room : new int[] {len - 1, len, len + 9}) {
            for (boolean direct : new boolean[] {false, true}) {
                int capacity = Math.max(0, room) + 6;
                ByteBuffer into = direct ? ByteBuffer.allocateDirect(capacity) : ByteBuffer.allocate(capacity);
                byte[] before = random(capacity);
                into.put(before).limit(3 + Math.max(0, room)).position(3);
                assertEquals(len, call.apply(into), "seed " + seed);
                int put = room < len ? 0 : Math.max(0, len);
                assertEquals(3 + put, into.position(), "seed " + seed);
                assertEquals(3 + Math.max(0, room), into.limit(), "seed " + seed);
                if (put > 0) {
                    System.arraycopy(expected, 0, before, 3, put);
                }
                byte[] after = new byte[capacity];
                into.clear();
                into.get(after);
                assertArrayEquals(before, after, "seed " + seed);
            }
        }
    }

    @Test
    void valuesOfAllLengths() {
        for (int len : LENGTHS) {
            byte[] name = random(1 + len % 300);
            byte[] value = random(len);
            give(name, key -> give(value, given -> writer.put(values, new Key().set(key), given)));
            assertArrayEquals(value, writer.get(values, name), "seed " + seed);
            Key key = Key.of(name);
            fills(value, into -> writer.get(values, key, into));
            try (Reader reader = fixture.store.reader(); Snapshot snapshot = fixture.store.snapshot()) {
                fills(value, into -> reader.get(values, key, into));
                fills(value, into -> snapshot.get(values, key, into));
                fills(null, into -> reader.get(values, Key.of(bytes("none")), into));
            }
            fills(null, into -> writer.get(values, Key.of(bytes("none")), into));
        }
    }

    @Test
    void entriesOfAllLengths() {
        Key key = Key.of(bytes("map")).namespace(bytes("n"));
        for (int len : LENGTHS) {
            byte[] userKey = random(Math.min(len, 60_000));
            byte[] value = random(LENGTHS[LENGTHS.length - 1] - len);
            give(userKey, user -> give(value, given -> writer.mapPut(maps, key, user, given)));
            assertArrayEquals(value, writer.mapGet(maps, key, userKey), "seed " + seed);
            give(userKey, user -> fills(value, into -> writer.mapGet(maps, key, user, into)));
            try (Reader reader = fixture.store.reader(); Snapshot snapshot = fixture.store.snapshot()) {
                give(userKey, user -> fills(value, into -> reader.mapGet(maps, key, user, into)));
                give(userKey, user -> fills(value, into -> snapshot.mapGet(maps, key, user, into)));
                give(bytes("none"), user -> fills(null, into -> snapshot.mapGet(maps, key, user, into)));
            }
            give(bytes("none"), user -> fills(null, into -> writer.mapGet(maps, key, user, into)));
            writer.mapClear(maps, key);
        }
        AlluviumException error = assertThrows(
                AlluviumException.class, () -> writer.mapPut(maps, key, ByteBuffer.allocate(65_001), ByteBuffer.allocate(1)));
        assertEquals(Status.TOO_LONG, error.status());
    }

    @Test
    void elementsAndOperands() {
        State lists = fixture.store.state(StateOptions.list("lists"));
        State sums = fixture.store.state(StateOptions.merging("sums", StateOptions.Operator.U64_ADD));
        Key key = Key.of(bytes("k"));
        List<byte[]> elements = new ArrayList<>();
        long sum = 0;
        for (int len : LENGTHS) {
            byte[] element = random(len);
            elements.add(element);
            give(element, given -> writer.append(lists, key, given));
            byte[] operand = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(len).array();
            give(operand, given -> writer.merge(sums, key, given));
            sum += len;
        }
        List<byte[]> found = writer.list(lists, key);
        assertEquals(elements.size(), found.size());
        for (int place = 0; place < found.size(); place++) {
            assertArrayEquals(elements.get(place), found.get(place), "seed " + seed);
        }
        assertEquals(sum, ByteBuffer.wrap(writer.get(sums, key)).order(ByteOrder.LITTLE_ENDIAN).getLong());
    }

    @Test
    void manyBesideAModel() {
        Map<String, byte[]> model = new HashMap<>();
        Keys keys = new Keys();
        Values given = new Values();
        Values found = new Values();
        for (int round = 0; round < 40; round++) {
            keys.clear();
            given.clear();
            for (int left = random.nextInt(200); left > 0; left--) {
                String name = name(random.nextInt(500));
                give(bytes(name), keys::add);
                if (random.nextInt(8) == 0) {
                    given.addNone();
                    model.remove(name);
                    continue;
                }
                byte[] value = random(random.nextInt(3) == 0 ? LENGTHS[random.nextInt(LENGTHS.length - 1)] : random.nextInt(40));
                // Arrays and buffers by turns, in one and the same memory.
                if (random.nextInt(4) == 0) {
                    given.add(value);
                } else {
                    give(value, given::add);
                }
                fills(value, into -> given.get(given.size() - 1, into));
                model.put(name, value);
            }
            writer.putMany(values, keys, given);
            keys.clear();
            for (int number = 0; number < 500; number++) {
                give(bytes(name(number)), keys::add);
            }
            writer.getMany(values, keys, found);
            for (int number = 0; number < 500; number++) {
                byte[] expected = model.get(name(number));
                assertArrayEquals(expected, found.get(number), "seed " + seed);
                if (number % 10 == round % 10) {
                    int place = number;
                    fills(expected, into -> found.get(place, into));
                }
            }
        }
    }

    /** Of all lengths of keys, as they are copied in different ways. */
    private static String name(int number) {
        return "x".repeat(number % 140) + number;
    }

    @Test
    void packedOperationsBesideTheSameOfArrays() {
        State lists = fixture.store.state(StateOptions.list("lists"));
        State sums = fixture.store.state(StateOptions.merging("sums", StateOptions.Operator.U64_ADD));
        for (int len : LENGTHS) {
            byte[] value = random(len);
            byte[] userKey = random(Math.min(len, 60_000));
            byte[] operand = random(8);
            Key key = Key.of(bytes("k" + len));
            Batch arrays = new Batch(fixture.store);
            arrays.put(values, key, value).append(lists, key, value).merge(sums, key, operand).mapPut(maps, key, userKey, value);
            Batch buffers = new Batch(fixture.store);
            give(value, given -> buffers.put(values, key, given).append(lists, key, given));
            give(operand, given -> buffers.merge(sums, key, given));
            give(userKey, user -> give(value, given -> buffers.mapPut(maps, key, user, given)));
            assertEquals(4, buffers.size());
            assertEquals(arrays.bytes(), buffers.bytes());
            assertArrayEquals(
                    arrays.memory(fixture.store).bytes(0, arrays.bytes()), buffers.memory(fixture.store).bytes(0, buffers.bytes()), "seed " + seed);
            writer.apply(buffers);
            assertArrayEquals(value, writer.get(values, key));
            assertArrayEquals(value, writer.mapGet(maps, key, userKey));
        }
        Batch batch = new Batch(fixture.store);
        assertThrows(AlluviumException.class, () -> batch.mapPut(maps, Key.of(bytes("k")), ByteBuffer.allocate(65_536), ByteBuffer.allocate(1)));
        assertEquals(0, batch.size());
        assertEquals(0, batch.bytes());
    }

    @Test
    void walksFillBuffers() {
        Key key = Key.of(bytes("map"));
        Map<String, byte[]> model = new HashMap<>();
        for (int len : LENGTHS) {
            byte[] value = random(len);
            model.put("entry " + len, value);
            writer.mapPut(maps, key, bytes("entry " + len), value);
            writer.put(values, Key.of(bytes("key " + len)).namespace(bytes("space " + len)), value);
        }
        try (Cursor cursor = writer.entries(maps, key, MapRange.all())) {
            assertThrows(IllegalStateException.class, () -> cursor.value(ByteBuffer.allocate(1)));
            for (int left = LENGTHS.length; left > 0; left--) {
                assertEquals(true, cursor.next());
                fills(cursor.userKey(), cursor::userKey);
                fills(model.get(text(cursor.userKey())), cursor::value);
            }
            assertEquals(false, cursor.next());
        }
        List<String> names = new ArrayList<>();
        try (Cursor cursor = writer.keysAndNamespaces(values, fixture.store.range())) {
            while (cursor.next()) {
                fills(cursor.key(), cursor::key);
                fills(cursor.namespace(), cursor::namespace);
                names.add(text(cursor.namespace()));
            }
        }
        assertEquals(model.keySet(), names.stream().map(name -> name.replace("space", "entry")).collect(Collectors.toSet()));
    }

    /** Java 11 copies by views, which later ones don't. */
    @Test
    void bothWaysOfCopyingDoTheSame() {
        for (int len : LENGTHS) {
            byte[] bytes = random(len);
            ByteBuffer from = given(bytes);
            int begin = from.position();
            int limit = from.limit();
            byte[][] arrays = {random(len + 7), null};
            arrays[1] = arrays[0].clone();
            Parts.copy(from, begin, arrays[0], 3, len);
            Parts.copyByView(from, begin, arrays[1], 3, len);
            assertArrayEquals(arrays[0], arrays[1], "seed " + seed);
            ByteBuffer[] buffers = {ByteBuffer.allocateDirect(len + 7), ByteBuffer.allocate(len + 7)};
            Parts.copy(from, begin, buffers[0], 3, len);
            Parts.copyByView(from, begin, buffers[1], 3, len);
            assertEquals(buffers[0], buffers[1], "seed " + seed);
            byte[] copied = new byte[len];
            buffers[1].position(3).get(copied);
            assertArrayEquals(bytes, copied, "seed " + seed);
            assertEquals(begin, from.position());
            assertEquals(limit, from.limit());
        }
        for (boolean byView : new boolean[] {false, true}) {
            ByteBuffer small = ByteBuffer.allocate(8);
            assertThrows(RuntimeException.class, () -> {
                if (byView) {
                    Parts.copyByView(small, 0, ByteBuffer.allocate(20), 0, 9);
                } else {
                    Parts.copy(small, 0, ByteBuffer.allocate(20), 0, 9);
                }
            });
        }
    }

    @Test
    void whatIsReadOnlyIsNotFilled() {
        Key key = Key.of(bytes("k"));
        writer.put(values, key, bytes("v"));
        writer.mapPut(maps, key, bytes("u"), bytes("v"));
        Values found = new Values().add(bytes("v")).addNone();
        ByteBuffer user = ByteBuffer.wrap(bytes("u"));
        for (ByteBuffer buffer : new ByteBuffer[] {ByteBuffer.allocate(9), ByteBuffer.allocateDirect(9)}) {
            ByteBuffer into = buffer.asReadOnlyBuffer();
            assertThrows(ReadOnlyBufferException.class, () -> writer.get(values, key, into));
            // Also where there is nothing to put into it: a program learns of it the first time.
            assertThrows(ReadOnlyBufferException.class, () -> writer.get(values, Key.of(bytes("none")), into));
            assertThrows(ReadOnlyBufferException.class, () -> writer.mapGet(maps, key, user, into));
            assertThrows(ReadOnlyBufferException.class, () -> found.get(0, into));
            assertThrows(ReadOnlyBufferException.class, () -> found.get(1, into));
            try (Reader reader = fixture.store.reader(); Cursor cursor = reader.entries(maps, key, MapRange.all())) {
                assertThrows(ReadOnlyBufferException.class, () -> reader.get(values, key, into));
                assertThrows(ReadOnlyBufferException.class, () -> reader.mapGet(maps, key, user, into));
                cursor.next();
                assertThrows(ReadOnlyBufferException.class, () -> cursor.value(into));
            }
            assertEquals(0, into.position());
            assertEquals(0, buffer.get(0));
        }
        assertThrows(IndexOutOfBoundsException.class, () -> found.get(2, ByteBuffer.allocate(1)));
        assertThrows(IndexOutOfBoundsException.class, () -> found.get(-1, ByteBuffer.allocate(1)));
    }

    @Test
    void nullsAreJavas() {
        Key key = Key.of(bytes("k"));
        ByteBuffer none = null;
        assertThrows(NullPointerException.class, () -> new Keys().add(none));
        assertThrows(NullPointerException.class, () -> new Values().add(none));
        assertThrows(NullPointerException.class, () -> writer.put(values, key, none));
        assertThrows(NullPointerException.class, () -> writer.get(values, key, none));
        assertThrows(NullPointerException.class, () -> writer.mapPut(maps, key, ByteBuffer.allocate(1), none));
        assertNull(writer.get(values, key));
        // The writer's lock and memory are free again.
        writer.put(values, key, ByteBuffer.wrap(bytes("v")));
        assertEquals("v", text(writer.get(values, key)));
    }
}
