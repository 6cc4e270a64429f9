package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What options of engines and stores change, where no other test sees it. */
class OptionsTest {
    /** As the system has it on x86-64. */
    private static final int O_DIRECT = 0_40000;

    private static final int KEYS = 500;

    private Path directory;
    private long openBefore;

    @BeforeEach
    void open() {
        openBefore = Engine.openObjects();
        directory = Fixture.directory();
    }

    @AfterEach
    void close() {
        assertEquals(openBefore, Engine.openObjects());
        Fixture.delete(directory);
    }

    private static EngineOptions engine() {
        return new EngineOptions().memoryBudgetBytes(16 << 20);
    }

    private static long metric(Store store, String name) {
        Matcher found = Pattern.compile("(?m)^alluvium_" + name + " (\\d+)$").matcher(store.metrics());
        assertTrue(found.find(), name);
        return Long.parseLong(found.group(1));
    }

    private static byte[] value(int number) {
        byte[] value = new byte[1_000];
        java.util.Arrays.fill(value, (byte) number);
        return value;
    }

    /** Fills a store and closes it. */
    private void fill() {
        try (Engine engine = Engine.open(engine());
                Store store = Store.create(engine, directory.resolve("store"), new StoreOptions().compress(false));
                Writer writer = store.writer()) {
            State values = store.state(StateOptions.value("values"));
            for (int number = 0; number < KEYS; number++) {
                writer.put(values, bytes("k" + number), value(number));
            }
            try (PendingCheckpoint pending = store.checkpoint(Checkpoint.of(1))) {
                pending.await();
            }
        }
    }

    /** Reads all of a store at once, from disk. */
    private static void readAll(Store store) {
        State values = store.state(StateOptions.value("values"));
        Keys keys = new Keys();
        Values found = new Values();
        for (int number = 0; number < KEYS; number++) {
            keys.add(bytes("k" + number));
        }
        try (Writer writer = store.writer()) {
            writer.getMany(values, keys, found);
        }
        for (int number = 0; number < KEYS; number++) {
            assertArrayEquals(value(number), found.get(number));
        }
    }

    /** The threads that read where there is no ring. */
    private static Set<String> readers() {
        return ThreadsTest.nativeThreads().stream()
                .filter(name -> name.startsWith("alluvium-read-"))
                .collect(Collectors.toCollection(TreeSet::new));
    }

    /** Waits until they are these: they name themselves, and end, a moment later. */
    private static void areReaders(Set<String> expected) throws InterruptedException {
        for (int tries = 0; tries < 1_000 && !readers().equals(expected); tries++) {
            Thread.sleep(10);
        }
        assertEquals(expected, readers());
    }

    @Test
    void storagesReadByThreadsOrByARing() throws Exception {
        fill();
        Set<String> threads = IntStream.range(0, 8).mapToObj(number -> "alluvium-read-" + number).collect(Collectors.toCollection(TreeSet::new));
        Path path = directory.resolve("store");
        try (Engine engine = Engine.open(engine().storage(EngineOptions.Storage.POSIX));
                Store store = Store.open(engine, path, new StoreOptions())) {
            readAll(store);
            areReaders(threads);
            assertEquals(0, metric(store, "io_uring_fallbacks_total"), "it isn't asked for");
        }
        areReaders(Set.of());
        boolean hasRing;
        try (Engine engine = Engine.open(engine().storage(EngineOptions.Storage.IO_URING))) {
            try (Store store = Store.open(engine, path, new StoreOptions())) {
                hasRing = true;
                readAll(store);
                assertEquals(Set.of(), readers());
            } catch (AlluviumException denied) {
                hasRing = false;
                assertEquals(Status.IO, denied.status(), denied.getMessage());
                assertTrue(denied.getMessage().contains("io_uring can't be set up"), denied.getMessage());
            }
        }
        for (EngineOptions options : new EngineOptions[] {engine(), engine().storage(EngineOptions.Storage.AUTO)}) {
            try (Engine engine = Engine.open(options); Store store = Store.open(engine, path, new StoreOptions())) {
                readAll(store);
                areReaders(hasRing ? Set.of() : threads);
                assertEquals(hasRing ? 0 : 1, metric(store, "io_uring_fallbacks_total"));
            }
            areReaders(Set.of());
        }
    }

    /** How the segments are open that this process has open: past the page cache or not. */
    private List<Boolean> pastTheCache() throws IOException {
        List<Boolean> found = new ArrayList<>();
        try (Stream<Path> files = Files.list(Path.of("/proc/self/fd"))) {
            for (Path file : files.collect(Collectors.toList())) {
                String target;
                try {
                    target = Files.readSymbolicLink(file).toString();
                } catch (IOException closed) {
                    continue;
                }
                if (target.startsWith(directory.toRealPath().toString()) && target.endsWith(".segment")) {
                    String info = Files.readString(Path.of("/proc/self/fdinfo", file.getFileName().toString()));
                    Matcher flags = Pattern.compile("flags:\\s+(\\d+)").matcher(info);
                    assertTrue(flags.find(), info);
                    found.add((Integer.parseInt(flags.group(1), 8) & O_DIRECT) != 0);
                }
            }
        }
        found.sort(null);
        return found;
    }

    @Test
    void whatGoesThroughThePageCache() throws Exception {
        fill();
        for (EngineOptions.PageCache cache : EngineOptions.PageCache.values()) {
            try (Engine engine = Engine.open(engine().pageCache(cache));
                    Store store = Store.open(engine, directory.resolve("store"), new StoreOptions())) {
                try (Writer writer = store.writer()) {
                    assertArrayEquals(value(7), writer.get(store.state(StateOptions.value("values")), bytes("k7")));
                }
                readAll(store);
                boolean isDirect = metric(store, "io_direct_fallbacks_total") == 0;
                List<Boolean> expected;
                switch (cache) {
                    case NOTHING:
                        expected = List.of(isDirect);
                        break;
                    case SINGLE_READS:
                        // Where that is everything anyway it needn't be opened twice.
                        expected = isDirect ? List.of(false, true) : List.of(false);
                        break;
                    default:
                        expected = List.of(false);
                        break;
                }
                assertEquals(expected, pastTheCache(), cache.toString());
            }
            assertEquals(List.of(), pastTheCache());
        }
    }

    private static void refused(Status status, org.junit.jupiter.api.function.Executable call) {
        AlluviumException refused = assertThrows(AlluviumException.class, call);
        assertEquals(status, refused.status(), refused.getMessage());
    }

    @Test
    void theBudgetIsRaisedUpToTheCeiling() {
        long ceiling = 24 << 20;
        try (Engine engine = Engine.open(engine().memoryCeilingBytes(ceiling))) {
            assertEquals(16 << 20, engine.budgetBytes());
            for (long bytes : new long[] {ceiling, 4 << 20, ceiling}) {
                engine.setBudgetBytes(bytes);
                assertEquals(bytes, engine.budgetBytes());
            }
            refused(Status.OPTIONS, () -> engine.setBudgetBytes(ceiling + 1));
            refused(Status.OPTIONS, () -> engine.setBudgetBytes((4 << 20) - 1));
            refused(Status.ARGUMENT, () -> engine.setBudgetBytes(-1));
            assertEquals(ceiling, engine.budgetBytes());
        }
        try (Engine engine = Engine.open(engine())) {
            refused(Status.OPTIONS, () -> engine.setBudgetBytes((16 << 20) + 1));
        }
        refused(Status.ARGUMENT, () -> Engine.open(engine().memoryCeilingBytes(-1)));
    }

    @Test
    void soManySnapshotsLiveAtOnce() throws Exception {
        try (Engine engine = Engine.open(engine());
                Store store = Store.create(engine, directory.resolve("store"), new StoreOptions().snapshotsMax(2));
                Snapshot first = store.snapshot()) {
            Snapshot second = store.snapshot();
            RetryException busy = assertThrows(RetryException.class, store::snapshot);
            assertEquals(Status.BUSY, busy.status());
            second.close();
            // The engine may still be at something for it.
            Snapshot third = null;
            for (int tries = 0; third == null; tries++) {
                try {
                    third = store.snapshot();
                } catch (RetryException still) {
                    assertEquals(Status.BUSY, still.status());
                    assertTrue(tries < 1_000, "it is let go of");
                    Thread.sleep(10);
                }
            }
            third.close();
            assertEquals(store.range(), KeyGroupRange.of(0, 127), first.toString());
        }
    }

    @Test
    void soMuchIsStagedAtOnce() {
        long most = 20_000;
        StoreOptions options = new StoreOptions().transactional(true).stagedBytesMax(most);
        try (Engine engine = Engine.open(engine());
                Store store = Store.create(engine, directory.resolve("store"), options);
                Writer writer = store.writer()) {
            State values = store.state(StateOptions.value("values"));
            for (int transaction = 0; transaction < 4; transaction++) {
                int number = 0;
                while (store.stagedBytes() < most) {
                    writer.put(values, bytes("k" + number++), value(transaction));
                }
                assertTrue(10 < number && number <= 20, number + " values of 1,000 bytes");
                String next = "k" + number;
                RetryException staged = assertThrows(RetryException.class, () -> writer.put(values, bytes(next), new byte[1]));
                assertEquals(Status.STAGED, staged.status());
                assertArrayEquals(value(transaction), writer.get(values, bytes("k0")));
                if (transaction % 2 == 0) {
                    writer.abortTransaction();
                } else {
                    writer.commit(new Commit());
                }
                assertEquals(0, store.stagedBytes());
            }
        }
    }

    /** What of a checkpoint's files is new, and how much had changed, to the byte. */
    @Test
    void aCheckpointSaysHowMuchChanged() throws IOException {
        StoreOptions options = new StoreOptions().compress(false).retainedCheckpoints(3);
        try (Engine engine = Engine.open(engine());
                Store store = Store.create(engine, directory.resolve("store"), options);
                Writer writer = store.writer()) {
            State values = store.state(StateOptions.value("values"));
            State maps = store.state(StateOptions.map("maps"));
            for (int number = 100; number < 200; number++) {
                writer.put(values, bytes("" + number), bytes("1234567"));
            }
            Set<String> known = new TreeSet<>();
            int first = changed(store, 1, 100 * (3 + 7), known);
            writer.put(values, bytes("150"), bytes("12345"));
            writer.mapPut(maps, Key.of(bytes("map")).namespace(bytes("ns")), bytes("user"), bytes("v"));
            assertEquals(first + 1, changed(store, 2, 3 + 5 + 3 + 2 + 4 + 1, known));
            // Nothing was written since: it is of the same epoch.
            assertEquals(first + 1, changed(store, 3, 0, known));
        }
    }

    /** Takes a checkpoint, and says its epoch. */
    private static int changed(Store store, int label, long changedBytes, Set<String> known) {
        CheckpointInfo info;
        try (PendingCheckpoint pending = store.checkpoint(Checkpoint.of(label))) {
            info = pending.await();
        }
        assertEquals(changedBytes, info.changedBytes());
        long flushed = 0;
        long all = 0;
        try (CheckpointFiles files = store.files(label)) {
            for (CheckpointFiles.File file : files.list()) {
                all += file.bytes();
                boolean isNew = known.add(file.name());
                flushed += isNew && file.name().endsWith(".segment") ? file.bytes() : 0;
            }
            assertEquals(info.epoch(), files.info().epoch());
            assertEquals(info.changedBytes(), files.info().changedBytes());
        }
        assertEquals(flushed, info.flushedBytes());
        assertEquals(changedBytes == 0, flushed == 0);
        assertEquals(all, info.totalBytes());
        return info.epoch();
    }
}
