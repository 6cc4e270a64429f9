package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static io.alluvium.Fixture.text;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Checkpoints from the barrier to their release, restoring, transactions, bulk loads, and segments that are elsewhere. */
class CheckpointsTest {
    private Fixture fixture;

    @BeforeEach
    void open() {
        fixture = new Fixture(new StoreOptions().retainedCheckpoints(2));
    }

    @AfterEach
    void close() {
        fixture.close();
    }

    private State values(Store store) {
        return store.state(StateOptions.value("values"));
    }

    private void put(int from, int to, String prefix) {
        try (Writer writer = fixture.store.writer()) {
            for (int number = from; number < to; number++) {
                writer.put(values(fixture.store), bytes("k" + number), bytes(prefix + number));
            }
        }
    }

    private static String get(Store store, State state, String key) {
        try (Reader reader = store.reader()) {
            return text(reader.get(state, bytes(key)));
        }
    }

    @Test
    void aCheckpointCarriesWhatTheHostGaveIt() {
        put(0, 100, "v");
        Checkpoint checkpoint = Checkpoint.of(41).metadata(bytes("meta")).standalone()
                .offset(new Offset(KeyGroupRange.of(0, 63), bytes("low")))
                .offset(new Offset(KeyGroupRange.of(64, 127), bytes("high")));
        try (Writer writer = fixture.store.writer(); PendingCheckpoint pending = writer.checkpoint(checkpoint)) {
            CheckpointInfo info = pending.await();
            assertEquals(41, info.label());
            assertEquals("meta", text(info.metadata()));
            assertEquals(KeyGroupRange.of(64, 127), info.offsets().get(1).range());
            assertEquals("high", text(info.offsets().get(1).bytes()));
            assertTrue(info.segments() > 0 && info.newSegments() == info.segments());
            assertTrue(info.totalBytes() >= info.newBytes() && info.newBytes() > 0);
            assertTrue(info.createdMs() > 1_600_000_000_000L);
            assertEquals(info.number(), pending.poll().orElseThrow().number());
        }
        assertFalse(fixture.store.restored().isPresent());
        fixture.reopen(new StoreOptions());
        assertEquals(41, fixture.store.restored().orElseThrow().label());
        assertEquals("v99", get(fixture.store, values(fixture.store), "k99"));
    }

    @Test
    void checkpointsAreKeptAndLetGo() throws InterruptedException {
        for (int label = 1; label <= 4; label++) {
            put(0, 10, label + "/");
            fixture.checkpoint(label);
            if (label == 1) {
                fixture.store.retain(1);
            }
        }
        // Those that are too many go in the background.
        assertEquals(List.of(1L, 3L, 4L), kept(3));
        fixture.store.release(1);
        assertEquals(List.of(3L, 4L), kept(2));
        assertEquals(Status.CHECKPOINT, assertThrows(AlluviumException.class, () -> fixture.store.retain(77)).status());
        put(0, 10, "lost/");
        fixture.store.close();
        fixture.store = Store.openCheckpoint(fixture.engine, fixture.directory.resolve("store"), 3, new StoreOptions());
        assertEquals("3/5", get(fixture.store, values(fixture.store), "k5"));
    }

    private List<Long> labels() {
        return fixture.store.checkpoints().stream().map(CheckpointInfo::label).collect(Collectors.toList());
    }

    @Test
    void theHostsWordDecides() throws InterruptedException {
        StoreOptions byHost = new StoreOptions().hostRetention(10);
        fixture.checkpoint(1);
        fixture.reopen(byHost);
        for (int label = 2; label <= 4; label++) {
            put(0, 10, label + "/");
            fixture.checkpoint(label);
        }
        assertEquals(List.of(1L, 2L, 3L, 4L), kept(4));
        // Words are acted upon in the background.
        fixture.store.abort(2);
        assertEquals(List.of(1L, 3L, 4L), kept(3));
        fixture.store.confirm(3);
        fixture.store.subsume(3);
        fixture.store.confirm(4);
        assertEquals(List.of(4L), kept(1));
        fixture.store.confirm(77);
    }

    /** The labels of what is kept, when that is so many, or what it is after ten seconds. */
    private List<Long> kept(int count) throws InterruptedException {
        for (int tries = 0; tries < 1_000 && labels().size() != count; tries++) {
            Thread.sleep(10);
        }
        return labels();
    }

    @Test
    void anAbortedCheckpointLosesNothing() {
        put(0, 10, "v");
        try (PendingCheckpoint pending = fixture.store.checkpoint(Checkpoint.of(1))) {
            try {
                pending.abort();
            } catch (AlluviumException complete) {
                // It was faster.
                assertEquals(Status.CHECKPOINT, complete.status());
            }
        }
        fixture.checkpoint(2);
        fixture.reopen(new StoreOptions());
        assertEquals("v3", get(fixture.store, values(fixture.store), "k3"));
    }

    @Test
    void storesAreRestoredFromOthers() throws Exception {
        put(0, 500, "v");
        fixture.checkpoint(7);
        Path exported = Files.createDirectory(fixture.directory.resolve("exported"));
        fixture.store.export(7, exported);
        StoreOptions low = new StoreOptions().range(KeyGroupRange.of(0, 63));
        StoreOptions high = new StoreOptions().range(KeyGroupRange.of(64, 127));
        Path a = fixture.directory.resolve("a");
        Path b = fixture.directory.resolve("b");
        int found = 0;
        try (Store one = Store.restore(fixture.engine, a, List.of(CheckpointSource.newest(exported)), low);
                Store two = Store.restore(fixture.engine, b, List.of(CheckpointSource.labelled(exported, 7)), high)) {
            assertEquals(KeyGroupRange.of(64, 127), two.range());
            for (int number = 0; number < 500; number++) {
                Store store = one.range().contains(one.groupOf(bytes("k" + number))) ? one : two;
                assertEquals("v" + number, get(store, values(store), "k" + number));
                found += store == one ? 1 : 0;
            }
            for (Store store : List.of(one, two)) {
                try (PendingCheckpoint pending = store.checkpoint(Checkpoint.of(8))) {
                    pending.await();
                }
            }
        }
        assertTrue(found > 100 && found < 400, "both halves have some: " + found);
        List<CheckpointSource> both = List.of(CheckpointSource.newest(a), CheckpointSource.newest(b));
        Path whole = fixture.directory.resolve("whole");
        try (Store store = Store.restore(fixture.engine, whole, both, new StoreOptions())) {
            for (int number = 0; number < 500; number++) {
                assertEquals("v" + number, get(store, values(store), "k" + number));
            }
        }
        AlluviumException error = assertThrows(AlluviumException.class,
                () -> Store.open(fixture.engine, fixture.directory.resolve("none"), new StoreOptions()));
        assertEquals(Status.NO_CHECKPOINT, error.status());
        assertTrue(error.getMessage().contains("none"), error.getMessage());
    }

    @Test
    void segmentsThatAreElsewhereAreBrought() throws Exception {
        put(0, 2_000, "some value that is long enough to be worth a file ");
        fixture.checkpoint(1);
        byte[] manifest;
        Map<String, byte[]> elsewhere = new HashMap<>();
        try (CheckpointFiles files = fixture.store.files(1)) {
            manifest = files.manifest();
            List<CheckpointFiles.File> list = files.list();
            for (int place = 0; place < list.size(); place++) {
                elsewhere.put(list.get(place).name(), files.read(place, 0, (int) list.get(place).bytes()));
                assertFalse(list.get(place).isShared());
            }
            assertArrayEquals(manifest, elsewhere.get(list.get(list.size() - 1).name()));
        }
        StoreOptions options = new StoreOptions().fetch(true);
        Path path = fixture.directory.resolve("absent");
        try (Store store = Store.restoreAbsent(fixture.engine, path, List.of(manifest), options);
                Fetches fetches = store.fetches().orElseThrow()) {
            assertTrue(fetches.absentFiles() > 0);
            Thread host = new Thread(() -> serve(fetches, elsewhere));
            host.start();
            for (int number = 0; number < 2_000; number += 100) {
                String value = get(store, values(store), "k" + number);
                assertEquals("some value that is long enough to be worth a file " + number, value);
            }
            host.join();
            assertEquals(0, fetches.absentFiles());
        }
        assertFalse(fixture.store.fetches().isPresent());
    }

    private static void serve(Fetches fetches, Map<String, byte[]> elsewhere) {
        while (fetches.absentFiles() > 0) {
            for (Fetches.Request request : fetches.await(16, Duration.ofMillis(100))) {
                byte[] file = elsewhere.get(request.file());
                byte[] wanted = new byte[request.len()];
                System.arraycopy(file, (int) request.offset(), wanted, 0, wanted.length);
                fetches.complete(request, wanted);
            }
        }
    }

    @Test
    void whatIsNotBroughtIsAbsent() {
        put(0, 10, "v");
        fixture.checkpoint(1);
        byte[] manifest;
        try (CheckpointFiles files = fixture.store.files(1)) {
            manifest = files.manifest();
        }
        Path path = fixture.directory.resolve("absent");
        try (Store store = Store.restoreAbsent(fixture.engine, path, List.of(manifest), new StoreOptions().fetch(true));
                Fetches fetches = store.fetches().orElseThrow()) {
            Thread host = new Thread(() -> {
                // Until the reader has what it needs to fail.
                for (int round = 0; round < 20; round++) {
                    fetches.await(16, Duration.ofMillis(100)).forEach(request -> fetches.fail(request, "on purpose"));
                }
                fetches.cancelWaits();
            });
            host.start();
            RetryException error = assertThrows(RetryException.class, () -> get(store, values(store), "k1"));
            assertEquals(Status.ABSENT, error.status());
            join(host);
        }
    }

    @Test
    void theHostSaysWhatComesFirstAndWhatNever() throws Exception {
        put(0, 100, "v");
        fixture.checkpoint(1);
        byte[] manifest;
        String file;
        byte[] content;
        try (CheckpointFiles files = fixture.store.files(1)) {
            manifest = files.manifest();
            file = files.list().get(0).name();
            content = files.read(0, 0, (int) files.list().get(0).bytes());
        }
        Path path = fixture.directory.resolve("absent");
        try (Store store = Store.restoreAbsent(fixture.engine, path, List.of(manifest), new StoreOptions().fetch(true));
                Fetches fetches = store.fetches().orElseThrow()) {
            assertEquals(content.length, fetches.absentBytes());
            assertEquals(List.of(), fetches.awaitDemanded(16, Duration.ZERO));
            AtomicReference<List<Fetches.Request>> woken = new AtomicReference<>();
            Thread waiting = new Thread(() -> woken.set(fetches.awaitDemanded(16, Duration.ofDays(1))));
            waiting.start();
            while (woken.get() == null) {
                fetches.wake();
            }
            join(waiting);
            assertEquals(List.of(), woken.get());

            // What failed a few times is asked for when it is preferred.
            for (List<Fetches.Request> given; !(given = fetches.await(16, Duration.ZERO)).isEmpty(); ) {
                given.forEach(request -> fetches.fail(request, "not yet"));
            }
            fetches.prefer("none.segment", 0, 9);
            fetches.prefer(file, 0, Long.MAX_VALUE);
            assertThrows(AlluviumException.class, () -> fetches.prefer(file, -1, 9));
            Fetches.Request first = fetches.await(1, Duration.ZERO).get(0);
            assertEquals(file, first.file());
            assertFalse(first.isOnDemand());
            fetches.fail(first, "not yet");

            for (Fetches.Fault fault : Fetches.Fault.values()) {
                Thread host = new Thread(() -> {
                    List<Fetches.Request> given = List.of();
                    while (given.isEmpty()) {
                        given = fetches.awaitDemanded(16, Duration.ofMillis(100));
                    }
                    given.forEach(request -> fetches.refuse(request, fault, "gone for good"));
                });
                host.start();
                CorruptException error = assertThrows(CorruptException.class, () -> get(store, values(store), "k1"));
                assertTrue(error.getMessage().contains("gone for good"), error.getMessage());
                join(host);
            }
            Thread host = new Thread(() -> serve(fetches, Map.of(file, content)));
            host.start();
            assertEquals("v1", get(store, values(store), "k1"));
            join(host);
            assertEquals(0, fetches.absentBytes());
        }
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await(30, TimeUnit.SECONDS);
        } catch (InterruptedException error) {
            throw new AssertionError(error);
        }
    }

    private static void join(Thread thread) {
        try {
            thread.join();
        } catch (InterruptedException error) {
            throw new AssertionError(error);
        }
    }

    @Test
    void checkpointsAreReadRecordByRecord() {
        Store store = fixture.store;
        State lists = store.state(StateOptions.list("lists"));
        State maps = store.state(StateOptions.map("maps"));
        put(0, 300, "v");
        try (Writer writer = store.writer()) {
            writer.append(lists, bytes("l"), bytes("one"));
            writer.append(lists, bytes("l"), bytes("two"));
            writer.mapPut(maps, Key.of(bytes("m")).namespace(bytes("n")), bytes("u"), bytes("w"));
        }
        fixture.checkpoint(1);
        List<String> found = new ArrayList<>();
        try (CheckpointIterator iterator = store.iterate(1)) {
            int group = 0;
            while (iterator.hasNext()) {
                CheckpointIterator.Item item = iterator.next();
                assertTrue(item.group() >= group, "in the order of key groups");
                group = item.group();
                assertEquals(Long.MAX_VALUE, item.expiryMs());
                String value = item.value() == null
                        ? item.elements().stream().map(Fixture::text).collect(Collectors.joining("+"))
                        : text(item.value());
                found.add(item.state().name() + " " + text(item.key()) + text(item.namespace()) + " "
                        + text(item.userKey()) + " " + value);
            }
        }
        assertEquals(302, found.size());
        assertTrue(found.contains("values k17 null v17"));
        assertTrue(found.contains("lists l null one+two"));
        assertTrue(found.contains("maps mn u w"));
    }

    @Test
    void anIteratorThatComesToDamageNeverEnds() throws IOException {
        Path directory = fixture.directory.resolve("damaged");
        byte[] value = new byte[1000];
        try (Store store = Store.create(fixture.engine, directory, new StoreOptions().compress(false));
                Writer writer = store.writer()) {
            for (int number = 0; number < 40; number++) {
                writer.put(values(store), bytes("k" + number), value);
            }
            try (PendingCheckpoint pending = store.checkpoint(Checkpoint.of(1))) {
                pending.await();
            }
            Path segment = only(directory, ".segment");
            byte[] content = Files.readAllBytes(segment);
            for (int at = 0; at < 4096; at++) {
                content[content.length / 2 + at] ^= 1;
            }
            Files.write(segment, content);
            try (CheckpointIterator iterator = store.iterate(1)) {
                int found = 0;
                AlluviumException first = null;
                while (first == null) {
                    try {
                        iterator.next();
                        found++;
                    } catch (AlluviumException error) {
                        first = error;
                    }
                }
                // All of them are less than one answer of the library's.
                assertTrue(found > 4 && found < 40, "what comes before the damage is given: " + found);
                for (int again = 0; again < 3; again++) {
                    AlluviumException error = assertThrows(AlluviumException.class, iterator::hasNext);
                    assertEquals(first.status(), error.status());
                    assertEquals(first.getMessage(), error.getMessage());
                }
            }
        }
    }

    @Test
    void transactionsAreAllOrNothing() {
        fixture.close();
        fixture = new Fixture(new StoreOptions().transactional(true));
        Store store = fixture.store;
        State values = values(store);
        try (Writer writer = store.writer(); Reader committed = store.committedReader(); Reader all = store.reader()) {
            writer.put(values, bytes("k"), bytes("one"));
            assertTrue(store.stagedBytes() > 0);
            assertEquals("one", text(all.get(values, bytes("k"))));
            assertNull(committed.get(values, bytes("k")));
            CommitInfo info = writer.commit(
                    new Commit().metadata(bytes("m")).offset(new Offset(store.range(), bytes("at 1"))));
            assertEquals("m", text(info.metadata()));
            assertEquals("one", text(committed.get(values, bytes("k"))));
            writer.put(values, bytes("k"), bytes("two"));
            writer.abortTransaction();
            assertEquals("one", text(writer.get(values, bytes("k"))));
            writer.put(values, bytes("k"), bytes("three"));
            store.abortTransaction();
            assertEquals("one", text(writer.get(values, bytes("k"))));
            writer.put(values, bytes("k"), bytes("four"));
            store.commit(new Commit());
            writer.put(values, bytes("k"), bytes("lost"));
        }
        fixture.checkpoint(1);
        fixture.reopen(new StoreOptions().transactional(true));
        assertEquals("four", get(fixture.store, values(fixture.store), "k"));
        assertEquals(0, fixture.store.lastCommit().offsets().size());
    }

    @Test
    void sortedDataIsLoaded() {
        Store store = fixture.store;
        State values = values(store);
        State lists = store.state(StateOptions.list("lists"));
        State maps = store.state(StateOptions.map("maps"));
        Key key = new Key();
        try (BulkLoad load = store.bulkLoad(400)) {
            for (int group = 0; group < 128; group++) {
                load.put(values, key.set(bytes("k")).group(group), bytes("v" + group));
                load.putList(lists, key, List.of(bytes("a"), bytes("b" + group)));
                load.mapPut(maps, key, bytes("u"), bytes("m" + group));
            }
            load.finish();
            assertThrows(ClosedException.class, load::finish);
        }
        try (Writer writer = store.writer()) {
            for (int group = 0; group < 128; group++) {
                key.set(bytes("k")).group(group);
                assertEquals("v" + group, text(writer.get(values, key)));
                assertEquals("b" + group, text(writer.list(lists, key).get(1)));
                assertEquals("m" + group, text(writer.mapGet(maps, key, bytes("u"))));
            }
        }
        try (BulkLoad load = store.bulkLoad(2)) {
            load.put(values, key.set(bytes("z")).group(3), bytes("v"));
            AlluviumException unsorted = assertThrows(
                    AlluviumException.class, () -> load.put(values, key.set(bytes("a")).group(2), bytes("v")));
            assertEquals(ErrorClass.USAGE, unsorted.errorClass());
        }
        assertNull(get(store, values, "z"));
    }

    @Test
    void whatIsLoadedExpiresByTheLoadsClock() {
        Store store = fixture.store;
        State brief = store.state(StateOptions.value("brief").ttl(100, false));
        try (BulkLoad load = store.bulkLoad(2)) {
            assertThrows(AlluviumException.class, () -> load.setTimeMs(-1));
            load.put(brief, Key.of(bytes("early")).group(1), bytes("v"));
            load.setTimeMs(1_000);
            load.put(brief, Key.of(bytes("late")).group(2), bytes("v"));
            load.finish();
        }
        try (Writer writer = store.writer()) {
            assertEquals("v", text(writer.get(brief, Key.of(bytes("early")).group(1))));
            writer.setTimeMs(1_099);
            assertNull(writer.get(brief, Key.of(bytes("early")).group(1)), "its clock began at 0");
            assertEquals("v", text(writer.get(brief, Key.of(bytes("late")).group(2))));
            writer.setTimeMs(1_101);
            assertNull(writer.get(brief, Key.of(bytes("late")).group(2)));
        }
    }

    /** Reads wait for a segment that the host doesn't bring until it has seen what they make of a checkpoint. */
    @Test
    void aCheckpointIsRefusedWhileReadsAreInFlight() {
        put(0, 100, "v");
        fixture.checkpoint(1);
        byte[] manifest;
        Map<String, byte[]> elsewhere = new HashMap<>();
        try (CheckpointFiles files = fixture.store.files(1)) {
            manifest = files.manifest();
            CheckpointFiles.File segment = files.list().get(0);
            elsewhere.put(segment.name(), files.read(0, 0, (int) segment.bytes()));
        }
        StoreOptions options = new StoreOptions().fetch(true).warmUp(WarmUp.NOTHING);
        Path path = fixture.directory.resolve("absent");
        try (Store store = Store.restoreAbsent(fixture.engine, path, List.of(manifest), options);
                Fetches fetches = store.fetches().orElseThrow();
                Writer writer = store.writer();
                Ticket ticket = writer.submit(new Batch(store).get(values(store), Key.of(bytes("k1"))))) {
            CountDownLatch seen = new CountDownLatch(1);
            Thread host = new Thread(() -> {
                // Were it not refused, it would wait for the reads: then they come at last.
                await(seen);
                serve(fetches, elsewhere);
            });
            host.start();
            RetryException refused = assertThrows(
                    RetryException.class, () -> store.checkpoint(Checkpoint.of(2).refuseWhileReading()));
            assertEquals(Status.BUSY, refused.status());
            assertFalse(ticket.isComplete());
            seen.countDown();
            try (PendingCheckpoint pending = store.checkpoint(Checkpoint.of(3))) {
                assertTrue(ticket.isComplete(), "it waited for them");
                assertEquals(3, pending.await().label());
            }
            assertEquals("v1", text(writer.poll(ticket).get(0).value()));
            try (PendingCheckpoint pending = store.checkpoint(Checkpoint.of(4).refuseWhileReading())) {
                assertEquals(4, pending.await().label());
            }
            join(host);
        }
    }

    @Test
    void statesAreDescribed() {
        State map = fixture.store.state(StateOptions.map("delays").schema(bytes("schema 1")));
        fixture.store.state(StateOptions.merging("sums", StateOptions.Operator.F64_MAX));
        fixture.checkpoint(1);
        fixture.reopen(new StoreOptions());
        List<State> states = fixture.store.states();
        assertEquals(List.of("delays (MAP)", "sums (MERGING)"), states.stream().map(State::toString).collect(Collectors.toList()));
        assertEquals("schema 1", text(fixture.store.schema(states.get(0))));
        assertEquals(map.number(), states.get(0).number());
        AlluviumException error = assertThrows(
                AlluviumException.class, () -> fixture.store.state(StateOptions.value("delays")));
        assertEquals(Status.STATE, error.status());
    }

    @Test
    void memoryIsShared() {
        Engine engine = fixture.engine;
        assertEquals(16L << 20, engine.budgetBytes());
        assertTrue(engine.usedBytes() > 0);
        assertEquals(Status.OPTIONS, assertThrows(AlluviumException.class, () -> engine.setBudgetBytes(1 << 30)).status());
        try (MemoryShare share = engine.memoryShare(1 << 20, 4 << 20)) {
            StoreOptions options = new StoreOptions().memoryShare(share).memoryMinimumBytes(1 << 16);
            try (Store store = Store.create(engine, fixture.directory.resolve("sharing"), options);
                    Writer writer = store.writer()) {
                writer.put(values(store), bytes("k"), new byte[100_000]);
                assertTrue(share.usedBytes() >= 100_000);
                share.setLimitBytes(8 << 20);
            }
        }
        put(0, 100, "v");
        fixture.store.compact();
        String metrics = fixture.store.metrics();
        assertTrue(metrics.contains("# TYPE alluvium_"), metrics);
        String labelled = fixture.store.metrics(Map.of("operator", "a \"window\""));
        assertTrue(labelled.contains("alluvium_checkpoints_total{operator=\"a \\\"window\\\"\"} "), labelled);
        assertThrows(IllegalArgumentException.class, () -> fixture.store.metrics(Map.of("3 jobs", "x")));
    }

    @Test
    void damageIsFoundWithoutOpening() throws IOException {
        Path directory = fixture.directory.resolve("seeded");
        long seed = 0x0123456789abcdefL;
        try (Store store = Store.create(fixture.engine, directory, new StoreOptions().hashSeed(seed));
                Writer writer = store.writer()) {
            writer.put(values(store), bytes("k"), new byte[1000]);
            try (PendingCheckpoint pending = store.checkpoint(Checkpoint.of(1))) {
                pending.await();
            }
        }
        assertEquals(List.of(), Store.verify(directory));
        byte[] wanted = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(seed).array();
        byte[] manifest = Files.readAllBytes(only(directory, ".manifest"));
        assertTrue(IntStream.range(0, manifest.length - 8)
                .anyMatch(at -> Arrays.equals(manifest, at, at + 8, wanted, 0, 8)));

        Path segment = only(directory, ".segment");
        byte[] content = Files.readAllBytes(segment);
        content[content.length / 2] ^= 1;
        Files.write(segment, content);
        List<Finding> findings = Store.verify(directory);
        assertEquals(1, findings.size(), findings.toString());
        assertTrue(findings.get(0).isFault());
        assertEquals(segment, findings.get(0).path());
        assertTrue(findings.get(0).problem().length() > 5, findings.toString());
        assertThrows(AlluviumException.class, () -> Store.verify(directory.resolve("nowhere")));
    }

    @Test
    void whatIsKnownOfStatesFilesAndCheckpointsOnTheirWay() {
        State values = values(fixture.store);
        State maps = fixture.store.state(StateOptions.map("maps").logMode(LogMode.AUTO));
        State sums = fixture.store.state(StateOptions.merging("sums", StateOptions.Operator.U64_MAX).traced());
        assertEquals(java.util.Optional.empty(), values.operator());
        assertEquals(LogMode.STATE, values.logMode());
        assertFalse(values.isTraced());
        assertEquals(LogMode.AUTO, maps.logMode());
        assertEquals("u64-max", sums.operator().orElseThrow());
        assertTrue(sums.isTraced());
        assertEquals(0, values.ttlMs() + values.purgeMs());
        State timed = fixture.store.state(StateOptions.value("timed").ttl(5_000, true));
        assertEquals(5_000, timed.ttlMs());
        assertTrue(timed.refreshesOnRead());
        State purged = fixture.store.state(StateOptions.value("purged").purge(7_000, 3));
        assertEquals(7_000, purged.purgeMs());
        assertEquals(3, purged.purgeTimeAt());
        assertFalse(purged.refreshesOnRead());
        try (Writer writer = fixture.store.writer(); Reader reader = fixture.store.reader()) {
            writer.mapPut(maps, Key.of(bytes("k")), bytes("u"), bytes("v"));
            assertTrue(reader.mapContains(maps, Key.of(bytes("k")), bytes("u")));
            assertFalse(reader.mapContains(maps, Key.of(bytes("k")), bytes("w")));
            assertThrows(AlluviumException.class, () -> reader.mapContains(values, Key.of(bytes("k")), bytes("u")));
        }
        try (Snapshot snapshot = fixture.store.snapshot()) {
            snapshot.await();
            assertEquals("v", text(snapshot.mapGet(maps, Key.of(bytes("k")), bytes("u"))));
        }
        try (PendingCheckpoint pending = fixture.store.checkpoint(Checkpoint.of(-7).metadata(bytes("job 3")))) {
            assertEquals(-7, pending.label());
            pending.await();
        }
        try (CheckpointFiles files = fixture.store.files(-7)) {
            CheckpointInfo info = files.info();
            assertEquals(-7, info.label());
            assertEquals("job 3", text(info.metadata()));
        }
    }

    @Test
    void aDirectoryIsDescribedWithoutOpening() throws IOException {
        Path directory = fixture.directory.resolve("described");
        try (Store store = Store.create(fixture.engine, directory, new StoreOptions());
                Writer writer = store.writer()) {
            State values = store.state(StateOptions.value("values"));
            State sums = store.state(StateOptions.merging("sums", StateOptions.Operator.I64_ADD));
            AlluviumException none = assertThrows(AlluviumException.class, () -> Store.usage(directory));
            assertEquals(Status.NO_CHECKPOINT, none.status());
            for (int i = 100; i < 200; i++) {
                writer.put(values, bytes("" + i), bytes("1234567"));
            }
            writer.mergeLong(sums, Key.of(bytes("sum")), 1);
            try (PendingCheckpoint pending = store.checkpoint(Checkpoint.of(7))) {
                pending.await();
            }
        }
        DirectoryReport report = Store.describe(directory);
        assertEquals(directory.toRealPath(), report.path().toRealPath());
        DirectoryReport.Manifest manifest = report.manifests().get(report.manifests().size() - 1);
        assertTrue(manifest.number() > 0 && manifest.problem().isEmpty());
        DirectoryReport.Content content = manifest.content().orElseThrow();
        assertEquals(7, content.label().orElseThrow());
        assertTrue(content.created().toEpochMilli() > 1_500_000_000_000L);
        assertEquals(128, content.keyGroups());
        assertEquals(KeyGroupRange.of(0, 127), content.range());
        assertEquals(1, content.segments());
        assertEquals(0, content.position());
        DirectoryReport.StateReport sums = content.states().get(1);
        assertEquals("sums", sums.name());
        assertEquals(1, sums.number());
        assertEquals(State.Kind.MERGING, sums.kind().orElseThrow());
        assertEquals("i64-add", sums.merge().orElseThrow());
        assertTrue(content.states().get(0).merge().isEmpty());
        List<DirectoryReport.File> segments = report.files().stream()
                .filter(file -> file.role() == DirectoryReport.Role.SEGMENT)
                .collect(Collectors.toList());
        assertEquals(1, segments.size());
        Path segment = directory.resolve(segments.get(0).name());
        assertEquals(Files.size(segment), segments.get(0).bytes());

        List<Usage> usage = Store.usage(directory);
        assertEquals(2, usage.size());
        assertEquals("values", usage.get(0).state());
        assertEquals(State.Kind.VALUE, usage.get(0).kind().orElseThrow());
        assertEquals(100, usage.get(0).records());
        assertEquals(1_000, usage.get(0).logicalBytes());
        assertEquals(0, usage.get(0).level() + usage.get(0).tombstones());
        assertEquals(1, usage.get(1).segments());
        assertEquals(2, Store.usage(directory, 7).size());
        AlluviumException none = assertThrows(AlluviumException.class, () -> Store.usage(directory, 8));
        assertEquals(Status.CHECKPOINT, none.status());

        Path path = only(directory, ".manifest");
        byte[] bytes = Files.readAllBytes(path);
        bytes[bytes.length / 2] ^= 1;
        Files.write(path, bytes);
        report = Store.describe(directory);
        assertFalse(report.manifests().get(0).problem().orElseThrow().isEmpty());
        assertTrue(report.manifests().get(0).content().isEmpty());
        assertTrue(report.files().stream().anyMatch(file -> file.role() == DirectoryReport.Role.ORPHAN));
        assertThrows(AlluviumException.class, () -> Store.describe(directory.resolve("nowhere")));
    }

    private static Path only(Path directory, String suffix) throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            List<Path> found = files.filter(file -> file.toString().endsWith(suffix)).collect(Collectors.toList());
            assertEquals(1, found.size(), found.toString());
            return found.get(0);
        }
    }
}
