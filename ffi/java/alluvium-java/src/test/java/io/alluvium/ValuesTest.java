package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static io.alluvium.Fixture.text;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Values, one key at a time, in every form in which a key and a value can be given. */
class ValuesTest {
    private Fixture fixture;
    private Writer writer;
    private State values;

    @BeforeEach
    void open() {
        fixture = new Fixture();
        writer = fixture.store.writer();
        values = fixture.store.state(StateOptions.value("values"));
    }

    @AfterEach
    void close() {
        writer.close();
        fixture.close();
    }

    @Test
    void valuesComeBackAsTheyWerePut() {
        byte[] key = bytes("JFK-SEA");
        assertNull(writer.get(values, key));
        writer.put(values, key, bytes("605"));
        assertEquals("605", text(writer.get(values, key)));
        writer.put(values, key, new byte[0]);
        assertArrayEquals(new byte[0], writer.get(values, key));
        assertEquals(0, writer.get(values, key, new byte[4]));
        writer.delete(values, key);
        assertEquals(-1, writer.get(values, key, new byte[4]));
    }

    @Test
    void aValueThatDoesNotFitLeavesTheArrayAlone() {
        byte[] key = bytes("k");
        for (int len : new int[] {1, 7, 8, 9, 63, 64, 65, 511, 512, 513, 4_097, 3_000_000}) {
            byte[] value = new byte[len];
            new Random(len).nextBytes(value);
            writer.put(values, key, value);
            byte[] small = new byte[len - 1];
            assertEquals(len, writer.get(values, key, small));
            assertArrayEquals(new byte[len - 1], small);
            byte[] large = new byte[len + 3];
            assertEquals(len, writer.get(values, key, large));
            assertArrayEquals(value, Arrays.copyOf(large, len));
            assertArrayEquals(new byte[3], Arrays.copyOfRange(large, len, len + 3));
            assertArrayEquals(value, writer.get(values, key));
        }
    }

    @Test
    void keysOfAnyLengthAreToldApart() {
        Random random = new Random(1);
        byte[][] keys = new byte[300][];
        for (int len = 0; len < keys.length; len++) {
            keys[len] = new byte[len];
            random.nextBytes(keys[len]);
            writer.put(values, keys[len], bytes("value of " + len));
        }
        byte[] long_ = new byte[65_000];
        writer.put(values, long_, bytes("long"));
        for (int len = 0; len < keys.length; len++) {
            assertEquals("value of " + len, text(writer.get(values, keys[len])));
        }
        assertEquals("long", text(writer.get(values, long_)));
        AlluviumException error = assertThrows(
                AlluviumException.class, () -> writer.put(values, new byte[65_001], bytes("x")));
        assertEquals(Status.TOO_LONG, error.status());
        assertEquals(ErrorClass.USAGE, error.errorClass());
    }

    @Test
    void namespacesAndKeyGroupsAreParts() {
        Key key = new Key();
        writer.put(values, key.set(bytes("k")).namespace(bytes("one")), bytes("1"));
        writer.put(values, key.set(bytes("k")).namespace(bytes("two")), bytes("2"));
        writer.put(values, key.set(bytes("k")), bytes("none"));
        writer.put(values, key.set(bytes("k")).group(5), bytes("group"));
        writer.put(values, key.set(bytes("ko")).namespace(bytes("ne")), bytes("other"));
        assertEquals("1", text(writer.get(values, key.set(bytes("k")).namespace(bytes("one")))));
        assertEquals("2", text(writer.get(values, key.set(ByteBuffer.wrap(bytes("xk"), 1, 1)).namespace(ByteBuffer.wrap(bytes("two"))))));
        assertEquals("none", text(writer.get(values, bytes("k"))));
        assertEquals("group", text(writer.get(values, key.set(bytes("k")).group(5))));
        assertEquals("other", text(writer.get(values, key.set(bytes("ko")).namespace(bytes("ne")))));
        assertNull(writer.get(values, key.set(bytes("k")).group(6)));
        int group = fixture.store.groupOf(bytes("k"));
        assertEquals("none", text(writer.get(values, key.set(bytes("k")).group(group))));
        assertArrayEquals(bytes("k"), key.key());
        assertArrayEquals(new byte[0], key.namespace());
        AlluviumException error = assertThrows(
                AlluviumException.class, () -> writer.get(values, key.set(bytes("k")).group(128)));
        assertEquals(Status.OUTSIDE_RANGE, error.status());
    }

    @Test
    void buffersKeepTheirPositionsButTheOneThatIsFilled() {
        ByteBuffer key = ByteBuffer.allocateDirect(16).put(bytes("--key")).flip().position(2);
        ByteBuffer value = ByteBuffer.wrap(bytes("--value--"), 2, 5);
        writer.put(values, new Key().set(key), value);
        assertEquals(2, key.position());
        assertEquals(2, value.position());
        for (ByteBuffer into : new ByteBuffer[] {ByteBuffer.allocate(9), ByteBuffer.allocateDirect(9)}) {
            into.position(1);
            assertEquals(5, writer.get(values, Key.of(bytes("key")), into));
            assertEquals(6, into.position());
            byte[] found = new byte[5];
            into.flip().position(1).get(found);
            assertEquals("value", text(found));
            ByteBuffer small = ByteBuffer.allocate(4);
            assertEquals(5, writer.get(values, Key.of(bytes("key")), small));
            assertEquals(0, small.position());
        }
    }

    @Test
    void addressesAreReadAndWritten() {
        ByteBuffer memory = ByteBuffer.allocateDirect(64).order(ByteOrder.LITTLE_ENDIAN);
        long address = Native.address(memory);
        memory.put(bytes("keyNS")).putLong(8, 4_711);
        writer.putAt(values, -1, address, 3, 2, address + 8, 8);
        assertEquals(8, writer.getAt(values, -1, address, 3, 2, address + 16, 8));
        assertEquals(4_711, memory.getLong(16));
        assertEquals(-1, writer.getAt(values, -1, address, 3, 1, address + 16, 8));
        assertEquals(8, writer.get(values, Key.of(bytes("key")).namespace(bytes("NS")), new byte[8]));
        assertEquals(0, Native.address(ByteBuffer.allocate(4)), "not a direct one");
    }

    @Test
    void updatesSeeWhatWasThere() {
        byte[] key = bytes("count");
        for (int times = 1; times <= 5; times++) {
            writer.update(values, key, old -> new byte[] {(byte) (old == null ? 1 : old[0] + 1)});
        }
        assertArrayEquals(new byte[] {5}, writer.get(values, key));
        writer.update(values, Key.of(key), old -> null);
        assertNull(writer.get(values, key));
        assertThrows(IllegalStateException.class, () -> writer.update(values, key, old -> {
            throw new IllegalStateException("on purpose");
        }));
        assertNull(writer.get(values, key));
    }

    @Test
    void operandsAreMerged() {
        State sums = fixture.store.state(StateOptions.merging("sums", StateOptions.Operator.I64_ADD));
        State least = fixture.store.state(StateOptions.merging("least", StateOptions.Operator.I64_MIN));
        Key key = Key.of(bytes("k"));
        long sum = 0;
        for (long operand : new long[] {5, -17, 1L << 40, 3}) {
            writer.mergeLong(sums, key, operand);
            writer.merge(least, bytes("k"), ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(operand).array());
            sum += operand;
        }
        assertEquals(sum, ByteBuffer.wrap(writer.get(sums, key)).order(ByteOrder.LITTLE_ENDIAN).getLong());
        assertEquals(-17, ByteBuffer.wrap(writer.get(least, key)).order(ByteOrder.LITTLE_ENDIAN).getLong());
        assertThrows(AlluviumException.class, () -> writer.merge(sums, key, new byte[7]));
        assertEquals(Status.STATE, assertThrows(AlluviumException.class, () -> writer.mergeLong(values, key, 1)).status());
    }

    @Test
    void valuesExpireByTheWritersClock() {
        State brief = fixture.store.state(StateOptions.value("brief").ttl(100, false));
        writer.setTimeMs(1_000);
        writer.put(brief, bytes("k"), bytes("v"));
        writer.setTimeMs(1_099);
        assertEquals("v", text(writer.get(brief, bytes("k"))));
        writer.setTimeMs(1_101);
        assertNull(writer.get(brief, bytes("k")));
        assertThrows(AlluviumException.class, () -> writer.setTimeMs(-1));
    }

    @Test
    void valuesExpireByTheClockOfWhoReads() {
        State brief = fixture.store.state(StateOptions.value("brief").ttl(100, false));
        writer.setTimeMs(1_000);
        writer.put(brief, bytes("k"), bytes("v"));
        try (Reader reader = fixture.store.reader(); Snapshot snapshot = fixture.store.snapshot()) {
            for (ReadView view : new ReadView[] {reader, snapshot}) {
                assertEquals("v", text(view.get(brief, bytes("k"))));
                view.setTimeMs(1_099);
                assertEquals("v", text(view.get(brief, bytes("k"))));
                view.setTimeMs(1_101);
                assertNull(view.get(brief, bytes("k")));
                assertThrows(AlluviumException.class, () -> view.setTimeMs(-1));
            }
            assertEquals("v", text(writer.get(brief, bytes("k"))), "each has a clock of its own");
        }
    }

    @Test
    void readersAndSnapshotsSeeWhatTheyAreToSee() {
        writer.put(values, bytes("k"), bytes("before"));
        try (Reader reader = fixture.store.reader(); Snapshot snapshot = fixture.store.snapshot()) {
            writer.put(values, bytes("k"), bytes("after"));
            writer.put(values, bytes("new"), new byte[2_000]);
            assertEquals("after", text(reader.get(values, bytes("k"))));
            assertEquals("before", text(snapshot.get(values, bytes("k"))));
            assertEquals("before", text(snapshot.get(values, Key.of(bytes("k")))));
            assertNull(snapshot.get(values, bytes("new")));
            byte[] into = new byte[8];
            assertEquals(2_000, reader.get(values, Key.of(bytes("new")), into));
            assertArrayEquals(new byte[2_000], reader.get(values, Key.of(bytes("new"))));
            assertEquals(5, reader.get(values, bytes("k"), into));
            assertEquals("after", text(Arrays.copyOf(into, 5)));
            assertEquals(-1, reader.get(values, bytes("nothing"), into));
        }
    }
}
