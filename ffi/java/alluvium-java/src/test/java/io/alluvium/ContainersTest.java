package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static io.alluvium.Fixture.text;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Lists and maps, and cursors through them. */
class ContainersTest {
    private Fixture fixture;
    private Writer writer;
    private State lists;
    private State maps;
    private final Key key = Key.of(bytes("key"));

    @BeforeEach
    void open() {
        fixture = new Fixture();
        writer = fixture.store.writer();
        lists = fixture.store.state(StateOptions.list("lists"));
        maps = fixture.store.state(StateOptions.map("maps"));
    }

    @AfterEach
    void close() {
        writer.close();
        fixture.close();
    }

    private static List<String> texts(List<byte[]> all) {
        return all.stream().map(Fixture::text).collect(Collectors.toList());
    }

    private List<String> entries(MapRange range) {
        List<String> found = new ArrayList<>();
        try (Cursor cursor = writer.entries(maps, key, range)) {
            while (cursor.next()) {
                found.add(text(cursor.userKey()) + "=" + text(cursor.value()));
            }
            assertFalse(cursor.next(), "the end stays the end");
        }
        return found;
    }

    @Test
    void listsKeepTheirOrder() {
        assertEquals(List.of(), writer.list(lists, key));
        writer.append(lists, key, bytes("a"));
        writer.append(lists, bytes("key"), bytes(""));
        writer.append(lists, key, new byte[3_000]);
        List<byte[]> found = writer.list(lists, bytes("key"));
        assertEquals(List.of("a", ""), texts(found.subList(0, 2)));
        assertArrayEquals(new byte[3_000], found.get(2));
        try (Reader reader = fixture.store.reader(); Snapshot snapshot = fixture.store.snapshot()) {
            writer.putList(lists, key, List.of(bytes("x"), bytes("y")));
            assertEquals(List.of("x", "y"), texts(reader.list(lists, key)));
            assertEquals(3, snapshot.list(lists, key).size());
        }
        writer.appendAll(lists, key, List.of(bytes("z"), bytes(""), new byte[3_000]));
        writer.appendAll(lists, key, List.of());
        found = writer.list(lists, key);
        assertEquals(List.of("x", "y", "z", ""), texts(found.subList(0, 4)));
        assertArrayEquals(new byte[3_000], found.get(4));
        writer.putList(lists, key, List.of());
        assertEquals(List.of(), writer.list(lists, key));
        assertThrows(NullPointerException.class, () -> writer.appendAll(lists, key, Arrays.asList(bytes("a"), null)));
        writer.appendAll(lists, key, List.of());
        assertEquals(List.of(), writer.list(lists, key));
    }

    @Test
    void namespacesMerge() {
        Key one = Key.of(bytes("k")).namespace(bytes("1"));
        writer.append(lists, one, bytes("a"));
        writer.append(lists, Key.of(bytes("k")).namespace(bytes("2")), bytes("b"));
        writer.mergeNamespaces(lists, one, List.of(bytes("2"), bytes("3")));
        assertEquals(List.of("a", "b"), texts(writer.list(lists, one)));
        assertEquals(List.of(), writer.list(lists, Key.of(bytes("k")).namespace(bytes("2"))));
    }

    @Test
    void mapsAreOrderedAndRangesCut() {
        assertTrue(writer.mapIsEmpty(maps, key));
        assertNull(writer.mapFirst(maps, key));
        for (String userKey : new String[] {"b2", "a1", "c3", "b1"}) {
            writer.mapPut(maps, key, bytes(userKey), bytes("v" + userKey));
        }
        assertFalse(writer.mapIsEmpty(maps, key));
        assertTrue(writer.mapContains(maps, key, bytes("a1")));
        assertFalse(writer.mapContains(maps, key, bytes("a")));
        assertEquals("vb2", text(writer.mapGet(maps, key, bytes("b2"))));
        assertNull(writer.mapGet(maps, key, bytes("zz")));
        byte[] into = new byte[2];
        assertEquals(3, writer.mapGet(maps, key, bytes("b2"), into));
        assertArrayEquals(new byte[2], into);
        assertEquals(List.of("a1=va1", "b1=vb1", "b2=vb2", "c3=vc3"), entries(MapRange.all()));
        assertEquals(List.of("c3=vc3", "b2=vb2", "b1=vb1", "a1=va1"), entries(MapRange.all().reversed()));
        assertEquals(List.of("b1=vb1", "b2=vb2"), entries(MapRange.all().prefix(bytes("b"))));
        assertEquals(List.of("b1=vb1", "b2=vb2"), entries(MapRange.all().from(bytes("b1")).below(bytes("c3"))));
        assertEquals(List.of("b2=vb2", "c3=vc3"), entries(MapRange.all().above(bytes("b1")).to(bytes("c3"))));
        assertEquals("a1", text(writer.mapFirst(maps, key).userKey()));
        assertEquals("vc3", text(writer.mapLast(maps, key).value()));
        try (Reader reader = fixture.store.reader(); Snapshot snapshot = fixture.store.snapshot()) {
            for (PointView view : List.of(reader, snapshot)) {
                byte[] room = new byte[4];
                assertEquals(3, view.mapGet(maps, key, bytes("b2"), room));
                assertArrayEquals(new byte[] {'v', 'b', '2', 0}, room);
                assertEquals(3, view.mapGet(maps, key, bytes("b2"), into));
                assertArrayEquals(new byte[2], into);
                assertEquals(-1, view.mapGet(maps, key, bytes("zz"), room));
                assertEquals('v', room[0]);
            }
            writer.mapDelete(maps, key, bytes("b1"));
            assertNull(reader.mapGet(maps, key, bytes("b1")));
            assertEquals("vb1", text(snapshot.mapGet(maps, key, bytes("b1"))));
            try (Cursor cursor = snapshot.entries(maps, key, MapRange.all())) {
                assertTrue(cursor.next());
                assertTrue(cursor.next());
                assertEquals("b1", text(cursor.userKey()));
            }
        }
        writer.mapDeleteRange(maps, key, MapRange.all().from(bytes("b")));
        assertEquals(List.of("a1=va1"), entries(MapRange.all()));
        writer.mapClear(maps, key);
        assertTrue(writer.mapIsEmpty(maps, key));
    }

    @Test
    void timersPop() {
        for (long time = 1; time <= 5; time++) {
            writer.mapPut(maps, key, ByteBuffer.allocate(8).putLong(time).array(), bytes("t" + time));
        }
        assertEquals("t1", text(writer.mapPopFirst(maps, key).value()));
        List<Entry> due = writer.mapPopBelow(maps, key, ByteBuffer.allocate(8).putLong(4).array());
        assertEquals(List.of("t2", "t3"), due.stream().map(Entry::value).map(Fixture::text).collect(Collectors.toList()));
        assertEquals(List.of(), writer.mapPopBelow(maps, key, ByteBuffer.allocate(8).putLong(4).array()));
        writer.mapExpire(maps, key, 5);
        assertEquals("t5", text(writer.mapPopFirst(maps, key).value()));
        assertNull(writer.mapPopFirst(maps, key));
    }

    private static List<Long> times(List<Entry> entries) {
        return entries.stream().map(entry -> ByteBuffer.wrap(entry.userKey()).getLong()).collect(Collectors.toList());
    }

    /** By threes, as an entry of 8 and 10 bytes counts 30; one that has more than there is room for comes alone. */
    @Test
    void timersPopPieceByPiece() {
        byte[] below = ByteBuffer.allocate(8).putLong(8).array();
        for (long time = 1; time <= 9; time++) {
            writer.mapPut(maps, key, ByteBuffer.allocate(8).putLong(time).array(), new byte[time == 7 ? 5_000 : 10]);
        }
        assertEquals(List.of(1L, 2L, 3L), times(writer.mapPopBelow(maps, key, below, 119)));
        assertEquals(List.of(4L), times(writer.mapPopBelow(maps, key, below, 0)));
        assertEquals(List.of(5L, 6L), times(writer.mapPopBelow(maps, key, below, 1_000)));
        List<Entry> large = writer.mapPopBelow(maps, key, below, 1_000);
        assertEquals(List.of(7L), times(large));
        assertEquals(5_000, large.get(0).value().length);
        assertEquals(List.of(), writer.mapPopBelow(maps, key, below, 1_000));
        assertEquals(Status.ARGUMENT, assertThrows(
                AlluviumException.class, () -> writer.mapPopBelow(maps, key, below, -1)).status());
        byte[] all = ByteBuffer.allocate(8).putLong(Long.MAX_VALUE).array();
        assertEquals(List.of(8L, 9L), times(writer.mapPopBelow(maps, key, all, Integer.MAX_VALUE)));
        assertTrue(writer.mapIsEmpty(maps, key));

        // More than a MiB is never out at once.
        for (long time = 1; time <= 30; time++) {
            writer.mapPut(maps, key, ByteBuffer.allocate(8).putLong(time).array(), new byte[100_000]);
        }
        List<Long> popped = new ArrayList<>();
        for (int piece = 0; piece < 3; piece++) {
            List<Entry> due = writer.mapPopBelow(maps, key, all, Integer.MAX_VALUE);
            assertEquals(10, due.size());
            popped.addAll(times(due));
        }
        assertEquals(java.util.stream.LongStream.rangeClosed(1, 30).boxed().collect(Collectors.toList()), popped);
        assertTrue(writer.mapIsEmpty(maps, key));
    }

    @Test
    void cursorsGoThroughManyBatches() {
        int count = 10_000;
        for (int number = 0; number < count; number++) {
            writer.mapPut(maps, key, ByteBuffer.allocate(4).putInt(number).array(), new byte[number % 100]);
        }
        for (int records : new int[] {1, 7, 4_096, 1 << 20}) {
            try (Cursor cursor = writer.entries(maps, key, MapRange.all())) {
                cursor.setBatch(records, 1 << 20);
                byte[] userKey = new byte[4];
                int next = 0;
                while (cursor.next()) {
                    assertEquals(4, cursor.userKey(userKey));
                    assertEquals(next, ByteBuffer.wrap(userKey).getInt());
                    assertEquals(next % 100, cursor.value().length);
                    assertEquals(next % 100, cursor.value(new byte[0]));
                    next++;
                }
                assertEquals(count, next);
            }
        }
        try (Cursor cursor = writer.entries(maps, key, MapRange.all())) {
            int records = 0;
            for (ByteBuffer batch = cursor.nextBatch(); batch != null; batch = cursor.nextBatch()) {
                while (batch.hasRemaining()) {
                    int begin = batch.position();
                    assertEquals(4, batch.getShort(begin + 6));
                    batch.position(begin + 12 + 4 + batch.getInt(begin + 8));
                    records++;
                }
            }
            assertEquals(count, records);
        }
    }

    @Test
    void cursorsOfKeysAndNamespaces() {
        State values = fixture.store.state(StateOptions.value("values"));
        for (int number = 0; number < 100; number++) {
            for (String namespace : new String[] {"x", "y"}) {
                writer.put(values, Key.of(bytes("k" + number)).namespace(bytes(namespace)), bytes("v"));
            }
        }
        writer.put(values, Key.of(bytes("only")).namespace(bytes("z")), bytes("v"));
        KeyGroupRange all = fixture.store.range();
        List<String> pairs = new ArrayList<>();
        try (Reader reader = fixture.store.reader(); Cursor cursor = reader.keysAndNamespaces(values, all)) {
            byte[] key = new byte[8];
            byte[] namespace = new byte[8];
            while (cursor.next()) {
                assertEquals(fixture.store.groupOf(cursor.key()), cursor.group());
                pairs.add(new String(key, 0, cursor.key(key)) + "/" + new String(namespace, 0, cursor.namespace(namespace)));
            }
        }
        assertEquals(201, pairs.stream().distinct().count());
        assertEquals(201, pairs.size());
        assertTrue(pairs.contains("k77/y"));
        assertEquals(101, count(writer.keys(values, all)));
        assertEquals(100, count(writer.keys(values, all, bytes("x"))));
        assertEquals(1, count(writer.keys(values, all, bytes("z"))));
        int first = 0;
        for (int number = 0; number < 100; number++) {
            first += fixture.store.groupOf(bytes("k" + number)) < 64 ? 1 : 0;
        }
        first += fixture.store.groupOf(bytes("only")) < 64 ? 1 : 0;
        assertEquals(first, count(writer.keys(values, KeyGroupRange.of(0, 63))));
    }

    private static int count(Cursor cursor) {
        int count = 0;
        try (cursor) {
            assertThrows(IllegalStateException.class, cursor::key);
            while (cursor.next()) {
                count++;
            }
        }
        return count;
    }
}
