package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static io.alluvium.Fixture.text;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Many threads at once, objects that are closed under them, and threads of the engine that must not outlive it. */
class ThreadsTest {
    private static final int THREADS = 8;
    /** {@code PF_EXITING} of Linux, among a task's flags: it executes no code of the process any more. */
    private static final long EXITING = 4;

    interface Work {
        void run(int thread) throws Exception;
    }

    static void all(Work work) throws InterruptedException {
        ConcurrentLinkedQueue<Throwable> wrong = new ConcurrentLinkedQueue<>();
        List<Thread> threads = new ArrayList<>();
        for (int number = 0; number < THREADS; number++) {
            int own = number;
            Thread thread = new Thread(() -> {
                try {
                    work.run(own);
                } catch (Throwable error) {
                    wrong.add(error);
                }
            });
            threads.add(thread);
            thread.start();
        }
        for (Thread thread : threads) {
            thread.join();
        }
        if (!wrong.isEmpty()) {
            throw new AssertionError(wrong.size() + " threads failed", wrong.peek());
        }
    }

    private static void fill(Fixture fixture, State values) {
        try (Writer writer = fixture.store.writer()) {
            for (int number = 0; number < 1_000; number++) {
                writer.put(values, bytes("k" + number), value(number));
            }
        }
    }

    private static byte[] value(int number) {
        byte[] value = new byte[number % 700];
        java.util.Arrays.fill(value, (byte) number);
        return value;
    }

    @Test
    void readersAreClosedUnderTheirReaders() throws Exception {
        try (Fixture fixture = new Fixture()) {
            State values = fixture.store.state(StateOptions.value("values"));
            fill(fixture, values);
            AtomicLong reads = new AtomicLong();
            AtomicLong refusals = new AtomicLong();
            for (int round = 0; round < 30; round++) {
                ReadView view = round % 2 == 0 ? fixture.store.reader() : fixture.store.snapshot();
                CountDownLatch begun = new CountDownLatch(THREADS - 1);
                all(thread -> {
                    if (thread == 0) {
                        begun.await();
                        closeInTheEnd(view, refusals);
                        return;
                    }
                    for (int number = thread; ; number = (number + 7) % 1_000) {
                        try {
                            assertArrayEquals(value(number), view.get(values, bytes("k" + number)));
                            reads.incrementAndGet();
                        } catch (ClosedException closed) {
                            return;
                        } finally {
                            begun.countDown();
                        }
                    }
                });
            }
            assertTrue(reads.get() > 30 * (THREADS - 1));
            System.out.println(reads + " reads, closing refused " + refusals + " times");
        }
    }

    static void closeInTheEnd(NativeObject object, AtomicLong refusals) {
        while (!object.isClosed()) {
            try {
                object.close();
            } catch (RetryException inUse) {
                assertEquals(Status.IN_USE, inUse.status());
                refusals.incrementAndGet();
                Thread.yield();
            }
        }
    }

    @Test
    void cursorsAreUsedByManyAndClosed() throws Exception {
        try (Fixture fixture = new Fixture()) {
            State values = fixture.store.state(StateOptions.value("values"));
            fill(fixture, values);
            for (int round = 0; round < 20; round++) {
                try (Reader reader = fixture.store.reader()) {
                    Cursor cursor = reader.keys(values, fixture.store.range());
                    cursor.setBatch(3, 1 << 20);
                    all(thread -> {
                        try {
                            for (int step = 0; step < 200; step++) {
                                if (thread == 0 && step == 20) {
                                    closeInTheEnd(cursor, new AtomicLong());
                                } else if (cursor.next()) {
                                    cursor.key();
                                }
                            }
                        } catch (ClosedException | RetryException | IllegalStateException
                                | IndexOutOfBoundsException | NegativeArraySizeException refused) {
                            // What is for one thread at a time gives others nonsense, or an exception. It may not do worse.
                        }
                    });
                    closeInTheEnd(cursor, new AtomicLong());
                }
            }
        }
    }

    /** What is for one thread at a time gives several nonsense, or an exception. It may not do worse. */
    private static void nonsense(Runnable call) {
        try {
            call.run();
        } catch (AlluviumException | IllegalStateException | IllegalArgumentException | IndexOutOfBoundsException
                | NegativeArraySizeException | java.util.NoSuchElementException | java.nio.BufferOverflowException refused) {
            // As said.
        }
    }

    @Test
    void whatIsForOneThreadIsUsedByMany() throws Exception {
        try (Fixture fixture = new Fixture()) {
            State values = fixture.store.state(StateOptions.value("values"));
            State maps = fixture.store.state(StateOptions.map("maps"));
            State loaded = fixture.store.state(StateOptions.value("loaded"));
            fill(fixture, values);
            fixture.checkpoint(1);
            Key key = new Key();
            Keys keys = new Keys();
            Values found = new Values();
            Batch batch = new Batch(fixture.store);
            try (Writer writer = fixture.store.writer(); Reader reader = fixture.store.reader();
                    BulkLoad load = fixture.store.bulkLoad(10); CheckpointIterator iterator = fixture.store.iterate(1)) {
                writer.share();
                all(thread -> {
                    for (int step = 0; step < 400; step++) {
                        byte[] long_ = new byte[1 + (step * 37 + thread * 4_001) % 50_000];
                        int calls = step % 40;
                        nonsense(() -> reader.get(values, key.set(long_).namespace(bytes("n"))));
                        nonsense(() -> reader.mapGet(maps, key.set(bytes("k")), long_));
                        nonsense(() -> {
                            keys.clear();
                            for (int number = 0; number < calls * calls; number++) {
                                keys.add(bytes("k" + number % 1_000));
                            }
                            writer.getMany(values, keys, found);
                            found.get(0);
                            writer.prefetch(values, keys);
                        });
                        nonsense(() -> writer.updateMany(values, keys, (index, old) -> old));
                        nonsense(() -> writer.apply(batch.clear().put(values, key, long_).mapPut(maps, key, long_, long_)));
                        nonsense(() -> load.put(loaded, key, long_));
                        nonsense(() -> iterator.next());
                    }
                });
                writer.put(values, bytes("k"), bytes("all is well"));
                assertEquals("all is well", text(reader.get(values, bytes("k"))));
            }
        }
    }

    /** Fills a map, and says what is in it. */
    private static Map<Integer, String> untouched(Writer writer, State maps, State values) {
        Map<Integer, String> content = new TreeMap<>();
        Key key = Key.of(bytes("untouched"));
        for (int number = 0; number < 500; number++) {
            int place = number * 7 % 500;
            content.put(place, "value " + place);
            writer.mapPut(maps, key, ByteBuffer.allocate(4).putInt(place).array(), bytes("value " + place));
            writer.put(values, bytes("untouched " + place), bytes("value " + place));
        }
        return content;
    }

    /**
     * The engine hashes a key, goes down a tree with it and keeps it. Were it to see another one each time, as it did once, the tree would be out of
     * order, and later calls would search it without end, or break down.
     */
    @Test
    void keysAreWrittenOverWhileTheyAreUsed() throws Exception {
        try (Fixture fixture = new Fixture()) {
            State values = fixture.store.state(StateOptions.value("values"));
            State maps = fixture.store.state(StateOptions.map("maps"));
            State lists = fixture.store.state(StateOptions.list("lists"));
            State sums = fixture.store.state(StateOptions.merging("sums", StateOptions.Operator.U64_ADD));
            // Short ones, and some that are not.
            for (int userLen : new int[] {3, 12, 200}) {
                Key key = new Key();
                Keys keys = new Keys();
                Values found = new Values();
                Values given = new Values();
                for (int number = 0; number < 50; number++) {
                    keys.add(bytes("key " + number));
                    given.add(bytes("12345678"));
                }
                byte[] userKey = new byte[userLen];
                Random random = new Random(userLen);
                AtomicBoolean done = new AtomicBoolean();
                try (Writer writer = fixture.store.writer(); Reader reader = fixture.store.reader()) {
                    key.set(bytes("m")).namespace(bytes("n"));
                    key.withUserKey(userKey);
                    keys.index();
                    Memory one = key.memory();
                    Memory many = keys.data();
                    Thread scribbler = new Thread(() -> {
                        long state = userLen;
                        while (!done.get()) {
                            for (int step = 0; step < 100; step++) {
                                state = state * 6_364_136_223_846_793_005L + 1_442_695_040_888_963_407L;
                                // What follows "mn", and of the others their last digits.
                                one.buffer.put(2 + (int) (state >>> 33) % userLen, (byte) (state >>> 60));
                                many.buffer.put((int) (state >>> 33) % 250, (byte) ('0' + (state >>> 61)));
                            }
                        }
                    });
                    Map<Integer, String> content = untouched(writer, maps, values);
                    scribbler.start();
                    try {
                        for (int step = 0; step < 30_000; step++) {
                            random.nextBytes(userKey);
                            writer.mapPut(maps, key, userKey, userKey);
                            writer.mapGet(maps, key, userKey);
                            writer.mapContains(maps, key, userKey);
                            if (step % 3 == 0) {
                                writer.mapDelete(maps, key, userKey);
                                reader.mapGet(maps, key, userKey);
                            }
                            if (step % 1_000 == 0) {
                                writer.mapPopBelow(maps, key, new byte[] {(byte) (step / 1_000 % 8)});
                                writer.mapPopFirst(maps, key);
                                fixture.store.compact();
                            }
                            if (step % 16 == 0) {
                                writer.putMany(values, keys, given);
                                writer.getMany(values, keys, found);
                                writer.appendMany(lists, keys, given);
                                writer.mergeMany(sums, keys, given);
                                writer.deleteMany(lists, keys);
                                writer.prefetch(values, keys);
                            }
                            if (step % 10_000 == 5_000) {
                                fixture.checkpoint(userLen * 10 + step / 10_000 + 1);
                            }
                        }
                    } finally {
                        done.set(true);
                        scribbler.join();
                    }
                    // Whatever came to be in it: a walk finds it in order, and a search what the walk found.
                    TreeMap<byte[], byte[]> entries = new TreeMap<>(Arrays::compareUnsigned);
                    byte[] before = null;
                    try (Cursor cursor = writer.entries(maps, key, MapRange.all())) {
                        while (cursor.next()) {
                            assertTrue(before == null || Arrays.compareUnsigned(before, cursor.userKey()) < 0);
                            before = cursor.userKey();
                            entries.put(before, cursor.value());
                        }
                    }
                    assertTrue(entries.size() > 10, "there is something to walk through");
                    for (Map.Entry<byte[], byte[]> entry : entries.entrySet()) {
                        assertArrayEquals(entry.getValue(), writer.mapGet(maps, key, entry.getKey()));
                    }
                    for (byte[] entry : entries.keySet()) {
                        assertArrayEquals(entry, writer.mapPopFirst(maps, key).userKey());
                    }
                    assertTrue(writer.mapIsEmpty(maps, key));

                    Key other = Key.of(bytes("untouched"));
                    Map<Integer, String> seen = new TreeMap<>();
                    try (Cursor cursor = writer.entries(maps, other, MapRange.all())) {
                        while (cursor.next()) {
                            seen.put(ByteBuffer.wrap(cursor.userKey()).getInt(), text(cursor.value()));
                        }
                    }
                    assertEquals(content, seen);
                    for (int number : content.keySet()) {
                        assertEquals(content.get(number), text(writer.get(values, bytes("untouched " + number))));
                    }
                }
                fixture.checkpoint(userLen * 10 + 9);
                fixture.reopen(new StoreOptions());
                values = fixture.store.state(StateOptions.value("values"));
                maps = fixture.store.state(StateOptions.map("maps"));
                lists = fixture.store.state(StateOptions.list("lists"));
                sums = fixture.store.state(StateOptions.merging("sums", StateOptions.Operator.U64_ADD));
                try (Reader reader = fixture.store.reader()) {
                    assertEquals("value 499", text(reader.get(values, bytes("untouched 499"))));
                }
            }
        }
    }

    /** A buffer that is given may change its length while it is: no more is read than was copied. */
    @Test
    void aBufferGrowsWhileItIsPut() throws Exception {
        try (Fixture fixture = new Fixture(); Writer writer = fixture.store.writer()) {
            State values = fixture.store.state(StateOptions.value("values"));
            ByteBuffer value = ByteBuffer.allocate(1 << 20);
            AtomicBoolean done = new AtomicBoolean();
            Thread changer = new Thread(() -> {
                while (!done.get()) {
                    value.limit(1);
                    value.limit(1 << 20);
                }
            });
            changer.start();
            Key key = Key.of(bytes("k"));
            try {
                for (int step = 0; step < 2_000; step++) {
                    nonsense(() -> writer.put(values, key, value));
                    byte[] found = writer.get(values, key);
                    assertTrue(found == null || found.length == 1 || found.length == 1 << 20, "as long as it was at some time");
                }
            } finally {
                done.set(true);
                changer.join();
            }
        }
    }

    @Test
    void aSharedWriterCountsRight() throws Exception {
        try (Fixture fixture = new Fixture()) {
            State sums = fixture.store.state(StateOptions.merging("sums", StateOptions.Operator.U64_ADD));
            State values = fixture.store.state(StateOptions.value("values"));
            try (Writer writer = fixture.store.writer()) {
                writer.share();
                all(thread -> {
                    Key key = new Key();
                    for (int step = 0; step < 2_000; step++) {
                        writer.mergeLong(sums, key.set(bytes("sum")), 1);
                        writer.update(values, key.set(bytes("k" + step % 10)), old ->
                                bytes(Integer.toString(old == null ? 1 : Integer.parseInt(text(old)) + 1)));
                    }
                });
                assertEquals(THREADS * 2_000, new Values().add(writer.get(sums, bytes("sum"))).getLong(0, 0));
                for (int number = 0; number < 10; number++) {
                    assertEquals(Integer.toString(THREADS * 200), text(writer.get(values, bytes("k" + number))));
                }
            }
        }
    }

    @Test
    void aSharedWriterIsClosedUnderItsUsers() throws Exception {
        try (Fixture fixture = new Fixture()) {
            State values = fixture.store.state(StateOptions.value("values"));
            fill(fixture, values);
            for (int round = 0; round < 30; round++) {
                Writer writer = fixture.store.writer();
                writer.share();
                CountDownLatch begun = new CountDownLatch(THREADS - 1);
                all(thread -> {
                    if (thread == 0) {
                        begun.await();
                        closeInTheEnd(writer, new AtomicLong());
                        return;
                    }
                    for (int number = thread; ; number = (number + 7) % 1_000) {
                        try {
                            assertArrayEquals(value(number), writer.get(values, bytes("k" + number)));
                            writer.put(values, bytes("k" + number), value(number));
                        } catch (ClosedException closed) {
                            return;
                        } finally {
                            begun.countDown();
                        }
                    }
                });
            }
        }
    }

    /** While others open and close what is made from it, it isn't closed. */
    private static void closeAmongOthers(NativeObject object) {
        while (!object.isClosed()) {
            try {
                object.close();
            } catch (RetryException inUse) {
                assertEquals(Status.IN_USE, inUse.status());
                Thread.yield();
            } catch (StillOpenException others) {
                Thread.yield();
            }
        }
    }

    private interface Call {
        void run(int step) throws Exception;
    }

    /** Calls until what is called is closed, with pauses in which it may be, a thousand times at most; counts those that found it closed. */
    private static void callUntilClosed(CountDownLatch begun, AtomicLong found, Call call) throws Exception {
        for (int step = 0; step < 1_000; step++) {
            try {
                call.run(step);
            } catch (ClosedException closed) {
                assertEquals(Status.HANDLE, closed.status());
                found.incrementAndGet();
                return;
            } finally {
                begun.countDown();
            }
            if (step % 4 == 3) {
                Thread.sleep(2);
            }
        }
    }

    private static void callStore(Store store, State values, int thread, int step) {
        KeyGroupRange own = KeyGroupRange.of(thread, thread);
        switch (step % 12) {
            case 0:
                try (Writer writer = store.writer(own)) {
                    Key key = Key.of(bytes("own")).group(thread);
                    writer.put(values, key, bytes("not to be found again"));
                    assertEquals("not to be found again", text(writer.get(values, key)));
                }
                break;
            case 1:
                try (Reader reader = store.reader()) {
                    assertArrayEquals(value(step % 1_000), reader.get(values, bytes("k" + step % 1_000)));
                }
                break;
            case 2:
                try (Snapshot snapshot = store.snapshot()) {
                    assertArrayEquals(value(7), snapshot.get(values, bytes("k7")));
                }
                break;
            case 3:
                try (Reader reader = store.reader(); Cursor cursor = reader.keys(values, own)) {
                    cursor.next();
                }
                break;
            case 4:
                assertTrue(store.metrics().contains("# TYPE alluvium_"));
                break;
            case 5:
                assertEquals(1, store.checkpoints().get(0).label());
                break;
            case 6:
                assertEquals("values", store.state(StateOptions.value("values")).name());
                break;
            case 7:
                assertTrue(store.groupOf(bytes("k")) < 128);
                break;
            case 8:
                assertTrue(store.lastCommit().offsets().isEmpty());
                break;
            case 9:
                try (CheckpointFiles files = store.files(1)) {
                    assertTrue(files.list().size() >= 2);
                }
                break;
            case 10:
                try (CheckpointIterator iterator = store.iterate(1)) {
                    assertEquals("values", iterator.next().state().name());
                }
                break;
            default:
                store.watch(EventId.of(1, step));
                assertTrue(store.fired().isEmpty());
                break;
        }
    }

    @Test
    void storesAreClosedUnderTheirCallers() throws Exception {
        AtomicLong found = new AtomicLong();
        for (int round = 0; round < 10; round++) {
            long before = Engine.openObjects();
            try (Fixture fixture = new Fixture()) {
                Store store = fixture.store;
                State values = store.state(StateOptions.value("values"));
                fill(fixture, values);
                fixture.checkpoint(1);
                CountDownLatch begun = new CountDownLatch(THREADS - 1);
                all(thread -> {
                    if (thread == 0) {
                        begun.await();
                        closeAmongOthers(store);
                    } else {
                        callUntilClosed(begun, found, step -> callStore(store, values, thread, step + thread));
                    }
                });
                assertThrows(ClosedException.class, store::metrics);
                assertEquals(before + 1, Engine.openObjects(), "nothing but the engine is left");
                fixture.reopen(new StoreOptions());
                State again = fixture.store.state(StateOptions.value("values"));
                try (Reader reader = fixture.store.reader()) {
                    for (int number = 0; number < 1_000; number++) {
                        assertArrayEquals(value(number), reader.get(again, bytes("k" + number)));
                    }
                    assertEquals(null, reader.get(again, Key.of(bytes("own")).group(1)));
                }
            }
        }
        assertTrue(found.get() > 0, "some were still calling");
    }

    @Test
    void enginesAreClosedUnderTheirCallers() throws Exception {
        AtomicLong found = new AtomicLong();
        for (int round = 0; round < 10; round++) {
            long before = Engine.openObjects();
            Path directory = Fixture.directory();
            Engine engine = Engine.open(new EngineOptions().memoryBudgetBytes(32 << 20));
            CountDownLatch begun = new CountDownLatch(THREADS - 1);
            all(thread -> {
                if (thread == 0) {
                    begun.await();
                    closeAmongOthers(engine);
                    return;
                }
                callUntilClosed(begun, found, step -> {
                    switch ((step + thread) % 16) {
                        case 1:
                            assertTrue(engine.usedBytes() >= 0);
                            break;
                        case 2:
                            try (MemoryShare share = engine.memoryShare(0, 4 << 20)) {
                                assertEquals(0, share.usedBytes());
                            }
                            break;
                        case 3:
                            Path path = directory.resolve(thread + "-" + step);
                            try (Store store = Store.create(engine, path, new StoreOptions()); Writer writer = store.writer()) {
                                State values = store.state(StateOptions.value("values"));
                                writer.put(values, bytes("k"), bytes("v"));
                                assertEquals("v", text(writer.get(values, bytes("k"))));
                            }
                            break;
                        default:
                            assertEquals(32 << 20, engine.budgetBytes());
                            break;
                    }
                });
            });
            assertThrows(ClosedException.class, engine::budgetBytes);
            assertEquals(before, Engine.openObjects());
            assertEquals(List.of(), nativeThreads(), "as soon as it is closed");
            Fixture.delete(directory);
        }
        assertTrue(found.get() > 0, "some were still calling");
    }

    @Test
    void writersGoFromHandToHand() throws Exception {
        try (Fixture fixture = new Fixture()) {
            State values = fixture.store.state(StateOptions.value("values"));
            Writer writer = fixture.store.writer();
            writer.giveAway();
            AtomicLong changes = new AtomicLong();
            all(thread -> {
                for (int step = 0; step < 200; ) {
                    try {
                        writer.adopt();
                    } catch (WrongThreadException theirs) {
                        Thread.yield();
                        continue;
                    }
                    writer.update(values, bytes("k"), old ->
                            bytes(Integer.toString(old == null ? 1 : Integer.parseInt(text(old)) + 1)));
                    writer.giveAway();
                    changes.incrementAndGet();
                    step++;
                }
            });
            writer.adopt();
            assertEquals(Long.toString(changes.get()), text(writer.get(values, bytes("k"))));
            writer.close();
        }
    }

    /** The names of the threads of this process that are the engine's. */
    static List<String> nativeThreads() {
        return nativeThreads("alluvium");
    }

    /** The names of the threads of this process, as the system has them, that begin so. */
    static List<String> nativeThreads(String begin) {
        try (Stream<Path> tasks = Files.list(Path.of("/proc/self/task"))) {
            return tasks.map(ThreadsTest::name).filter(name -> name.startsWith(begin)).collect(Collectors.toList());
        } catch (IOException error) {
            throw new AssertionError(error);
        }
    }

    /** None of one that has ended: the system lists a thread for a moment longer than whoever waits for its end has to. */
    private static String name(Path task) {
        try {
            String stat = Files.readString(task.resolve("stat"));
            int end = stat.lastIndexOf(')');
            long flags = Long.parseLong(stat.substring(end + 2).split(" ")[6]);
            return (flags & EXITING) != 0 ? "" : stat.substring(stat.indexOf('(') + 1, end);
        } catch (IOException ended) {
            return "";
        }
    }

    @Test
    void anEngineThatIsClosedLeavesNoThread() {
        assertEquals(List.of(), nativeThreads());
        for (int round = 0; round < 10; round++) {
            try (Fixture fixture = new Fixture()) {
                State values = fixture.store.state(StateOptions.value("values"));
                fill(fixture, values);
                fixture.checkpoint(1);
                try (Writer writer = fixture.store.writer();
                        Ticket ticket = writer.submit(new Batch(fixture.store).get(values, Key.of(bytes("k5"))))) {
                    ticket.await();
                }
                // A thread gives itself its name when it first runs.
                assertTrue(!nativeThreads().isEmpty());
            }
            assertEquals(List.of(), nativeThreads(), "as soon as it is closed");
        }
    }
}
