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
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Many keys a call: arrays of keys, packed batches, and answers that come later. */
class BatchesTest {
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
    void manyAreReadAsTheyWereWritten() {
        Random random = new Random(3);
        Map<Integer, byte[]> model = new HashMap<>();
        Keys keys = new Keys();
        Values given = new Values();
        Values found = new Values();
        for (int round = 0; round < 20; round++) {
            keys.clear();
            given.clear();
            int size = new int[] {0, 1, 64, 1_000}[round % 4];
            for (int place = 0; place < size; place++) {
                int number = random.nextInt(5_000);
                keys.add(bytes("key " + number));
                byte[] value = random.nextInt(10) == 0 ? null : new byte[random.nextInt(600)];
                if (value == null) {
                    given.addNone();
                    model.remove(number);
                } else {
                    random.nextBytes(value);
                    given.add(value);
                    model.put(number, value);
                }
            }
            writer.putMany(values, keys, given);
            keys.clear();
            for (int number = 0; number < 5_000; number++) {
                keys.add(bytes("key " + number));
            }
            writer.getMany(values, keys, found);
            assertEquals(5_000, found.size());
            byte[] into = new byte[600];
            for (int number = 0; number < 5_000; number++) {
                byte[] expected = model.get(number);
                assertArrayEquals(expected, found.get(number));
                assertEquals(expected == null ? -1 : expected.length, found.get(number, into));
            }
        }
        assertThrows(IndexOutOfBoundsException.class, () -> found.get(5_000));
    }

    /** Short ones are copied by words, long ones at once; both are given back, whether they were used or not. */
    @Test
    void keysAndValuesOfAllLengths() {
        Random random = new Random(4);
        Keys keys = new Keys();
        Values given = new Values();
        byte[][] names = new byte[600][];
        byte[][] expected = new byte[names.length][];
        for (int place = 0; place < names.length; place++) {
            names[place] = new byte[place < 100 ? place : 100];
            random.nextBytes(names[place]);
            expected[place] = new byte[place % 2 == 0 ? place : names.length - place];
            random.nextBytes(expected[place]);
            keys.add(names[place]);
            given.add(expected[place]);
        }
        for (int round = 0; round < 2; round++) {
            for (int place = 0; place < names.length; place++) {
                assertArrayEquals(expected[place], given.get(place));
                assertEquals(expected[place].length, given.length(place));
            }
            writer.putMany(values, keys, given);
        }
        Values found = new Values();
        writer.getMany(values, keys, found);
        for (int place = 0; place < names.length; place++) {
            assertArrayEquals(expected[place], writer.get(values, names[place]), "key of " + names[place].length);
            assertArrayEquals(expected[place], found.get(place));
        }
    }

    @Test
    void numbersAreAddedUp() {
        State sums = fixture.store.state(StateOptions.merging("sums", StateOptions.Operator.U64_ADD));
        Keys keys = new Keys();
        Values operands = new Values();
        for (long place = 0; place < 1_024; place++) {
            keys.addLong(place % 100);
            operands.addLong(place);
        }
        writer.mergeMany(sums, keys, operands);
        writer.prefetch(sums, keys);
        for (long number = 0; number < 100; number++) {
            long sum = 0;
            for (long place = number; place < 1_024; place += 100) {
                sum += place;
            }
            byte[] key = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(number).array();
            assertEquals(sum, ByteBuffer.wrap(writer.get(sums, key)).order(ByteOrder.LITTLE_ENDIAN).getLong());
        }
        assertEquals(Status.ARGUMENT, assertThrows(AlluviumException.class,
                () -> writer.mergeMany(sums, new Keys().addLong(1), new Values().addNone())).status());
    }

    @Test
    void aKeyThatOccursTwiceIsChangedTwice() {
        Keys keys = new Keys();
        for (int place = 0; place < 300; place++) {
            keys.add(Key.of(bytes("k" + place % 7)).namespace(bytes("n" + place % 3)));
        }
        for (int round = 1; round <= 2; round++) {
            writer.updateMany(values, keys, (index, old) ->
                    index == 299 ? null : bytes((old == null ? "" : text(old)) + "."));
        }
        Map<String, Integer> counts = new HashMap<>();
        for (int round = 1; round <= 2; round++) {
            for (int place = 0; place < 300; place++) {
                String name = place % 7 + "/" + place % 3;
                counts.put(name, place == 299 ? 0 : counts.getOrDefault(name, 0) + 1);
            }
        }
        for (int place = 0; place < 21; place++) {
            int expected = counts.get(place % 7 + "/" + place % 3);
            byte[] value = writer.get(values, Key.of(bytes("k" + place % 7)).namespace(bytes("n" + place % 3)));
            assertEquals(expected, value == null ? 0 : value.length, "key " + place);
        }
    }

    /** A key whose group was given was another than that by its hash, and the first of their changes was lost. */
    @Test
    void aKeyIsTheSameByItsHashAndByItsGroup() {
        Keys keys = new Keys();
        int[] counts = new int[20];
        for (int place = 0; place < 200; place++) {
            int number = place % counts.length;
            Key key = Key.of(bytes("k" + number));
            // Of the same bytes as one without a namespace.
            keys.add(Key.of(bytes("k")).namespace(bytes(String.valueOf(number))));
            keys.add(place / counts.length % 3 == 0 ? key : key.group(fixture.store.groupOf(key.key())));
            counts[number]++;
        }
        // The same bytes in a key group of its own are another key.
        int elsewhere = (fixture.store.groupOf(bytes("k0")) + 1) % fixture.store.keyGroups();
        keys.add(Key.of(bytes("k0")).group(elsewhere));
        writer.updateMany(values, keys, (index, old) -> bytes((old == null ? "" : text(old)) + "."));
        for (int number = 0; number < counts.length; number++) {
            assertEquals(counts[number], writer.get(values, bytes("k" + number)).length, "k" + number);
            Key namespaced = Key.of(bytes("k")).namespace(bytes(String.valueOf(number)));
            assertEquals(counts[number], writer.get(values, namespaced).length, "k/" + number);
        }
        assertEquals(".", text(writer.get(values, Key.of(bytes("k0")).group(elsewhere))));
    }

    @Test
    void listsAndDeletionsOfMany() {
        State lists = fixture.store.state(StateOptions.list("lists"));
        Keys keys = new Keys().add(bytes("a")).add(bytes("b")).add(bytes("a"));
        writer.appendMany(lists, keys, new Values().add(bytes("1")).add(bytes("2")).add(bytes("3")));
        assertEquals(List.of("1", "3"), writer.list(lists, bytes("a")).stream().map(Fixture::text).collect(Collectors.toList()));
        writer.deleteMany(lists, new Keys().add(bytes("a")));
        assertEquals(List.of(), writer.list(lists, bytes("a")));
        assertEquals(1, writer.list(lists, bytes("b")).size());
        assertThrows(IllegalArgumentException.class, () -> writer.putMany(values, keys, new Values()));
    }

    private Batch everything(Key key) {
        State lists = fixture.store.state(StateOptions.list("lists"));
        State maps = fixture.store.state(StateOptions.map("maps"));
        Batch batch = new Batch(fixture.store);
        batch.put(values, key, bytes("v")).delete(values, Key.of(bytes("gone")));
        batch.append(lists, key, bytes("one")).append(lists, key, bytes("two"));
        for (int number = 0; number < 6; number++) {
            batch.mapPut(maps, key, ByteBuffer.allocate(8).putLong(number).array(), bytes("m" + number));
        }
        batch.mapDelete(maps, key, ByteBuffer.allocate(8).putLong(5).array());
        batch.mapExpire(maps, key, 1);
        return batch.mapDeleteRange(
                maps, key, ByteBuffer.allocate(8).putLong(3).array(), ByteBuffer.allocate(8).putLong(4).array());
    }

    @Test
    void batchesAreAppliedInOrder() {
        Key key = Key.of(bytes("k")).namespace(bytes("n")).group(9);
        writer.put(values, bytes("gone"), bytes("x"));
        Batch batch = everything(key);
        writer.apply(batch);
        assertEquals("v", text(writer.get(values, key)));
        assertNull(writer.get(values, bytes("gone")));
        State maps = fixture.store.state(StateOptions.map("maps"));
        StringBuilder left = new StringBuilder();
        try (Cursor cursor = writer.entries(maps, key, MapRange.all())) {
            while (cursor.next()) {
                left.append(text(cursor.value())).append(' ');
            }
        }
        assertEquals("m1 m2 m4 ", left.toString());
        batch.clear().mapDeleteRange(maps, key, ByteBuffer.allocate(8).putLong(2).array(), null);
        writer.apply(batch);
        assertEquals("m1", text(writer.mapLast(maps, key).value()));
        writer.apply(batch.clear().mapClear(maps, key));
        assertTrue(writer.mapIsEmpty(maps, key));
        batch.clear().get(values, key);
        assertEquals(ErrorClass.USAGE, assertThrows(AlluviumException.class, () -> writer.apply(batch)).errorClass());
    }

    @Test
    void answersComeByTicket() throws Exception {
        Key key = Key.of(bytes("k"));
        State lists = fixture.store.state(StateOptions.list("lists"));
        State maps = fixture.store.state(StateOptions.map("maps"));
        for (int number = 0; number < 500; number++) {
            writer.put(values, bytes("cold " + number), bytes("value " + number));
        }
        fixture.checkpoint(1);
        Batch batch = everything(key);
        int first = batch.size();
        batch.get(values, key).list(lists, key).mapGet(maps, key, ByteBuffer.allocate(8).putLong(2).array());
        batch.get(values, Key.of(bytes("nothing")));
        for (int number = 0; number < 500; number++) {
            batch.get(values, Key.of(bytes("cold " + number)));
        }
        assertFalse(writer.isFull());
        Map<Integer, Answer> answers = new HashMap<>();
        try (Ticket ticket = writer.submit(batch)) {
            ticket.await();
            assertTrue(ticket.isComplete());
            while (!ticket.isDone()) {
                writer.poll(ticket).forEach(answer -> answers.put(answer.index() - first, answer));
            }
            assertEquals(List.of(), ticket.poll());
        }
        assertEquals(504, answers.size());
        assertEquals("v", text(answers.get(0).value()));
        assertEquals(List.of("one", "two"), answers.get(1).elements().stream().map(Fixture::text).collect(Collectors.toList()));
        assertEquals("m2", text(answers.get(2).value()));
        assertFalse(answers.get(3).isFound());
        assertNull(answers.get(3).value());
        for (int number = 0; number < 500; number++) {
            assertEquals("value " + number, text(answers.get(number + 4).value()));
        }
    }

    /** Reads that the disk was needed for count until their answers are taken, whenever these come. */
    @Test
    void aWriterIsFullUntilAnswersAreTaken() {
        writer.put(values, bytes("cold"), bytes("value"));
        fixture.checkpoint(1);
        writer.close();
        fixture.reopen(new StoreOptions().warmUp(WarmUp.NOTHING));
        writer = fixture.store.writer();
        values = fixture.store.state(StateOptions.value("values"));
        Key key = Key.of(bytes("cold"));
        Batch batch = new Batch(fixture.store);
        while (batch.size() < 8_192) {
            batch.get(values, key);
        }
        Batch another = new Batch(fixture.store).get(values, key);
        assertFalse(writer.isFull());
        try (Ticket ticket = writer.submit(batch)) {
            assertTrue(writer.isFull());
            assertEquals(Status.BUSY, assertThrows(RetryException.class, () -> writer.submit(another)).status());
            ticket.await();
            assertTrue(writer.isFull(), "nobody has taken the answers");
            int answers = 0;
            while (!ticket.isDone()) {
                for (Answer answer : ticket.poll()) {
                    assertEquals("value", text(answer.value()));
                    answers++;
                }
            }
            assertEquals(batch.size(), answers);
        }
        assertFalse(writer.isFull());
        try (Ticket ticket = writer.submit(another)) {
            ticket.await();
            assertEquals("value", text(ticket.poll().get(0).value()));
        }
    }

    /** Of values of 100 KB, but for one that is larger than what comes at once. */
    private Map<Integer, byte[]> large() {
        Random random = new Random(5);
        Map<Integer, byte[]> model = new HashMap<>();
        for (int number = 0; number < 40; number++) {
            byte[] value = new byte[number == 17 ? 3 << 20 : 100_000];
            random.nextBytes(value);
            writer.put(values, bytes("large " + number), value);
            model.put(number, value);
        }
        return model;
    }

    private Ticket submitLarge() {
        Batch batch = new Batch(fixture.store);
        for (int number = 0; number < 40; number++) {
            batch.get(values, Key.of(bytes("large " + number)));
        }
        return writer.submit(batch);
    }

    @Test
    void largeAnswersComeInSeveralPolls() {
        Map<Integer, byte[]> model = large();
        for (boolean byWriter : new boolean[] {true, false}) {
            int next = 0;
            int polls = 0;
            try (Ticket ticket = submitLarge()) {
                ticket.await();
                while (!ticket.isDone()) {
                    polls++;
                    int bytes = 0;
                    List<Answer> answers = byWriter ? writer.poll(ticket) : ticket.poll();
                    assertFalse(answers.isEmpty());
                    for (Answer answer : answers) {
                        // All of them were in memory: they come in order.
                        assertEquals(next, answer.index());
                        assertArrayEquals(model.get(next), answer.value());
                        bytes += answer.value().length;
                        next++;
                    }
                    assertTrue(bytes <= 512 << 10 || answers.size() == 1, bytes + " bytes at once");
                    assertEquals(next == 40, ticket.isDone());
                }
                assertEquals(List.of(), ticket.poll());
            }
            assertEquals(40, next);
            assertTrue(polls > 8, "in " + polls + " polls");
            assertTrue(writer.scratch.out.capacity <= 1 << 20, "the writer keeps " + writer.scratch.out.capacity);
        }
    }

    @Test
    void largeAnswersFromDiskComeInSeveralPolls() {
        Map<Integer, byte[]> model = large();
        fixture.checkpoint(1);
        writer.close();
        fixture.reopen(new StoreOptions());
        writer = fixture.store.writer();
        values = fixture.store.state(StateOptions.value("values"));
        Map<Integer, byte[]> found = new HashMap<>();
        try (Ticket ticket = submitLarge()) {
            ticket.await();
            for (boolean byWriter = true; !ticket.isDone(); byWriter = !byWriter) {
                List<Answer> answers = byWriter ? writer.poll(ticket) : ticket.poll();
                assertFalse(answers.isEmpty());
                answers.forEach(answer -> assertNull(found.put(answer.index(), answer.value())));
            }
        }
        assertEquals(model.keySet(), found.keySet());
        model.forEach((number, value) -> assertArrayEquals(value, found.get(number)));
    }

    @Test
    void aTicketMayBeClosedBeforeAllAnswersWereTaken() {
        large();
        Ticket ticket = submitLarge();
        assertEquals(0, writer.poll(ticket).get(0).index());
        assertFalse(ticket.isDone());
        ticket.close();
        assertThrows(ClosedException.class, ticket::poll);
    }

    @Test
    void aBatchDoesNotKeepWhatWasLarge() {
        Batch batch = new Batch(fixture.store);
        byte[] value = new byte[3 << 20];
        batch.put(values, Key.of(bytes("k")), value);
        assertEquals(16 + 1 + value.length, batch.bytes());
        writer.apply(batch);
        assertArrayEquals(value, writer.get(values, bytes("k")));
        batch.clear();
        assertEquals(0, batch.bytes());
        assertTrue(batch.memory(fixture.store).capacity <= 1 << 20);
        writer.apply(batch.put(values, Key.of(bytes("k")), bytes("v")));
        assertEquals("v", text(writer.get(values, bytes("k"))));
    }
}
