package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentSkipListSet;
import org.junit.jupiter.api.Test;

/**
 * No thread of the engine becomes one of Java's, whatever it does, not for a moment either: Java counts all that it ever had. What the host gives is called by
 * threads of the host's.
 */
class AttachTest {
    /** The threads that Java has had so far, those that attached for a moment included. */
    private static long started() {
        return ManagementFactory.getThreadMXBean().getTotalStartedThreadCount();
    }

    private static Set<String> javaThreads() {
        Set<String> names = new TreeSet<>();
        Thread.getAllStackTraces().keySet().forEach(thread -> names.add(thread.getName()));
        return names;
    }

    private static void has(boolean isSo, String what) {
        if (!isSo) {
            throw new AssertionError("not so: " + what);
        }
    }

    /** Has all threads of an engine at work, with functions of the host's wherever there can be some. */
    public static final class Busy {
        private static final int GROUP = 3;
        private static final int KEYS = 2_000;

        private final Set<String> callers = new ConcurrentSkipListSet<>();
        private final Set<String> ours = new TreeSet<>();
        private final Random random = new Random(1);

        private Busy() {}

        /** Says what it did. */
        public static void main(String[] arguments) throws Exception {
            Busy busy = new Busy();
            // What Java starts when it is first needed is started here.
            busy.round();
            long before = started();
            Set<String> known = javaThreads();
            for (int round = 0; round < 3; round++) {
                busy.round();
            }
            long after = started();
            Set<String> later = javaThreads();
            later.removeAll(known);
            // One of each round's is its own: so it is seen that the count counts.
            System.out.println((after - before) + " threads of Java's in 3 rounds, " + later + " left");
            System.out.println("at work: " + busy.ours);
            System.out.println("called by " + busy.callers);
        }

        private void note() {
            callers.add(Thread.currentThread().getName());
        }

        private void look() {
            ours.addAll(ThreadsTest.nativeThreads());
            // They come and go, begin only when an engine has been open for a while, or are those of other ways to read.
            ours.removeIf(name -> name.startsWith("alluvium-barrie") || name.startsWith("alluvium-memory") || name.startsWith("alluvium-read-"));
        }

        private void round() throws Exception {
            events();
            background();
            Thread own = new Thread(() -> {}, "own");
            own.start();
            own.join();
        }

        private static Key jfk() {
            return Key.of(bytes("JFK")).group(GROUP);
        }

        private HandlerId register(Store store, State state) {
            return store.handler("count", 1, (event, applying) -> {
                note();
                applying.determinant(new byte[] {1});
                applying.update(state, jfk(), old -> new byte[] {(byte) (old == null ? 1 : old[0] + 1)});
            });
        }

        /** Handlers, conditions and compensations, through commits, checkpoints, repair, rollback and a recovery that applies events again. */
        private void events() throws Exception {
            StoreOptions options = new StoreOptions()
                    .durability(Durability.CHANGELOG)
                    .changelogFileBytes(1 << 20)
                    .retainedCheckpoints(3)
                    .historyCheckpoints(3);
            StateOptions counts = StateOptions.value("counts").logMode(LogMode.EVENT).traced();
            try (Fixture fixture = new Fixture(options)) {
                State state = fixture.store.state(counts);
                HandlerId count = register(fixture.store, state);
                fixture.store.watch((event, applying) -> {
                    note();
                    return applying.get(state, jfk())[0] < 5;
                });
                fixture.checkpoint(1);
                try (Writer writer = fixture.store.writer()) {
                    for (int offset = 1; offset <= 6; offset++) {
                        has(writer.applyEventOnce(count, GROUP, EventId.of(1, offset), bytes("event")), "it came once");
                        try (Committed committed = writer.commit(new Commit(), Lasting.SOON)) {
                            committed.await();
                        }
                    }
                    has(fixture.store.fired().size() == 2, "the fifth and the sixth fired");
                    has(writer.repair(List.of(EventId.of(1, 2)), RepairWay.REEXECUTE).groups().size() == 1, "it was repaired");
                    writer.compensateKnowingly(EventId.of(1, 6), (bad, applying) -> {
                        note();
                        applying.put(state, jfk(), new byte[] {9});
                    });
                    fixture.checkpoint(2);
                    writer.applyEventOnce(count, GROUP, EventId.of(1, 7), bytes("event"));
                    try (Committed committed = writer.commit(new Commit(), Lasting.SOON)) {
                        committed.await();
                        writer.applyEventOnce(count, GROUP, EventId.of(1, 8), bytes("event"));
                        fixture.store.rollbackToPosition(fixture.store.range(), committed.position());
                    }
                    writer.commit(new Commit());
                    look();
                }
                fixture.reopen(options.warmUp(WarmUp.declared()));
                State again = fixture.store.state(counts);
                register(fixture.store, again);
                try (Writer writer = fixture.store.writer(); Reader reader = fixture.store.reader()) {
                    has(writer.get(again, jfk())[0] == 10, "events were applied again");
                    has(reader.get(again, jfk())[0] == 10, "so they were");
                    look();
                }
            }
        }

        /** Flushes, merges, reads from disk, and what is brought back after a recovery. */
        private void background() throws Exception {
            StoreOptions options = new StoreOptions().hotListBytes(1 << 20).compress(false);
            try (Fixture fixture = new Fixture(options, 6L << 20)) {
                State values = fixture.store.state(StateOptions.value("values"));
                fixture.store.handler("none", 1, (event, applying) -> note());
                fixture.store.watch((event, applying) -> true);
                byte[] value = new byte[2_000];
                try (Writer writer = fixture.store.writer(); Snapshot snapshot = fixture.store.snapshot()) {
                    for (int label = 1; label <= 8; label++) {
                        // Together more than there is memory for.
                        for (int number = 0; number < KEYS; number++) {
                            random.nextBytes(value);
                            writer.put(values, bytes("k" + number), value);
                        }
                        fixture.checkpoint(label);
                        look();
                    }
                    snapshot.await();
                    fixture.store.compact();
                }
                String metrics = fixture.store.metrics();
                for (String counter : new String[] {"flushes", "compactions", "checkpoints"}) {
                    has(metrics.matches("(?s).*alluvium_" + counter + "_total [1-9].*"), counter);
                }
                fixture.reopen(options.warmUp(WarmUp.HOTTEST));
                State again = fixture.store.state(StateOptions.value("values"));
                try (Writer writer = fixture.store.writer()) {
                    Batch batch = new Batch(fixture.store);
                    for (int number = 0; number < 500; number++) {
                        batch.get(again, Key.of(bytes("k" + number)));
                    }
                    try (Ticket ticket = writer.submit(batch)) {
                        ticket.await();
                        look();
                        List<Answer> answers = new ArrayList<>();
                        while (!ticket.isDone()) {
                            answers.addAll(writer.poll(ticket));
                        }
                        has(answers.stream().allMatch(Answer::isFound) && answers.size() == 500, "all were read");
                    }
                    fixture.store.awaitWarm(batch);
                    look();
                }
            }
        }
    }

    private static Program run(Class<?> program) throws Exception {
        return Program.run(System.getProperty("java.class.path"), List.of("-Xcheck:jni"), program.getName());
    }

    @Test
    void noThreadOfTheEngineIsEverJavas() throws Exception {
        Program program = run(Busy.class);
        String expected = "3 threads of Java's in 3 rounds, [] left\n"
                + "at work: [alluvium-0, alluvium-1, alluvium-log, alluvium-reads, alluvium-warm]\n"
                + "called by [main]\n";
        assertEquals(expected, program.output);
        assertEquals(0, program.code);
    }

    /** Stores with functions of the host's, which the engine's only thread has still something to do for when they are closed. */
    public static final class Late {
        private Late() {}

        /** Says what it did. */
        public static void main(String[] arguments) throws Exception {
            round();
            long before = started();
            for (int round = 0; round < 10; round++) {
                round();
            }
            System.out.println((started() - before) + " threads of Java's");
        }

        private static void round() {
            Path directory = Fixture.directory();
            byte[] value = new byte[64 << 10];
            Engine engine = Engine.open(new EngineOptions().threads(1).memoryBudgetBytes(32 << 20));
            Store large = Store.create(engine, directory.resolve("large"), new StoreOptions().compress(false));
            State values = large.state(StateOptions.value("values"));
            Store store = Store.create(engine, directory.resolve("store"), new StoreOptions());
            store.handler("none", 1, (event, applying) -> {});
            store.watch((event, applying) -> true);
            State state = store.state(StateOptions.value("values"));
            try (Writer writer = store.writer(); Writer other = large.writer()) {
                writer.put(state, bytes("k"), bytes("v"));
                try (PendingCheckpoint pending = store.checkpoint(Checkpoint.of(1))) {
                    pending.await();
                }
                for (int number = 0; number < 128; number++) {
                    other.put(values, bytes("k" + number), value);
                }
            }
            // That thread is at this for a while,
            large.checkpoint(Checkpoint.of(1)).close();
            // then frees what a rollback left behind, though the store is closed.
            store.rollback(store.range(), 1);
            store.close();
            large.close();
            engine.close();
            Fixture.delete(directory);
        }
    }

    /** Whoever let go last of a store let go of what it was to call, and became one of Java's threads for that. */
    @Test
    void aThreadThatIsTheLastToHaveAStoreIsNot() throws Exception {
        Program program = run(Late.class);
        assertEquals("0 threads of Java's\n", program.output);
        assertEquals(0, program.code);
    }
}
