package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

/**
 * Objects of every kind are closed while others use them. A call that comes before that is answered right, and one that comes after it is told so;
 * there is nothing else. Under many calls and in more rounds {@link ThreadsTest} does the same to some.
 */
class ClosingTest {
    private static final int ROUNDS = 8;
    /** Of an object that is for any number of threads. They leave gaps for the one who closes it. */
    private static final int USERS = 3;
    /** More calls than a checkpoint has records. */
    private static final int LATE_MAX = 2_000;

    private interface Use<T> {
        void run(T object, int user, int step);
    }

    /** A kind of object: how one is opened, how many threads use it at once, and how. */
    private static final class Kind<T extends NativeObject> {
        final Class<T> type;
        final int users;
        final Supplier<T> open;
        final Use<T> use;

        Kind(Class<T> type, int users, Supplier<T> open, Use<T> use) {
            this.type = type;
            this.users = users;
            this.open = open;
            this.use = use;
        }

        void isClosedUnderItsUsers() throws Exception {
            for (int round = 0; round < ROUNDS; round++) {
                T object = open.get();
                CountDownLatch begun = new CountDownLatch(users);
                ThreadsTest.all(thread -> {
                    if (thread == 0) {
                        begun.await();
                        ThreadsTest.closeInTheEnd(object, new AtomicLong());
                    } else if (thread <= users) {
                        useUntilClosed(object, thread, begun);
                    }
                });
                assertTrue(object.isClosed());
            }
        }

        /** For as long as it takes: no thread's turn to run decides over what comes of it. What an object has by then may still be got of it. */
        private void useUntilClosed(T object, int user, CountDownLatch begun) throws Exception {
            int late = 0;
            for (int step = 0; late < LATE_MAX; step++) {
                late += object.isClosed() ? 1 : 0;
                try {
                    use.run(object, user, step);
                } catch (ClosedException closed) {
                    assertEquals(Status.HANDLE, closed.status());
                    return;
                } finally {
                    if (step == 0) {
                        begun.countDown();
                    }
                }
                if (step % 4 == 3) {
                    Thread.sleep(1);
                }
            }
            throw new AssertionError(type.getSimpleName() + " is closed, and doesn't say so");
        }
    }

    private final Fixture fixture = new Fixture(new StoreOptions()
            .durability(Durability.CHANGELOG)
            .changelogFileBytes(1 << 20)
            .retainedCheckpoints(100)
            .historyCheckpoints(2));
    private final State values = fixture.store.state(StateOptions.value("values"));
    private final State loaded = fixture.store.state(StateOptions.value("loaded"));
    private int opened;
    private long label = 1;

    private static Key key(int number) {
        return Key.of(bytes("k" + number));
    }

    private static byte[] value(int number) {
        byte[] value = new byte[number % 300];
        Arrays.fill(value, (byte) number);
        return value;
    }

    private void fill() {
        try (Writer writer = fixture.store.writer()) {
            for (int number = 0; number < 1_000; number++) {
                writer.put(values, key(number), value(number));
            }
        }
        fixture.checkpoint(label);
    }

    private Path another() {
        opened++;
        return fixture.directory.resolve("another " + opened);
    }

    private Writer sharedWriter() {
        Writer writer = fixture.store.writer();
        writer.share();
        return writer;
    }

    private Ticket ticket() {
        try (Writer writer = fixture.store.writer()) {
            return writer.submit(new Batch(fixture.store).get(values, key(7)));
        }
    }

    private PendingCheckpoint pending() {
        label++;
        return fixture.store.checkpoint(Checkpoint.of(label));
    }

    /** Whatever was taken of it before: the answers come once. */
    private static void take(Ticket ticket) {
        ticket.await();
        assertTrue(ticket.isComplete());
        for (Answer answer : ticket.poll()) {
            assertArrayEquals(value(7), answer.value());
        }
    }

    /** What is for one thread at a time has one user, and is closed by another. */
    private List<Kind<?>> kinds(Reader reader, Store absent, byte[] manifest, long absentFiles) {
        Fixture its = fixture;
        Store store = fixture.store;
        return List.of(
                new Kind<>(Engine.class, USERS, () -> Engine.open(new EngineOptions().memoryBudgetBytes(4 << 20)),
                        (engine, user, step) -> assertEquals(4 << 20, engine.budgetBytes())),
                new Kind<>(MemoryShare.class, USERS, () -> its.engine.memoryShare(0, 2 << 20), (share, user, step) -> {
                    share.setLimitBytes(2 << 20);
                    assertEquals(0, share.usedBytes());
                }),
                new Kind<>(Store.class, USERS, () -> Store.create(its.engine, another(), new StoreOptions()), (other, user, step) -> {
                    assertTrue(other.metrics().contains("# TYPE alluvium_"));
                    assertEquals(List.of(), other.checkpoints());
                }),
                new Kind<>(Writer.class, USERS, this::sharedWriter, (writer, user, step) -> {
                    byte[] own = bytes("user " + user);
                    writer.put(values, Key.of(own), own);
                    assertArrayEquals(own, writer.get(values, Key.of(own)));
                }),
                new Kind<>(Reader.class, USERS, store::reader, (one, user, step) ->
                        assertArrayEquals(value(step % 1_000), one.get(values, key(step % 1_000)))),
                new Kind<>(Snapshot.class, USERS, store::snapshot, (snapshot, user, step) -> {
                    snapshot.await();
                    assertArrayEquals(value(step % 1_000), snapshot.get(values, key(step % 1_000)));
                }),
                new Kind<>(Past.class, USERS, () -> store.asOfPosition(store.position()), (past, user, step) -> {
                    past.setTimeMs(step);
                    assertArrayEquals(value(step % 1_000), past.get(values, key(step % 1_000)));
                }),
                new Kind<>(Cursor.class, 1, () -> reader.keys(values, store.range()), (cursor, user, step) -> cursor.next()),
                new Kind<>(Ticket.class, 1, this::ticket, (ticket, user, step) -> take(ticket)),
                new Kind<>(PendingCheckpoint.class, USERS, this::pending, (pending, user, step) -> {
                    assertEquals(label, pending.await().label());
                    assertEquals(label, pending.poll().orElseThrow().label());
                }),
                new Kind<>(Committed.class, USERS, () -> store.commit(new Commit(), Lasting.SOON), (committed, user, step) -> {
                    committed.await();
                    assertTrue(committed.isLasting());
                    assertEquals(committed.position(), committed.info().position());
                }),
                new Kind<>(CheckpointFiles.class, USERS, () -> store.files(1), (files, user, step) -> {
                    int last = files.list().size() - 1;
                    assertArrayEquals(manifest, files.read(last, 0, manifest.length));
                    assertEquals(1, files.info().label());
                }),
                new Kind<>(CheckpointIterator.class, 1, () -> store.iterate(1), (iterator, user, step) -> {
                    if (iterator.hasNext()) {
                        assertEquals("values", iterator.next().state().name());
                    }
                }),
                new Kind<>(Fetches.class, USERS, () -> absent.fetches().orElseThrow(), (fetches, user, step) -> {
                    for (Fetches.Request request : fetches.await(4, Duration.ofMillis(1))) {
                        assertTrue(request.len() > 0);
                    }
                    fetches.wake();
                    assertEquals(absentFiles, fetches.absentFiles());
                }),
                new Kind<>(BulkLoad.class, 1, () -> store.bulkLoad(1_000), (load, user, step) ->
                        load.put(loaded, Key.of(ByteBuffer.allocate(4).putInt(step).array()).group(0), bytes("v"))));
    }

    @Test
    void objectsOfEveryKindAreClosedUnderTheirUsers() throws Exception {
        try (fixture) {
            fill();
            byte[] manifest;
            try (CheckpointFiles files = fixture.store.files(1)) {
                manifest = files.manifest();
            }
            // The host never brings anything.
            StoreOptions fetching = new StoreOptions().fetch(true);
            try (Store absent = Store.restoreAbsent(fixture.engine, another(), List.of(manifest), fetching);
                    Reader reader = fixture.store.reader()) {
                long absentFiles;
                try (Fetches fetches = absent.fetches().orElseThrow()) {
                    absentFiles = fetches.absentFiles();
                    assertTrue(absentFiles > 0);
                }
                Set<String> seen = new TreeSet<>();
                for (Kind<?> kind : kinds(reader, absent, manifest, absentFiles)) {
                    long before = Engine.openObjects();
                    kind.isClosedUnderItsUsers();
                    assertEquals(before, Engine.openObjects(), kind.type.getSimpleName());
                    seen.add(kind.type.getSimpleName());
                }
                assertEquals(Kinds.all(), seen);
                assertArrayEquals(value(7), reader.get(values, key(7)), "everything else goes on");
            }
        }
    }
}
