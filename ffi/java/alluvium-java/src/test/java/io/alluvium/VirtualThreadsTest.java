package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static io.alluvium.Fixture.text;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Threads that are carried by others, now by one and then by another, in Java 21 and later. The library knows their carriers alone: so what it notes of a thread, its last
 * failure and the answer that it didn't fetch yet, must not be taken for another's.
 */
class VirtualThreadsTest {
    /** The Java that has them first. */
    static final int SINCE = 21;

    private static final int THREADS = 64;
    private static final int STEPS = 200;

    private interface Work {
        void run(int thread) throws Exception;
    }

    @BeforeAll
    static void needsVirtualThreads() {
        assumeTrue(Runtime.version().feature() >= SINCE, "this Java has no virtual threads");
    }

    private static void all(Work work) throws Exception {
        // By its name: the class is compiled for a Java that hasn't got it.
        Method start = Thread.class.getMethod("startVirtualThread", Runnable.class);
        ConcurrentLinkedQueue<Throwable> wrong = new ConcurrentLinkedQueue<>();
        List<Thread> threads = new ArrayList<>();
        for (int number = 0; number < THREADS; number++) {
            int own = number;
            Runnable task = () -> {
                try {
                    work.run(own);
                } catch (Throwable error) {
                    wrong.add(error);
                }
            };
            threads.add((Thread) start.invoke(null, task));
        }
        for (Thread thread : threads) {
            thread.join();
        }
        if (!wrong.isEmpty()) {
            throw new AssertionError(wrong.size() + " threads failed", wrong.peek());
        }
    }

    private static byte[] value(int thread, int step) {
        // Some are longer than the memory that a call begins with.
        byte[] value = new byte[1 + (thread * 131 + step * 17) % 900];
        Arrays.fill(value, (byte) (thread + step));
        return value;
    }

    @Test
    void oneWriterIsSharedByMany() throws Exception {
        try (Fixture fixture = new Fixture(); Writer writer = fixture.store.writer()) {
            writer.share();
            State values = fixture.store.state(StateOptions.value("values"));
            State lists = fixture.store.state(StateOptions.list("lists"));
            State sums = fixture.store.state(StateOptions.merging("sums", StateOptions.Operator.U64_ADD));
            all(thread -> {
                Random random = new Random(thread);
                Map<String, byte[]> model = new HashMap<>();
                int elements = 0;
                for (int step = 0; step < STEPS; step++) {
                    String name = "k" + thread + "/" + random.nextInt(20);
                    byte[] value = value(thread, step);
                    writer.put(values, bytes(name), value);
                    model.put(name, value);
                    Thread.yield();
                    writer.append(lists, bytes("list " + thread), value);
                    elements++;
                    writer.mergeLong(sums, Key.of(bytes("all")), 1);
                    String other = "k" + thread + "/" + random.nextInt(20);
                    assertArrayEquals(model.get(other), writer.get(values, bytes(other)), other);
                }
                assertEquals(elements, writer.list(lists, bytes("list " + thread)).size());
            });
            assertEquals((long) THREADS * STEPS, littleEndian(writer.get(sums, bytes("all"))));
            for (int thread = 0; thread < THREADS; thread++) {
                assertArrayEquals(value(thread, STEPS - 1), last(writer.list(lists, bytes("list " + thread))));
            }
        }
    }

    private static long littleEndian(byte[] bytes) {
        return (long) Memory.LONGS.get(bytes, 0);
    }

    private static byte[] last(List<byte[]> list) {
        return list.get(list.size() - 1);
    }

    @Test
    void readersSnapshotsAndCursorsOfTheirOwn() throws Exception {
        try (Fixture fixture = new Fixture()) {
            State values = fixture.store.state(StateOptions.value("values"));
            State maps = fixture.store.state(StateOptions.map("maps"));
            try (Writer writer = fixture.store.writer()) {
                for (int number = 0; number < 500; number++) {
                    writer.put(values, bytes("k" + number), value(0, number));
                    writer.mapPut(maps, Key.of(bytes("map")), bytes("u" + number), value(1, number));
                }
            }
            fixture.checkpoint(1);
            fixture.reopen(new StoreOptions());
            State cold = fixture.store.state(StateOptions.value("values"));
            State entries = fixture.store.state(StateOptions.map("maps"));
            try (Reader shared = fixture.store.reader(); Snapshot snapshot = fixture.store.snapshot()) {
                all(thread -> {
                    try (Reader own = fixture.store.reader()) {
                        lookAround(thread % 3 == 0 ? own : thread % 3 == 1 ? snapshot : shared, cold, entries, thread);
                    }
                });
            }
        }
    }

    private static void lookAround(ReadView view, State values, State maps, int thread) {
        for (int step = 0; step < STEPS; step++) {
            int number = (thread * 31 + step) % 500;
            assertArrayEquals(value(0, number), view.get(values, bytes("k" + number)));
            Thread.yield();
        }
        Set<String> seen = new TreeSet<>();
        try (Cursor cursor = view.entries(maps, Key.of(bytes("map")), MapRange.all())) {
            // A call for every third entry: between them the thread is carried by others.
            cursor.setBatch(3, 1 << 20);
            while (cursor.next()) {
                int number = Integer.parseInt(text(cursor.userKey()).substring(1));
                assertArrayEquals(value(1, number), cursor.value());
                seen.add(text(cursor.userKey()));
                Thread.yield();
            }
        }
        assertEquals(500, seen.size());
    }

    /** A writer that a virtual thread had made belonged to the thread that carried it then: once another did nobody could use it, or close it. */
    @Test
    void writersOfTheirOwn() throws Exception {
        try (Fixture fixture = new Fixture()) {
            State values = fixture.store.state(StateOptions.value("values"));
            ConcurrentLinkedQueue<Writer> left = new ConcurrentLinkedQueue<>();
            all(thread -> {
                Writer writer = fixture.store.writer(KeyGroupRange.of(2 * thread, 2 * thread + 1));
                for (int step = 0; step < STEPS; step++) {
                    Key key = Key.of(bytes("k" + step % 10)).group(2 * thread + step % 2);
                    writer.put(values, key, value(thread, step));
                    Thread.yield();
                    assertArrayEquals(value(thread, step), writer.get(values, key));
                }
                if (thread % 2 == 0) {
                    writer.close();
                } else {
                    left.add(writer);
                }
            });
            assertEquals(THREADS / 2, left.size());
            // Their threads have ended, and those that carried them haven't.
            left.forEach(Writer::close);
            try (Reader reader = fixture.store.reader()) {
                for (int thread = 0; thread < THREADS; thread++) {
                    Key key = Key.of(bytes("k9")).group(2 * thread + 1);
                    assertArrayEquals(value(thread, STEPS - 1), reader.get(values, key));
                }
            }
        }
    }

    @Test
    void writersThatAreAdopted() throws Exception {
        try (Fixture fixture = new Fixture()) {
            State values = fixture.store.state(StateOptions.value("values"));
            Writer writer = fixture.store.writer();
            AtomicBoolean adopted = new AtomicBoolean();
            writer.giveAway();
            all(thread -> {
                if (thread == 0) {
                    writer.adopt();
                    adopted.set(true);
                }
                while (!adopted.get()) {
                    Thread.yield();
                }
                // It is everybody's from then on, the one's that adopted it too.
                for (int step = 0; step < STEPS; step++) {
                    writer.put(values, bytes("k" + thread), value(thread, step));
                    Thread.yield();
                }
                assertThrows(WrongThreadException.class, writer::giveAway);
                writer.share();
            });
            for (int thread = 0; thread < THREADS; thread++) {
                assertArrayEquals(value(thread, STEPS - 1), writer.get(values, bytes("k" + thread)));
            }
            writer.close();
        }
    }

    /** What each is told is what it did wrong, not what another did whom the same thread carried. */
    @Test
    void failuresAreTheirOwn() throws Exception {
        try (Fixture fixture = new Fixture(); Writer writer = fixture.store.writer()) {
            writer.share();
            State values = fixture.store.state(StateOptions.value("values"));
            State lists = fixture.store.state(StateOptions.list("lists"));
            all(thread -> {
                for (int step = 0; step < STEPS; step++) {
                    AlluviumException error;
                    switch ((thread + step) % 3) {
                        case 0:
                            error = assertThrows(AlluviumException.class, () -> writer.get(lists, bytes("k")));
                            assertEquals(Status.STATE, error.status());
                            assertTrue(error.getMessage().contains("lists"), error.getMessage());
                            break;
                        case 1:
                            error = assertThrows(AlluviumException.class, () -> writer.put(values, new byte[65_001], bytes("v")));
                            assertEquals(Status.TOO_LONG, error.status());
                            assertTrue(error.getMessage().contains("65"), error.getMessage());
                            break;
                        default:
                            error = assertThrows(
                                    AlluviumException.class, () -> writer.get(values, Key.of(bytes("k")).group(128)));
                            assertEquals(Status.OUTSIDE_RANGE, error.status());
                            break;
                    }
                    assertEquals(ErrorClass.USAGE, error.errorClass());
                    Thread.yield();
                }
            });
        }
    }

    /** Answers that are longer than a call's memory are fetched by a second call. */
    @Test
    void longAnswersAreTheirOwn() throws Exception {
        try (Fixture fixture = new Fixture(); Writer writer = fixture.store.writer()) {
            writer.share();
            State values = fixture.store.state(StateOptions.value("values"));
            all(thread -> {
                Keys keys = new Keys();
                for (int round = 1; round < 4; round++) {
                    Values given = new Values();
                    keys.clear();
                    for (int place = 0; place < 20; place++) {
                        keys.add(bytes("k" + thread + "/" + place));
                        given.add(value(thread + round, place));
                    }
                    writer.putMany(values, keys, given);
                    // New ones: their memory is too small each time.
                    Values found = new Values();
                    writer.getMany(values, keys, found);
                    Thread.yield();
                    for (int place = 0; place < 20; place++) {
                        assertArrayEquals(value(thread + round, place), found.get(place));
                    }
                    Batch batch = new Batch(fixture.store);
                    for (int place = 0; place < 20; place++) {
                        batch.get(values, Key.of(bytes("k" + thread + "/" + place)));
                    }
                    try (Ticket ticket = writer.submit(batch)) {
                        int answers = 0;
                        while (!ticket.isDone()) {
                            for (Answer answer : thread % 2 == 0 ? writer.poll(ticket) : ticket.poll()) {
                                assertArrayEquals(value(thread + round, answer.index()), answer.value());
                                answers++;
                            }
                            Thread.yield();
                        }
                        assertEquals(20, answers);
                    }
                }
            });
        }
    }

    /** Waiting for a checkpoint, a handler that the engine calls, and a store that is closed by the last of them. */
    @Test
    void checkpointsAndHandlers() throws Exception {
        StoreOptions options = new StoreOptions().durability(Durability.CHANGELOG);
        try (Fixture fixture = new Fixture(options); Writer writer = fixture.store.writer()) {
            writer.share();
            State sums = fixture.store.state(StateOptions.merging("sums", StateOptions.Operator.U64_ADD));
            HandlerId add = fixture.store.handler("add", 1, (event, applying) -> {
                Thread.yield();
                byte[] amount = {event[0], 0, 0, 0, 0, 0, 0, 0};
                applying.merge(sums, Key.of(bytes("sum")).group(applying.group()), amount);
            });
            all(thread -> {
                for (int step = 0; step < 20; step++) {
                    writer.applyEvent(add, 3, new byte[] {(byte) thread});
                    Thread.yield();
                }
                if (thread % 16 == 0) {
                    try (Committed committed = writer.commit(new Commit(), Lasting.SOON)) {
                        committed.await();
                        assertTrue(committed.isLasting());
                    }
                    try (PendingCheckpoint pending = writer.checkpoint(Checkpoint.of(1 + thread))) {
                        assertEquals(1 + thread, pending.await().label());
                    }
                }
            });
            long sum = 20L * THREADS * (THREADS - 1) / 2;
            assertEquals(sum, littleEndian(writer.get(sums, Key.of(bytes("sum")).group(3))));
        }
    }
}
