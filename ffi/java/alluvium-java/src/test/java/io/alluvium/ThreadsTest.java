package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static io.alluvium.Fixture.text;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Many threads at once, objects that are closed under them, and threads of the engine that must not outlive it. */
class ThreadsTest {
    private static final int THREADS = 8;

    private interface Work {
        void run(int thread) throws Exception;
    }

    private static void all(Work work) throws InterruptedException {
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

    private static void closeInTheEnd(NativeObject object, AtomicLong refusals) {
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
        try (Stream<Path> tasks = Files.list(Path.of("/proc/self/task"))) {
            return tasks.map(ThreadsTest::name).filter(name -> name.startsWith("alluvium")).collect(Collectors.toList());
        } catch (IOException error) {
            throw new AssertionError(error);
        }
    }

    private static String name(Path task) {
        try {
            return Files.readString(task.resolve("comm")).strip();
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
