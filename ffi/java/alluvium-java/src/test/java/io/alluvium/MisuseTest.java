package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static io.alluvium.Fixture.text;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ReadOnlyBufferException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** Everything that can be done wrong is answered with an exception that says so, and does no harm. */
class MisuseTest {
    private Fixture fixture;
    private State values;
    private long openBefore;

    @BeforeEach
    void open() {
        openBefore = Engine.openObjects();
        fixture = new Fixture();
        values = fixture.store.state(StateOptions.value("values"));
    }

    @AfterEach
    void close() {
        fixture.close();
        assertEquals(openBefore, Engine.openObjects());
    }

    private static Status status(Executable call) {
        return assertThrows(AlluviumException.class, call).status();
    }

    /** Runs something in another thread, and says what it threw. */
    private static Throwable elsewhere(Executable call) throws InterruptedException {
        AtomicReference<Throwable> thrown = new AtomicReference<>();
        Thread thread = new Thread(() -> {
            try {
                call.execute();
            } catch (Throwable error) {
                thrown.set(error);
            }
        });
        thread.start();
        thread.join();
        return thrown.get();
    }

    @Test
    void whatIsClosedIsClosed() {
        fixture.close();
        // With these there are objects of every kind.
        fixture = new Fixture(new StoreOptions()
                .durability(Durability.CHANGELOG)
                .changelogFileBytes(1 << 20)
                .historyCheckpoints(1)
                .fetch(true));
        values = fixture.store.state(StateOptions.value("values"));
        State maps = fixture.store.state(StateOptions.map("maps"));
        Store store = fixture.store;
        Writer writer = store.writer();
        Reader reader = store.reader();
        Snapshot snapshot = store.snapshot();
        Cursor cursor = reader.entries(maps, Key.of(bytes("k")), MapRange.all());
        Ticket ticket = writer.submit(new Batch(store).get(values, Key.of(bytes("k"))));
        PendingCheckpoint pending = store.checkpoint(Checkpoint.of(1));
        pending.await();
        CheckpointFiles files = store.files(1);
        CheckpointIterator iterator = store.iterate(1);
        BulkLoad load = store.bulkLoad(1);
        Committed committed = store.commit(new Commit(), Lasting.SOON);
        Past past = store.asOfPosition(committed.position());
        Fetches fetches = store.fetches().orElseThrow();
        MemoryShare share = fixture.engine.memoryShare(0, 2 << 20);
        List<NativeObject> all = List.of(
                cursor, ticket, iterator, files, pending, load, committed, past, fetches, share, snapshot, reader, writer);
        Set<String> kinds = Kinds.of(all);
        kinds.addAll(List.of("Store", "Engine"));
        assertEquals(Kinds.all(), kinds);
        for (NativeObject object : all) {
            assertFalse(object.isClosed());
            object.close();
            assertTrue(object.isClosed());
            object.close();
            assertTrue(object.toString().endsWith(" (closed)"), object.toString());
        }
        List<Executable> calls = new ArrayList<>(List.of(
                cursor::next, ticket::poll, ticket::await, iterator::hasNext, files::list, files::manifest, pending::await,
                pending::poll, load::finish, committed::await, committed::isLasting, committed::position, committed::info,
                () -> past.get(values, bytes("k")), () -> past.entries(maps, Key.of(bytes("k")), MapRange.all()),
                () -> past.setTimeMs(1), () -> fetches.await(1, Duration.ZERO), fetches::wake, fetches::cancelWaits,
                fetches::absentFiles, fetches::absentBytes, share::usedBytes, () -> share.setLimitBytes(2 << 20),
                () -> snapshot.get(values, bytes("k")), () -> reader.get(values, bytes("k")),
                () -> writer.get(values, bytes("k")), () -> writer.put(values, bytes("k"), bytes("v")), writer::isFull,
                () -> writer.keys(values, store.range()), () -> reader.keys(values, store.range()),
                () -> Store.create(fixture.engine, Path.of("x"), new StoreOptions().memoryShare(share))));
        for (Executable call : calls) {
            assertThrows(ClosedException.class, call);
        }
        store.close();
        assertThrows(ClosedException.class, store::metrics);
        assertThrows(ClosedException.class, store::writer);
        assertThrows(ClosedException.class, () -> store.checkpoint(Checkpoint.of(2)));
        fixture.engine.close();
        assertThrows(ClosedException.class, fixture.engine::budgetBytes);
        assertThrows(ClosedException.class, () -> Store.create(fixture.engine, Path.of("x"), new StoreOptions()));
    }

    @Test
    void nothingIsClosedThatHasOpenChildren() {
        Writer writer = fixture.store.writer();
        writer.put(values, bytes("k"), bytes("v"));
        StillOpenException error = assertThrows(StillOpenException.class, fixture.store::close);
        assertEquals(Status.HAS_CHILDREN, error.status());
        String open = "Store: something that was made from the object is still open: a writer";
        assertTrue(error.getMessage().startsWith(open), error.getMessage());
        assertThrows(StillOpenException.class, fixture.engine::close);
        assertEquals("v", text(writer.get(values, bytes("k"))), "it goes on");
        writer.close();
    }

    @Test
    void anEngineSaysWhetherItsThreadsHaveEnded() {
        Engine engine = Engine.open(new EngineOptions().memoryBudgetBytes(4 << 20));
        assertEquals(Status.ARGUMENT, status(() -> engine.closeWithin(Duration.ofMillis(-1))));
        MemoryShare share = engine.memoryShare(0, 2 << 20);
        assertThrows(StillOpenException.class, () -> engine.closeWithin(Duration.ZERO));
        assertEquals(4 << 20, engine.budgetBytes(), "it goes on");
        share.close();
        // However long that is, nobody waits once they have ended.
        assertTrue(engine.closeWithin(ChronoUnit.FOREVER.getDuration()));
        assertTrue(engine.isClosed());
        assertTrue(engine.closeWithin(Duration.ZERO), "it is told again");

        Engine closed = Engine.open(new EngineOptions().memoryBudgetBytes(4 << 20));
        closed.close();
        assertTrue(closed.closeWithin(Duration.ZERO));

        // What one has to do that holds a thread is on the native side (engine.rs). Here is what Java makes of it.
        Engine held = Engine.open(new EngineOptions().memoryBudgetBytes(4 << 20));
        assertFalse(held.end(handle -> {
            assertEquals(1, Native.close(NativeObject.ENGINE, handle));
            return 0;
        }));
        assertTrue(held.isClosed());
        held.close();
        assertFalse(held.closeWithin(Duration.ZERO));
    }

    @Test
    void aWriterIsItsThreads() throws Exception {
        Writer writer = fixture.store.writer();
        List<Executable> calls = List.of(
                () -> writer.get(values, bytes("k")), () -> writer.put(values, bytes("k"), bytes("v")), writer::giveAway,
                writer::adopt, writer::share, writer::close, writer::isFull, () -> writer.setTimeMs(1),
                () -> writer.apply(new Batch(fixture.store)), () -> writer.commit(new Commit()),
                () -> writer.getMany(values, new Keys(), new Values()));
        for (Executable call : calls) {
            assertSame(WrongThreadException.class, elsewhere(call).getClass());
        }
        writer.put(values, bytes("k"), bytes("mine"));
        writer.giveAway();
        assertThrows(WrongThreadException.class, () -> writer.get(values, bytes("k")));
        assertEquals(null, elsewhere(() -> {
            writer.adopt();
            writer.put(values, bytes("k"), bytes("theirs"));
        }));
        // That thread ended with the writer its own.
        writer.adopt();
        writer.adopt();
        assertEquals("theirs", text(writer.get(values, bytes("k"))));
        writer.share();
        writer.share();
        assertEquals(null, elsewhere(() -> writer.put(values, bytes("k"), bytes("everybody's"))));
        assertEquals("everybody's", text(writer.get(values, bytes("k"))));
        assertThrows(WrongThreadException.class, writer::adopt);
        assertThrows(WrongThreadException.class, writer::giveAway);
        assertEquals(null, elsewhere(writer::close));
    }

    @Test
    void rangesHaveOneWriter() {
        try (Writer writer = fixture.store.writer(KeyGroupRange.of(0, 9))) {
            assertEquals(Status.RANGE_CLAIMED, status(fixture.store::writer));
            assertEquals(Status.OUTSIDE_RANGE, status(() -> writer.get(values, new Key().group(10))));
            try (Writer beside = fixture.store.writer(KeyGroupRange.of(10, 127))) {
                beside.put(values, new Key().group(10), bytes("v"));
            }
        }
        assertThrows(IllegalArgumentException.class, () -> KeyGroupRange.of(5, 4));
        assertThrows(IllegalArgumentException.class, () -> KeyGroupRange.of(-1, 4));
        assertThrows(IllegalArgumentException.class, () -> new Key().group(65_536));
        assertEquals(Status.OUTSIDE_RANGE, status(() -> fixture.store.writer(KeyGroupRange.of(0, 128))));
    }

    @Test
    void statesAreOfAStoreAndAKind() {
        State lists = fixture.store.state(StateOptions.list("lists"));
        try (Writer writer = fixture.store.writer();
                Store other = Store.create(fixture.engine, fixture.directory.resolve("other"), new StoreOptions())) {
            assertEquals(Status.STATE, status(() -> writer.append(values, bytes("k"), bytes("v"))));
            assertEquals(Status.STATE, status(() -> writer.mapIsEmpty(values, new Key())));
            assertEquals(Status.STATE, status(() -> writer.get(lists, bytes("k"))));
            State foreign = other.state(StateOptions.value("values"));
            AlluviumException error = assertThrows(AlluviumException.class, () -> writer.get(foreign, bytes("k")));
            assertTrue(error.getMessage().contains("another store's"), error.getMessage());
            assertEquals(Status.STATE, status(() -> writer.apply(new Batch(other))));
            assertEquals(Status.STATE, status(() -> new Batch(other).put(values, new Key(), bytes("v"))));
        }
    }

    @Test
    void optionsAreChecked() {
        assertEquals(Status.OPTIONS, status(() -> Engine.open(new EngineOptions().threads(0))));
        assertEquals(Status.OPTIONS, status(() -> Engine.open(new EngineOptions().memoryBudgetBytes(1))));
        assertEquals(Status.ARGUMENT, status(() -> Engine.open(new EngineOptions().memoryBudgetBytes(-1))));
        Path path = fixture.directory.resolve("x");
        assertEquals(Status.OPTIONS, status(() -> Store.create(fixture.engine, path, new StoreOptions().keyGroups(0))));
        Path taken = fixture.directory.resolve("taken");
        try (Store store = Store.create(fixture.engine, taken, new StoreOptions());
                PendingCheckpoint pending = store.checkpoint(Checkpoint.of(1))) {
            pending.await();
        }
        assertEquals(Status.EXISTS, status(() -> Store.create(fixture.engine, taken, new StoreOptions())));
        RetryException locked = assertThrows(RetryException.class,
                () -> Store.openOrCreate(fixture.engine, fixture.directory.resolve("store"), new StoreOptions()));
        assertEquals(Status.LOCKED, locked.status());
        assertThrows(NullPointerException.class, () -> StateOptions.value(null).write(new Scratch()));
        assertEquals(ErrorClass.USAGE, assertThrows(AlluviumException.class,
                () -> fixture.store.state(StateOptions.value(""))).errorClass());
    }

    @Test
    void damageIsTold() throws Exception {
        try (Writer writer = fixture.store.writer()) {
            for (int number = 0; number < 1_000; number++) {
                writer.put(values, bytes("k" + number), bytes("value " + number));
            }
        }
        fixture.checkpoint(1);
        fixture.store.close();
        Path store = fixture.directory.resolve("store");
        try (java.util.stream.Stream<Path> files = java.nio.file.Files.list(store)) {
            for (Path file : (Iterable<Path>) files.filter(java.nio.file.Files::isRegularFile)::iterator) {
                byte[] content = java.nio.file.Files.readAllBytes(file);
                for (int at = 0; at < content.length; at += 61) {
                    content[at] ^= 0x55;
                }
                java.nio.file.Files.write(file, content);
            }
        }
        CorruptException error = assertThrows(
                CorruptException.class, () -> Store.open(fixture.engine, store, new StoreOptions()));
        assertEquals(ErrorClass.CORRUPT, error.errorClass());
        fixture.store = Store.create(fixture.engine, fixture.directory.resolve("new"), new StoreOptions());
    }

    /** A call that fails leaves the memory of a writer and of a key as the next one expects it. */
    @Test
    void argumentsThatFailHalfwayLeaveNoTrace() {
        try (Writer writer = fixture.store.writer()) {
            Key key = Key.of(bytes("short"));
            writer.put(values, key, bytes("s"));
            ByteBuffer readOnly = ByteBuffer.allocate(100).asReadOnlyBuffer();
            assertThrows(ReadOnlyBufferException.class, () -> writer.get(values, key, readOnly));
            writer.put(values, bytes("longer"), bytes("a longer value"));
            byte[] into = new byte[14];
            assertEquals(14, writer.get(values, bytes("longer"), into));
            assertEquals("a longer value", text(into));

            byte[] four = bytes("four");
            for (int[] part : new int[][] {{0, 5}, {4, 1}, {0, -1}, {-1, 2}, {2, -5}, {Integer.MAX_VALUE, 1}, {1, Integer.MAX_VALUE}}) {
                assertThrows(IndexOutOfBoundsException.class, () -> key.set(four, part[0], part[1]));
                assertEquals("s", text(writer.get(values, key)));
            }
            List<byte[]> withNull = new ArrayList<>(List.of(bytes("a")));
            withNull.add(null);
            State lists = fixture.store.state(StateOptions.list("lists of nothing"));
            assertThrows(NullPointerException.class, () -> writer.putList(lists, key, withNull));
            assertEquals(List.of(), writer.list(lists, key));
            assertThrows(NullPointerException.class, () -> writer.put(values, key, (byte[]) null));
            assertThrows(NullPointerException.class, () -> writer.mapPut(values, key, null, four));
            assertEquals("s", text(writer.get(values, key)));
        }
    }

    /** What was asked is read before the answer is written over it. */
    @Test
    void anAnswerMayGoWhereItsKeyLies() {
        try (Writer writer = fixture.store.writer()) {
            Memory memory = Memory.allocate(64);
            byte[] value = bytes("12345678901234567890");
            for (int number = 0; number < 100; number++) {
                writer.put(values, bytes("k" + number), value);
            }
            for (int number = 0; number < 100; number++) {
                byte[] name = bytes("k" + number);
                memory.copyIn(0, name, 0, name.length);
                assertEquals(20, writer.getAt(values, -1, memory.address, name.length, 0, memory.address, 64));
                assertEquals(text(value), text(memory.bytes(0, 20)));
                memory.copyIn(0, name, 0, name.length);
                // The value that is put is its own key, and more.
                writer.putAt(values, -1, memory.address, name.length, 0, memory.address, 20);
                assertEquals(text(memory.bytes(0, 20)), text(writer.get(values, name)));
                writer.put(values, name, value);
            }
            memory.keep();
        }
    }

    /** An answer of the same length was taken for one that another thread's call had kept. */
    @Test
    void anAnswerThatWasKeptIsAskedForByItsNumber() {
        Memory request = Memory.allocate(64);
        Memory[] small = {Memory.allocate(8), Memory.allocate(8)};
        Memory large = Memory.allocate(64);
        long[] numbers = new long[2];
        long len = 0;
        for (int one = 0; one < 2; one++) {
            request.buffer.putLong(0, 1).putInt(8, 16).putLong(12, one).putLong(20, one);
            len = Native.multisetOperand(request.address, 28, small[one].address, 8);
            assertTrue(16 < len && len <= 64, "the length is " + len);
            numbers[one] = small[one].buffer.getLong(0);
        }
        assertEquals(Native.NOT_FOUND, Native.keptAnswer(numbers[0], large.address, 64), "the last one is kept");
        assertEquals(Native.NOT_FOUND, Native.keptAnswer(numbers[1], large.address, 8), "too little memory");
        assertEquals(len, Native.keptAnswer(numbers[1], large.address, 64));
        byte[] element = new byte[16];
        element[0] = 1;
        element[8] = 1;
        assertArrayEquals(Multiset.operand(element, 1), large.bytes(0, (int) len));
        assertEquals(Native.NOT_FOUND, Native.keptAnswer(numbers[1], large.address, 64), "once");
        request.keep();
        large.keep();
    }

    @Test
    void handlesThatWereNeverGivenOutAreNone() {
        assertEquals(Kinds.all().size(), Kinds.numbers().size());
        Memory memory = Memory.allocate(8);
        for (long handle : new long[] {0, 1, -1, Long.MAX_VALUE, Long.MIN_VALUE, 0x1234_5678_9ABC_DEF0L}) {
            assertEquals(Status.HANDLE.code(), Native.storeCompact(handle));
            assertEquals(Status.HANDLE.code(), Native.writerGet(handle, 0, -1, memory.address, 8, 0, memory.address, 8));
            // The others are no kinds of Java's.
            for (int kind = 0; kind < 100; kind++) {
                Status status = Kinds.numbers().contains(kind) ? Status.HANDLE : Status.ARGUMENT;
                assertEquals(status.code(), Native.close(kind, handle), "kind " + kind);
                assertEquals(status.code(), Native.release(kind, handle), "kind " + kind);
            }
        }
        try (Writer writer = fixture.store.writer()) {
            long handle = writer.handle();
            assertEquals(Status.NULL.code(), Native.writerGet(handle, 0, -1, 0, 8, 0, memory.address, 8));
            assertEquals(Status.ARGUMENT.code(), Native.writerGet(handle, 0, -1, memory.address, -1, 0, memory.address, 8));
            assertEquals(Status.TOO_LONG.code(), Native.writerGet(handle, 0, -1, memory.address, Integer.MAX_VALUE, 1, 0, 0));
            assertEquals(Status.ARGUMENT.code(), Native.writerGet(handle, -1, -1, memory.address, 8, 0, memory.address, 8));
            assertEquals(Status.STATE.code(), Native.writerGet(handle, 9, -1, memory.address, 8, 0, memory.address, 8));
            assertEquals(Status.ARGUMENT.code(), Native.writerApply(handle, memory.address, 8));
            assertEquals(Status.ARGUMENT.code(), Native.writerGetMany(
                    handle, 0, Integer.MAX_VALUE, memory.address, memory.address, 8, memory.address, memory.address, 8));
            assertEquals(Status.HANDLE.code(), Native.storeCompact(handle), "of another kind");
            // Indexes that point outside of their data, before and behind it, and namespaces longer than their keys.
            for (long entry : new long[] {9, Integer.MAX_VALUE, -1, 4 | 5L << 48, 4 | (70_000L << 31)}) {
                memory.buffer.putLong(0, entry);
                assertEquals(Status.ARGUMENT.code(), Native.writerPrefetch(handle, 0, 1, memory.address, memory.address, 8));
            }
            Keys keys = new Keys().add(bytes("k"));
            for (long entry : new long[] {9L | 1L << 32, 1L << 62, Integer.MAX_VALUE | 8L << 32, 0xFFFF_FFFFL | 8L << 32}) {
                memory.buffer.putLong(0, entry);
                assertEquals(Status.ARGUMENT.code(), Native.writerWriteMany(
                        handle, 0, 0, 1, keys.index().address, keys.data().address, 1, memory.address, memory.address, 8));
            }
            assertEquals(Status.ARGUMENT.code(), Native.writerWriteMany(
                    handle, 0, 9, 1, keys.index().address, keys.data().address, 1, memory.address, memory.address, 8));
        }
        memory.keep();
    }

    /**
     * No call comes to a bug of the engine that anybody knows of: that a panic ends at the border, and what is left of the object, is shown on the native side
     * ({@code entry.rs}). Here is what Java makes of it.
     */
    @Test
    void aBugOfTheEngineIsToldAsSuch() {
        Reader reader = fixture.store.reader();
        AlluviumException told = assertThrows(AlluviumException.class, () -> reader.close(handle -> {
            assertEquals(0, Native.close(NativeObject.READER, handle));
            return Status.PANIC.code();
        }));
        assertSame(Status.PANIC, told.status());
        assertSame(ErrorClass.FAIL, told.errorClass());
        assertSame(AlluviumException.class, told.getClass());
        assertEquals("Reader: PANIC", told.getMessage());
        assertTrue(reader.isClosed(), "it could be closed, and is");
        reader.close();
        assertThrows(ClosedException.class, () -> reader.get(values, bytes("k")));
    }

    @Test
    void statusesAreAllKnown() {
        Set<Integer> codes = new HashSet<>();
        for (Status status : Status.values()) {
            assertTrue(codes.add(status.code()));
            assertSame(status, Status.of(status.code()));
        }
        assertSame(Status.OTHER, Status.of(-1_234));
    }
}
