package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static io.alluvium.Fixture.text;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Events: applied by a handler, once where they have ids, and applied again after a restart. */
class EventsTest {
    private static final int GROUP = 3;

    private final StoreOptions options =
            new StoreOptions().durability(Durability.CHANGELOG).changelogFileBytes(1 << 20);
    private Fixture fixture;
    private long openBefore;
    private State counts;
    private State lists;
    private State maps;
    private int calls;
    private int drawn;
    private Applying kept;

    @BeforeEach
    void open() {
        openBefore = Engine.openObjects();
        fixture = new Fixture(options);
    }

    @AfterEach
    void close() {
        fixture.close();
        assertEquals(openBefore, Engine.openObjects());
    }

    private static Key key(String name) {
        return Key.of(bytes(name)).group(GROUP);
    }

    private HandlerId register() {
        counts = fixture.store.state(StateOptions.value("counts").logMode(LogMode.EVENT));
        lists = fixture.store.state(StateOptions.list("lists").logMode(LogMode.EVENT));
        maps = fixture.store.state(StateOptions.map("maps").logMode(LogMode.AUTO));
        return fixture.store.handler("count", 1, this::count);
    }

    private void count(byte[] event, Applying applying) {
        calls++;
        kept = applying;
        assertEquals(GROUP, applying.group());
        assertEquals(1_000, applying.nowMs());
        byte[] draw = applying.determinant(new byte[] {(byte) ++drawn});
        Key key = key(text(event));
        byte[] before = applying.get(counts, key);
        applying.put(counts, key, bytes(before == null ? "1" : String.valueOf(Integer.parseInt(text(before)) + 1)));
        applying.append(lists, key, draw);
        assertTrue(applying.list(lists, key).size() >= 1);
        applying.mapPut(maps, key, bytes("a"), bytes("bc"));
        applying.mapPut(maps, key, bytes("gone"), new byte[5_000]);
        assertEquals(5_000, applying.mapGet(maps, key, bytes("gone")).length);
        applying.mapDelete(maps, key, bytes("gone"));
        assertNull(applying.mapGet(maps, key, bytes("gone")));
        assertEquals(1, applying.entries(maps, key, MapRange.all()).size());
        Key other = key("other");
        applying.put(counts, other, bytes("x"));
        applying.delete(counts, other);
        applying.mapPut(maps, other, bytes("a"), bytes("b"));
        applying.mapClear(maps, other);
        assertEquals(List.of(), applying.entries(maps, other, MapRange.all()));
    }

    private List<Integer> draws(Writer writer) {
        return writer.list(lists, key("JFK")).stream().map(one -> (int) one[0]).collect(Collectors.toList());
    }

    @Test
    void theyAreAppliedOnceAndAgainAfterARestart() {
        HandlerId handler = register();
        try (Writer writer = fixture.store.writer(fixture.store.range())) {
            writer.setTimeMs(1_000);
            writer.applyEvent(handler, GROUP, bytes("JFK"));
            assertTrue(writer.applyEventOnce(handler, GROUP, EventId.of(1, 7), bytes("JFK")));
            assertFalse(writer.applyEventOnce(handler, GROUP, EventId.of(1, 7), bytes("JFK")));
            assertFalse(writer.applyEventOnce(handler, GROUP, EventId.of(1, 6), bytes("JFK")));
            assertTrue(writer.applyEventOnce(handler, GROUP, EventId.of(2, 6), bytes("JFK")));
            assertEquals("3", text(writer.get(counts, key("JFK"))));
            assertEquals(List.of(1, 2, 3), draws(writer));
            assertEquals(3, calls);
            assertTrue(fixture.store.alreadyApplied(GROUP, EventId.of(1, 6)));
            assertFalse(fixture.store.alreadyApplied(GROUP, EventId.of(1, 8)));
            try (Committed committed = writer.commit(new Commit(), Lasting.SOON)) {
                committed.await();
            }
        }
        fixture.reopen(options);
        assertThrowsStatus(Status.EVENT_HANDLER, () -> fixture.store.writer(fixture.store.range()).close());
        register();
        IllegalStateException onPurpose = new IllegalStateException("on purpose");
        fixture.store.handler("count", 1, (event, applying) -> {
            throw onPurpose;
        });
        AlluviumException failed =
                assertThrowsStatus(Status.EVENT_HANDLER, () -> fixture.store.writer(fixture.store.range()).close());
        assertSame(onPurpose, failed.getCause());
        // It is half replayed, and has to be opened again.
        assertThrowsStatus(Status.EVENT_HANDLER, fixture.store::close);
        fixture.reopen(options);
        calls = 0;
        HandlerId again = register();
        try (Writer writer = fixture.store.writer(fixture.store.range())) {
            assertTrue(calls >= 1);
            assertEquals("3", text(writer.get(counts, key("JFK"))));
            assertEquals(List.of(1, 2, 3), draws(writer));
            // What the handler before threw has nothing to do with this.
            failed = assertThrowsStatus(Status.OUTSIDE_RANGE, () -> writer.applyEvent(again, 200, bytes("JFK")));
            assertNull(failed.getCause());
        }
    }

    private static List<String> texts(List<byte[]> all) {
        return all.stream().map(Fixture::text).collect(Collectors.toList());
    }

    /** Does everything to lists and maps that changes more than one thing, and says what it found. */
    private void sweep(byte[] event, Applying applying) {
        Key own = key("JFK");
        Key from = key("JFK").namespace(bytes("from"));
        applying.putList(lists, own, List.of(bytes("a"), bytes(""), event));
        assertEquals(List.of("a", "", text(event)), texts(applying.list(lists, own)));
        applying.putList(lists, from, List.of(bytes("moved")));
        applying.mergeNamespaces(lists, own, List.of(bytes("from"), bytes("none")));
        assertEquals(List.of("a", "", text(event), "moved"), texts(applying.list(lists, own)));
        assertEquals(List.of(), applying.list(lists, from));
        applying.appendAll(lists, from, List.of(bytes("b"), bytes("")));
        applying.appendAll(lists, from, List.of(event));
        assertEquals(List.of("b", "", text(event)), texts(applying.list(lists, from)));
        applying.putList(lists, key("SEA"), List.of(event));
        applying.putList(lists, key("SEA"), List.of());

        assertNull(applying.mapFirst(maps, own));
        assertNull(applying.mapPopFirst(maps, own));
        assertFalse(applying.mapContains(maps, own, bytes("a")));
        for (String userKey : new String[] {"d", "a", "c", "b", "e"}) {
            applying.mapPut(maps, own, bytes(userKey), new byte[userKey.equals("b") ? 5_000 : 10]);
        }
        assertTrue(applying.mapContains(maps, own, bytes("a")));
        assertEquals("a", text(applying.mapFirst(maps, own).userKey()));
        assertEquals("a", text(applying.mapPopFirst(maps, own).userKey()));
        // More than there was room for at first, which stays until there is.
        assertEquals(5_000, applying.mapPopFirst(maps, own).value().length);
        assertFalse(applying.mapContains(maps, own, bytes("b")));
        applying.mapDeleteRange(maps, own, MapRange.all().from(bytes("d")).below(bytes("e")));
        assertEquals(2, applying.entries(maps, own, MapRange.all()).size());

        applying.update(counts, own, old -> bytes((old == null ? "" : text(old)) + "+"));
        applying.update(counts, key("SEA"), old -> event);
        applying.update(counts, key("SEA"), old -> null);
        assertNull(applying.get(counts, key("SEA")));
        assertThrowsStatus(Status.OUTSIDE_RANGE, () -> applying.mapPopFirst(maps, Key.of(bytes("k")).group(4)));
        assertThrowsStatus(Status.STATE, () -> applying.putList(maps, own, List.of(event)));
        assertThrowsStatus(Status.STATE, () -> applying.mapDeleteRange(lists, own, MapRange.all()));
        calls++;
    }

    private void isSwept(Writer writer, String event, String count) {
        assertEquals(List.of("a", "", event, "moved"), texts(writer.list(lists, key("JFK"))));
        assertEquals(List.of(), writer.list(lists, key("SEA")));
        assertEquals("c", text(writer.mapFirst(maps, key("JFK")).userKey()));
        assertEquals("e", text(writer.mapLast(maps, key("JFK")).userKey()));
        assertEquals(count, text(writer.get(counts, key("JFK"))));
        assertNull(writer.get(counts, key("SEA")));
    }

    @Test
    void whatHandlersDoToMuchAtOnceIsDoneAgainAfterARestart() {
        register();
        HandlerId sweeps = fixture.store.handler("sweeps", 1, this::sweep);
        try (Writer writer = fixture.store.writer()) {
            writer.applyEventOnce(sweeps, GROUP, EventId.of(1, 1), bytes("first"));
            isSwept(writer, "first", "+");
            writer.mapClear(maps, key("JFK"));
            writer.applyEvent(sweeps, GROUP, bytes("second"));
            isSwept(writer, "second", "++");
            writer.commit(new Commit());
        }
        fixture.reopen(options);
        register();
        fixture.store.handler("sweeps", 1, this::sweep);
        calls = 0;
        try (Writer writer = fixture.store.writer()) {
            isSwept(writer, "second", "++");
        }
    }

    /** Who only looks is refused to take anything out, also where there is nothing. */
    @Test
    void whoLooksAfterAnEventTakesNothingOut() {
        register();
        HandlerId nothing = fixture.store.handler("nothing", 1, (event, applying) -> {});
        fixture.store.watch((event, applying) -> {
            assertNull(applying.mapFirst(maps, key("JFK")));
            assertFalse(applying.mapContains(maps, key("JFK"), event));
            assertThrowsStatus(Status.OPTIONS, () -> applying.mapPopFirst(maps, key("JFK")));
            assertThrowsStatus(Status.OPTIONS, () -> applying.putList(lists, key("JFK"), List.of(event)));
            assertThrowsStatus(Status.OPTIONS, () -> applying.mergeNamespaces(lists, key("JFK"), List.of(event)));
            assertThrowsStatus(Status.OPTIONS, () -> applying.mapDeleteRange(maps, key("JFK"), MapRange.all()));
            assertThrowsStatus(Status.OPTIONS, () -> applying.update(counts, key("JFK"), old -> event));
            calls++;
            return true;
        });
        try (Writer writer = fixture.store.writer()) {
            assertTrue(writer.applyEventOnce(nothing, GROUP, EventId.of(1, 1), bytes("event")));
            assertEquals(1, calls);
            assertEquals(List.of(), fixture.store.fired());
        }
    }

    private HandlerId note(int version) {
        lists = fixture.store.state(StateOptions.list("lists").logMode(LogMode.EVENT).traced());
        return fixture.store.handler(
                "note", version, (event, applying) -> applying.append(lists, key("JFK"), bytes(text(event) + " by " + version)));
    }

    private List<String> noted(Writer writer) {
        return writer.list(lists, key("JFK")).stream().map(Fixture::text).collect(Collectors.toList());
    }

    /** The older version was collected when the newer one had been registered, and there was nobody to call for its events. */
    @Test
    void anEventIsAppliedAgainByTheVersionThatAppliedIt() throws Exception {
        fixture.close();
        fixture = new Fixture(options.historyCheckpoints(2));
        HandlerId first = note(1);
        fixture.checkpoint(1);
        try (Writer writer = fixture.store.writer()) {
            writer.applyEventOnce(first, GROUP, EventId.of(1, 1), bytes("a"));
            writer.applyEventOnce(first, GROUP, EventId.of(1, 2), bytes("b"));
            try (Committed committed = writer.commit(new Commit(), Lasting.SOON)) {
                committed.await();
            }
        }
        fixture.reopen(options);
        note(1);
        HandlerId second = note(2);
        for (int time = 0; time < 3; time++) {
            System.gc();
            Thread.sleep(10);
        }
        try (Writer writer = fixture.store.writer()) {
            assertEquals(List.of("a by 1", "b by 1"), noted(writer));
            writer.applyEventOnce(second, GROUP, EventId.of(1, 3), bytes("c"));
            writer.repair(List.of(EventId.of(1, 1)), RepairWay.REEXECUTE);
            assertEquals(List.of("b by 1", "c by 2"), noted(writer));
        }
    }

    private static AlluviumException assertThrowsStatus(Status status, org.junit.jupiter.api.function.Executable call) {
        AlluviumException thrown = assertThrows(AlluviumException.class, call);
        assertEquals(status, thrown.status(), thrown.getMessage());
        return thrown;
    }

    @Test
    void whatHandlersThrowIsTheCause() {
        register();
        Store store = fixture.store;
        IllegalStateException onPurpose = new IllegalStateException("on purpose");
        HandlerId throwing = store.handler("throws", 1, (event, applying) -> {
            applying.put(counts, key("JFK"), event);
            throw onPurpose;
        });
        HandlerId passesOn = store.handler("passes on", 1, (event, applying) -> applying.put(counts, Key.of(event).group(4), event));
        HandlerId fatal = store.handler("fatal", 1, (event, applying) -> {
            throw new StackOverflowError();
        });
        try (Writer writer = store.writer(store.range())) {
            AlluviumException failed =
                    assertThrowsStatus(Status.EVENT_HANDLER, () -> writer.applyEvent(throwing, GROUP, bytes("1")));
            assertSame(onPurpose, failed.getCause());
            assertTrue(failed.getMessage().contains("throws"), failed.getMessage());
            assertEquals("1", text(writer.get(counts, key("JFK"))));
            assertThrowsStatus(
                    Status.EVENT_HANDLER, () -> writer.applyEventOnce(throwing, GROUP, EventId.of(1, 1), bytes("2")));
            assertFalse(store.alreadyApplied(GROUP, EventId.of(1, 1)));
            failed = assertThrowsStatus(Status.OUTSIDE_RANGE, () -> writer.applyEvent(passesOn, GROUP, bytes("1")));
            assertNotNull(failed.getCause());
            failed = assertThrowsStatus(Status.EVENT_HANDLER, () -> writer.applyEvent(fatal, GROUP, bytes("1")));
            assertEquals(StackOverflowError.class, failed.getCause().getClass());
            assertThrowsStatus(Status.OUTSIDE_RANGE, () -> writer.applyEvent(fatal, 200, bytes("1")));
        }
    }

    @Test
    void theStoreAndItsWritersAreRefusedToHandlers() {
        HandlerId handler = register();
        Store store = fixture.store;
        try (Writer writer = store.writer(store.range())) {
            HandlerId misuses = store.handler("misuses", 1, (event, applying) -> {
                Key key = key("JFK");
                assertThrowsStatus(Status.INSIDE_CALLBACK, () -> writer.put(counts, key, bytes("x")));
                assertThrowsStatus(Status.INSIDE_CALLBACK, () -> writer.get(counts, key));
                assertThrowsStatus(Status.INSIDE_CALLBACK, () -> writer.applyEvent(handler, GROUP, bytes("JFK")));
                assertThrowsStatus(
                        Status.INSIDE_CALLBACK, () -> writer.applyEventOnce(handler, GROUP, EventId.of(9, 9), bytes("JFK")));
                assertThrowsStatus(Status.INSIDE_CALLBACK, () -> writer.repair(List.of(), RepairWay.AUTO));
                assertThrowsStatus(Status.INSIDE_CALLBACK, store::position);
                assertThrowsStatus(Status.INSIDE_CALLBACK, store::snapshot);
                assertThrowsStatus(Status.STATE, () -> applying.append(counts, key, bytes("x")));
                Thread other = new Thread(() -> {
                    assertThrows(ClosedException.class, () -> applying.put(counts, key("JFK"), bytes("x")));
                    applying.nowMs();
                });
                Throwable[] uncaught = new Throwable[1];
                other.setUncaughtExceptionHandler((thread, thrown) -> uncaught[0] = thrown);
                other.start();
                other.join();
                assertEquals(ClosedException.class, uncaught[0].getClass());
                applying.put(counts, key, event);
            });
            writer.applyEvent(misuses, GROUP, bytes("as it was"));
            assertEquals("as it was", text(writer.get(counts, key("JFK"))));
            writer.setTimeMs(1_000);
            writer.applyEvent(handler, GROUP, bytes("JAX"));
            assertThrows(ClosedException.class, () -> kept.get(counts, key("JAX")));
            assertThrows(ClosedException.class, kept::group);
            assertThrowsStatus(Status.OPTIONS, () -> store.handler("", 1, this::count));
            assertThrows(NullPointerException.class, () -> store.handler("none", 1, null));
        }
        try (Fixture other = new Fixture(options);
                Writer writer = other.store.writer(other.store.range())) {
            assertThrowsStatus(Status.EVENT_HANDLER, () -> writer.applyEvent(handler, GROUP, bytes("JFK")));
        }
    }
}
