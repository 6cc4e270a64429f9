package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Memory outside of Java's heap, where answers go, may run out: nothing is lost then without a word, and nothing stays locked. */
class DirectMemoryTest {
    /** In a process that has 8 MiB of it. */
    public static final class Scarce {
        private static final int ENTRIES = 3_000;
        private static final int LONG = 200_000;
        private static final int CHUNKS = 10;
        private static final int CHUNK_BYTES = 256 << 10;

        private final Fixture fixture = new Fixture();
        private final State maps = fixture.store.state(StateOptions.map("maps"));
        private final State values = fixture.store.state(StateOptions.value("values"));
        private final Writer writer = fixture.store.writer();
        private final Key key = Key.of(bytes("key"));
        private final List<ByteBuffer> taken = new ArrayList<>();

        /** Says what it did. */
        public static void main(String[] arguments) throws Exception {
            Scarce scarce = new Scarce();
            scarce.pop();
            scarce.go();
            scarce.ask();
            scarce.bring();
            scarce.fire();
            scarce.share();
            scarce.writer.close();
            scarce.fixture.close();
            System.out.print("done");
        }

        private static byte[] name(int number) {
            return ByteBuffer.allocate(4).putInt(number).array();
        }

        private void put(int number, int len) {
            byte[] value = new byte[len];
            value[0] = (byte) number;
            writer.mapPut(maps, key, name(number), value);
        }

        /** Leaves none. */
        private void take() {
            for (int bytes : new int[] {1 << 20, 1 << 14, 1 << 8}) {
                try {
                    while (true) {
                        taken.add(ByteBuffer.allocateDirect(bytes));
                    }
                } catch (OutOfMemoryError full) {
                    // So it should be.
                }
            }
        }

        /** Leaves about so many bytes, less than what a longer answer takes. */
        private void takeAllBut(int bytes) {
            ByteBuffer spare = ByteBuffer.allocateDirect(bytes);
            take();
            spare.put(0, (byte) 1);
        }

        private static void has(boolean isSo, String what) {
            if (!isSo) {
                throw new AssertionError("not so: " + what);
            }
        }

        private static void finds(Class<? extends Throwable> expected, Runnable call) {
            try {
                call.run();
            } catch (Throwable thrown) {
                has(expected.isInstance(thrown), thrown + " is a " + expected);
                return;
            }
            throw new AssertionError("nothing was thrown");
        }

        private static void are(List<Entry> popped, int first, int count, int len) {
            has(popped.size() == count, popped.size() + " is " + count);
            for (int place = 0; place < count; place++) {
                Entry entry = popped.get(place);
                int number = ByteBuffer.wrap(entry.userKey()).getInt();
                has(number == first + place && entry.value().length == len && entry.value()[0] == (byte) number, "entry " + place);
            }
        }

        /** What is taken out of a map gets to the caller, or stays. */
        private void pop() {
            for (int number = 0; number < ENTRIES; number++) {
                put(number, 80);
            }
            put(ENTRIES, LONG);
            put(ENTRIES + 1, LONG);
            take();
            byte[] below = name(Integer.MAX_VALUE);
            are(writer.mapPopBelow(maps, key, below), 0, ENTRIES, 80);
            finds(OutOfMemoryError.class, () -> writer.mapPopBelow(maps, key, below));
            finds(OutOfMemoryError.class, () -> writer.mapPopFirst(maps, key));
            taken.clear();
            are(List.of(writer.mapPopFirst(maps, key)), ENTRIES, 1, LONG);
            are(writer.mapPopBelow(maps, key, below), ENTRIES + 1, 1, LONG);
            has(writer.mapIsEmpty(maps, key), "the map is empty");
        }

        /** Who goes through something is told that he missed some. */
        private void go() {
            for (int number = 0; number < ENTRIES; number++) {
                put(number, 80);
            }
            fixture.checkpoint(1);
            try (Cursor cursor = writer.entries(maps, key, MapRange.all());
                    CheckpointIterator items = fixture.store.iterate(1)) {
                cursor.setBatch(1_000, 1 << 20);
                take();
                finds(OutOfMemoryError.class, cursor::next);
                finds(OutOfMemoryError.class, items::hasNext);
                taken.clear();
                finds(AlluviumException.class, cursor::next);
                finds(AlluviumException.class, cursor::next);
                finds(AlluviumException.class, items::hasNext);
                finds(IllegalStateException.class, cursor::key);
            }
            int count = 0;
            try (Cursor cursor = writer.entries(maps, key, MapRange.all())) {
                while (cursor.next()) {
                    has(ByteBuffer.wrap(cursor.userKey()).getInt() == count++, "entry " + count);
                }
            }
            has(count == ENTRIES, count + " entries");
        }

        /** Who waits for answers is told that some won't come. */
        private void ask() {
            writer.put(values, key, new byte[2 * LONG]);
            Batch batch = new Batch(fixture.store);
            batch.get(values, key).get(values, key);
            try (Ticket ticket = writer.submit(batch)) {
                ticket.await();
                take();
                finds(OutOfMemoryError.class, () -> writer.poll(ticket));
                taken.clear();
                finds(AlluviumException.class, () -> writer.poll(ticket));
                finds(AlluviumException.class, ticket::poll);
            }
        }

        /** What is wanted of the host is given out when there is room for it. */
        private void bring() throws Exception {
            byte[] value = new byte[CHUNK_BYTES];
            Random random = new Random(1);
            for (int number = 0; number < CHUNKS; number++) {
                random.nextBytes(value);
                writer.put(values, Key.of(name(number)), value);
            }
            fixture.checkpoint(2);
            byte[] manifest;
            Map<String, byte[]> elsewhere = new HashMap<>();
            try (CheckpointFiles files = fixture.store.files(2)) {
                manifest = files.manifest();
                List<CheckpointFiles.File> list = files.list();
                for (int place = 0; place < list.size(); place++) {
                    elsewhere.put(list.get(place).name(), files.read(place, 0, (int) list.get(place).bytes()));
                }
            }
            Path path = fixture.directory.resolve("absent");
            StoreOptions options = new StoreOptions().fetch(true);
            try (Store store = Store.restoreAbsent(fixture.engine, path, List.of(manifest), options);
                    Fetches fetches = store.fetches().orElseThrow()) {
                // So that they are wanted one by one.
                for (String file : elsewhere.keySet()) {
                    for (int number = 0; number < CHUNKS; number++) {
                        fetches.prefer(file, (long) number * CHUNK_BYTES, 1);
                    }
                }
                takeAllBut(1_200);
                finds(OutOfMemoryError.class, () -> fetches.await(1_000, Duration.ZERO));
                taken.clear();
                List<Fetches.Request> given = fetches.await(1_000, Duration.ZERO);
                has(given.size() >= CHUNKS, given.size() + " requests");
                for (Fetches.Request request : given) {
                    int begin = (int) request.offset();
                    byte[] file = elsewhere.get(request.file());
                    fetches.complete(request, Arrays.copyOfRange(file, begin, begin + request.len()));
                }
                has(fetches.absentFiles() == 0, "all was asked for");
            }
        }

        /** What fired is told, though there is room for little at once. */
        private void fire() {
            Fixture traced = new Fixture(new StoreOptions().durability(Durability.CHANGELOG));
            HandlerId handler = traced.store.handler("nothing", 1, (event, applying) -> {});
            for (int number = 0; number < ENTRIES; number++) {
                traced.store.watch(EventId.of(1, 1));
            }
            try (Writer events = traced.store.writer()) {
                events.applyEventOnce(handler, 3, EventId.of(1, 1), bytes("event"));
            }
            // The one that the call finds.
            Scratch.take().give();
            take();
            List<Fired> fired = traced.store.fired();
            taken.clear();
            has(fired.size() == ENTRIES, fired.size() + " fired");
            for (int number = 1; number < ENTRIES; number++) {
                has(fired.get(number).trigger() > fired.get(number - 1).trigger(), "each of them once");
            }
            has(traced.store.fired().isEmpty(), "no more fired");
            traced.close();
        }

        /** A call that fails leaves a shared writer to the others. */
        private void share() throws InterruptedException {
            HandlerId handler = fixture.store.handler("none", 1, (event, applying) -> {});
            writer.share();
            byte[] value = bytes("value");
            List<Runnable> calls = List.of(
                    () -> writer.applyEvent(handler, 3, value),
                    () -> writer.applyEventOnce(handler, 3, EventId.of(1, 1), value),
                    () -> writer.repair(List.of(EventId.of(1, 1)), RepairWay.AUTO),
                    () -> writer.compensate(EventId.of(1, 1), (bad, applying) -> {}),
                    writer::retractions,
                    () -> writer.rollbackKeys(values, List.of(), AsOf.label(1)),
                    () -> writer.rollbackPrefix(values, fixture.store.range(), value, AsOf.label(1)));
            // The one that calls would find.
            Scratch idle = Scratch.take();
            take();
            for (Runnable call : calls) {
                finds(OutOfMemoryError.class, call);
            }
            Thread other = new Thread(() -> writer.delete(values, key));
            other.setDaemon(true);
            other.start();
            other.join(60_000);
            has(!other.isAlive(), "the other thread had its turn");
            taken.clear();
            idle.give();
        }
    }

    @Test
    void whenThereIsNoneNothingIsLost() throws Exception {
        Program program = Program.run(
                System.getProperty("java.class.path"), List.of("-XX:MaxDirectMemorySize=8m"), Scarce.class.getName());
        assertEquals("done", program.output);
        assertEquals(0, program.code);
    }
}
