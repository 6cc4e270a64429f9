package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static io.alluvium.Fixture.text;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Commits that last without a checkpoint: waited for, asked, and found when a store is opened again. */
class ChangelogTest {
    private Fixture fixture;
    private long openBefore;

    private static StoreOptions options() {
        return new StoreOptions()
                .durability(Durability.CHANGELOG)
                .changelogDelay(Duration.ofMillis(2))
                .changelogBytes(1 << 16)
                .changelogFileBytes(1 << 20);
    }

    @BeforeEach
    void open() {
        openBefore = Engine.openObjects();
        fixture = new Fixture(options());
    }

    @AfterEach
    void close() {
        fixture.close();
        assertEquals(openBefore, Engine.openObjects());
    }

    private static State values(Store store) {
        return store.state(StateOptions.value("values"));
    }

    private static Commit at(Store store, String offset, String metadata) {
        return new Commit().metadata(bytes(metadata)).offset(new Offset(store.range(), bytes(offset)));
    }

    private static void assertLast(Store store, String offset, String metadata) {
        CommitInfo last = store.lastCommit();
        assertEquals(offset, text(last.offsets().get(0).bytes()));
        assertEquals(store.range(), last.offsets().get(0).range());
        assertEquals(metadata, text(last.metadata()));
        assertTrue(last.position() > 0);
    }

    private static Status status(org.junit.jupiter.api.function.Executable call) {
        return assertThrows(AlluviumException.class, call).status();
    }

    /** A process that commits, and ends without closing anything. */
    public static final class Dies {
        /** The directory is the argument. */
        public static void main(String[] arguments) {
            Engine engine = Engine.open(new EngineOptions().memoryBudgetBytes(16 << 20));
            Store store = Store.create(engine, Path.of(arguments[0]), options());
            State values = values(store);
            State lists = store.state(StateOptions.list("lists"));
            State maps = store.state(StateOptions.map("maps"));
            State sums = store.state(StateOptions.merging("sums", StateOptions.Operator.I64_ADD));
            Writer writer = store.writer();
            for (int round = 1; round <= 3; round++) {
                writer.put(values, bytes("k"), bytes("value " + round));
                writer.append(lists, bytes("k"), bytes("element " + round));
                writer.mapPut(maps, Key.of(bytes("k")), bytes("u" + round), bytes("entry " + round));
                writer.mergeLong(sums, Key.of(bytes("k")), round);
                writer.commit(at(store, "at " + round, "metadata " + round), Lasting.WITH_LATER);
            }
            Committed last = writer.commit(at(store, "at 4", "metadata 4"), Lasting.SOON);
            last.await();
            writer.put(values, bytes("k"), bytes("not committed"));
            System.out.print("lasts");
            System.out.flush();
            Runtime.getRuntime().halt(7);
        }
    }

    @Test
    void whatLastsIsFoundAfterAProcessDied() throws Exception {
        Path directory = fixture.directory.resolve("died");
        Program program = Program.run(
                System.getProperty("java.class.path"), List.of("-Xcheck:jni"), Dies.class.getName(), directory.toString());
        assertEquals("lasts", program.output);
        assertEquals(7, program.code);
        try (Store store = Store.open(fixture.engine, directory, options());
                Writer writer = store.writer()) {
            assertFalse(store.restored().isPresent());
            assertLast(store, "at 4", "metadata 4");
            assertEquals("value 3", text(writer.get(values(store), bytes("k"))));
            State lists = store.state(StateOptions.list("lists"));
            State maps = store.state(StateOptions.map("maps"));
            State sums = store.state(StateOptions.merging("sums", StateOptions.Operator.I64_ADD));
            assertEquals(3, writer.list(lists, bytes("k")).size());
            assertEquals("element 2", text(writer.list(lists, bytes("k")).get(1)));
            assertEquals("entry 1", text(writer.mapGet(maps, Key.of(bytes("k")), bytes("u1"))));
            assertEquals(6, writer.get(sums, bytes("k"))[0]);
        }
    }

    @Test
    void aCommitSaysWhetherItLasts() throws Exception {
        Store store = fixture.store;
        State values = values(store);
        long position;
        try (Writer writer = store.writer()) {
            writer.put(values, bytes("k"), bytes("1"));
            try (Committed later = writer.commit(at(store, "at 1", "first"), Lasting.WITH_LATER)) {
                assertFalse(later.isLasting(), "nothing is synced for it");
                writer.put(values, bytes("k"), bytes("2"));
                try (Committed soon = store.commit(at(store, "at 2", "second"), Lasting.SOON)) {
                    assertTrue(soon.position() > later.position() && later.position() > 0);
                    // Any thread may wait, and a future is a thread of Java's away.
                    CompletableFuture.runAsync(soon::await).get(1, TimeUnit.MINUTES);
                    assertTrue(soon.isLasting());
                    assertEquals("second", text(soon.info().metadata()));
                    assertEquals("at 2", text(soon.info().offsets().get(0).bytes()));
                    assertEquals(soon.position(), soon.info().position());
                    assertEquals(soon.info().position(), store.lastCommit().position());
                }
                assertTrue(later.isLasting());
                later.await();
            }
            // By itself, without being waited for.
            writer.put(values, bytes("k"), bytes("3"));
            try (Committed polled = writer.commit(at(store, "at 3", "third"), Lasting.SOON)) {
                while (!polled.isLasting()) {
                    Thread.sleep(1);
                }
                position = polled.position();
            }
            writer.put(values, bytes("k"), bytes("not committed"));
        }
        fixture.reopen(options());
        assertLast(fixture.store, "at 3", "third");
        assertEquals(position, fixture.store.lastCommit().position());
        try (Writer writer = fixture.store.writer()) {
            assertEquals("3", text(writer.get(values(fixture.store), bytes("k"))));
        }
    }

    @Test
    void closingMakesLastWhatWasCommitted() {
        try (Writer writer = fixture.store.writer()) {
            writer.put(values(fixture.store), bytes("k"), bytes("1"));
            writer.commit(at(fixture.store, "at 1", "first"), Lasting.WITH_LATER).close();
        }
        fixture.reopen(options());
        assertLast(fixture.store, "at 1", "first");
        try (Writer writer = fixture.store.writer()) {
            State values = values(fixture.store);
            assertEquals("1", text(writer.get(values, bytes("k"))));
            // The older way, behind a checkpoint.
            fixture.checkpoint(1);
            writer.put(values, bytes("k"), bytes("2"));
            CommitInfo info = writer.commit(at(fixture.store, "at 2", "second"));
            assertEquals(fixture.store.lastCommit().position(), info.position());
        }
        fixture.reopen(options());
        assertEquals(1, fixture.store.restored().orElseThrow().label());
        assertLast(fixture.store, "at 2", "second");
        try (Writer writer = fixture.store.writer()) {
            assertEquals("2", text(writer.get(values(fixture.store), bytes("k"))));
        }
    }

    @Test
    void transactionsLast() {
        Path path = fixture.directory.resolve("transactional");
        StoreOptions options = options().transactional(true);
        try (Store store = Store.create(fixture.engine, path, options); Writer writer = store.writer()) {
            State values = values(store);
            writer.put(values, bytes("k"), bytes("kept"));
            try (Committed committed = writer.commit(at(store, "at 1", "first"), Lasting.SOON)) {
                committed.await();
            }
            writer.put(values, bytes("k"), bytes("undone"));
            writer.abortTransaction();
            writer.put(values, bytes("staged"), bytes("v"));
        }
        try (Store store = Store.open(fixture.engine, path, options); Writer writer = store.writer()) {
            assertLast(store, "at 1", "first");
            assertEquals("kept", text(writer.get(values(store), bytes("k"))));
            assertNull(writer.get(values(store), bytes("staged")));
        }
    }

    @Test
    void withoutAChangelogACommitLastsWithTheNextCheckpoint() {
        Path path = fixture.directory.resolve("without");
        try (Store store = Store.create(fixture.engine, path, new StoreOptions().transactional(true));
                Writer writer = store.writer();
                Committed committed = writer.commit(at(store, "at 1", "first"), Lasting.SOON)) {
            assertEquals(Status.OPTIONS, status(committed::await));
            assertEquals(Status.OPTIONS, status(committed::isLasting));
            assertEquals(0, committed.position());
            assertEquals("first", text(committed.info().metadata()));
        }
        path = fixture.directory.resolve("neither");
        try (Store store = Store.create(fixture.engine, path, new StoreOptions())) {
            assertEquals(Status.OPTIONS, status(() -> store.commit(new Commit(), Lasting.SOON)));
        }
    }

    @Test
    void whatComesAfterALoadWaitsForACheckpoint() throws Exception {
        BulkLoad load = fixture.store.bulkLoad(1);
        load.put(values(fixture.store), new Key().group(0).set(bytes("k")), bytes("loaded"));
        load.finish();
        try (Committed committed = fixture.store.commit(new Commit(), Lasting.SOON)) {
            RetryException busy = assertThrows(RetryException.class, committed::await);
            assertEquals(Status.BUSY, busy.status());
            assertFalse(committed.isLasting());
            fixture.checkpoint(1);
            while (!committed.isLasting()) {
                Thread.sleep(1);
            }
            committed.await();
        }
    }

    @Test
    void misuseIsRefused() throws Exception {
        Store store = fixture.store;
        Writer writer = store.writer();
        Committed committed = writer.commit(new Commit(), Lasting.SOON);
        assertThrows(NullPointerException.class, () -> store.commit(new Commit(), null));
        assertThrows(NullPointerException.class, () -> writer.commit(null, Lasting.SOON));
        assertThrows(NullPointerException.class, () -> new StoreOptions().durability(null));
        Commit outside = new Commit().offset(new Offset(KeyGroupRange.of(0, 128), bytes("x")));
        assertEquals(Status.OPTIONS, status(() -> store.commit(outside, Lasting.SOON)));
        CompletableFuture<Void> elsewhere =
                CompletableFuture.runAsync(() -> writer.commit(new Commit(), Lasting.SOON));
        assertSame(WrongThreadException.class,
                assertThrows(java.util.concurrent.ExecutionException.class, elsewhere::get).getCause().getClass());
        assertEquals(Status.ARGUMENT.code(), Native.storeCommitLasting(store.handle(), writerOut(), 2, 0, 0));
        assertEquals(Status.NULL.code(), Native.storeCommitLasting(store.handle(), 0, 0, 0, 0));

        writer.close();
        assertThrows(StillOpenException.class, store::close);
        committed.close();
        committed.close();
        assertEquals("Committed (closed)", committed.toString());
        assertThrows(ClosedException.class, committed::await);
        assertThrows(ClosedException.class, committed::isLasting);
        assertThrows(ClosedException.class, committed::position);
        assertThrows(ClosedException.class, committed::info);

        Path path = fixture.directory.resolve("x");
        for (StoreOptions wrong : List.of(options().changelogBytes(0), options().changelogFileBytes(1_000))) {
            assertEquals(Status.OPTIONS, status(() -> Store.create(fixture.engine, path, wrong)));
        }
        for (StoreOptions wrong : List.of(options().changelogBytes(-1), options().changelogDelay(Duration.ofMillis(-1)))) {
            assertEquals(Status.ARGUMENT, status(() -> Store.create(fixture.engine, path, wrong)));
        }
        try (Store other = Store.create(fixture.engine, path, new StoreOptions().hostDurability(true).hostDurability(false))) {
            assertThrows(ClosedException.class, () -> {
                Store gone = other;
                gone.close();
                gone.commit(new Commit(), Lasting.SOON);
            });
        }
    }

    private static final Memory OUT = Memory.allocate(8);

    private static long writerOut() {
        return OUT.address;
    }
}
