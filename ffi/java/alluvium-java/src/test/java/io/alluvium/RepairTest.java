package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static io.alluvium.Fixture.text;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.OptionalLong;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Rolling key groups back, and taking bad events back with what came of them. */
class RepairTest {
    private static final int GROUP = 3;

    private Fixture fixture;
    private long openBefore;

    @BeforeEach
    void open() {
        openBefore = Engine.openObjects();
        fixture = new Fixture(new StoreOptions()
                .durability(Durability.CHANGELOG)
                .changelogFileBytes(1 << 20)
                .retainedCheckpoints(3)
                .historyCheckpoints(2));
    }

    @AfterEach
    void close() {
        fixture.close();
        assertEquals(openBefore, Engine.openObjects());
    }

    private static Key key(int group, String name) {
        return Key.of(bytes(name)).group(group);
    }

    private static Key jfk() {
        return key(GROUP, "JFK");
    }

    private static void assertStatus(Status status, org.junit.jupiter.api.function.Executable call) {
        AlluviumException thrown = assertThrows(AlluviumException.class, call);
        assertEquals(status, thrown.status(), thrown.getMessage());
    }

    private static int forEver(int depth) {
        return forEver(depth + 1) + 1;
    }

    /** Nothing of what an invariant throws ends the process, or the call with anything but its failure; nor do threads that set and clear some. */
    @Test
    void invariantsMayThrowAnythingAndComeAndGo() throws Exception {
        Store store = fixture.store;
        State values = store.state(StateOptions.value("values"));
        HandlerId put = store.handler("put", 1, (event, applying) -> applying.put(values, jfk(), event));
        Applying[] kept = new Applying[1];
        List<Invariant> invariants = List.of(
                (event, applying) -> forEver(0) > 0,
                (event, applying) -> {
                    throw new OutOfMemoryError("none left");
                },
                (event, applying) -> {
                    store.close();
                    return true;
                },
                (event, applying) -> {
                    kept[0] = applying;
                    throw new InterruptedException();
                });
        try (Writer writer = store.writer(store.range())) {
            long offset = 0;
            for (Invariant invariant : invariants) {
                long trigger = store.watch(invariant);
                EventId id = EventId.of(1, ++offset);
                assertStatus(Status.EVENT_HANDLER, () -> writer.applyEventOnce(put, GROUP, id, bytes("event")));
                assertTrue(store.alreadyApplied(GROUP, id));
                store.unwatch(trigger);
            }
            assertStatus(Status.HANDLE, () -> kept[0].get(values, jfk()));

            AtomicBoolean stop = new AtomicBoolean();
            Thread coming = new Thread(() -> {
                while (!stop.get()) {
                    byte[] own = new byte[1_000];
                    long trigger = store.watch((event, applying) -> own.length == 1_000);
                    store.unwatch(trigger);
                    store.unwatch(trigger);
                }
            });
            coming.start();
            for (int event = 0; event < 1_000; event++) {
                assertTrue(writer.applyEventOnce(put, GROUP, EventId.of(1, ++offset), bytes("event")));
                if (event % 250 == 0) {
                    System.gc();
                }
            }
            stop.set(true);
            coming.join();
            assertEquals(List.of(), store.fired());
        }
    }

    @Test
    void multisetsAreMadeAndRead() {
        Store store = fixture.store;
        State bags = store.state(StateOptions.merging("bags", StateOptions.Operator.MULTISET));
        try (Writer writer = store.writer(store.range())) {
            writer.merge(bags, jfk(), Multiset.operand(bytes("a"), 3));
            writer.merge(bags, jfk(), Multiset.operand(bytes("cc"), 1));
            writer.merge(bags, jfk(), Multiset.operand(bytes("b"), -2));
            writer.merge(bags, jfk(), Multiset.operand(bytes("a"), -1));
            byte[] bag = writer.get(bags, jfk());
            assertEquals(2, Multiset.count(bag, bytes("a")));
            assertEquals(-2, Multiset.count(bag, bytes("b")));
            assertEquals(0, Multiset.count(bag, bytes("c")));
            assertEquals(List.of("a 2", "b -2", "cc 1"), told(Multiset.elements(bag)));
            assertEquals(List.of("cc 1", "a 2"), told(Multiset.top(bag, 9)));
            assertEquals(List.of("cc 1"), told(Multiset.top(bag, 1)));
        }
        assertEquals(0, Multiset.operand(bytes("a"), 0).length);
        assertEquals(List.of(), Multiset.elements(new byte[0]));
        assertStatus(Status.ARGUMENT, () -> Multiset.elements(new byte[] {-1}));
        assertStatus(Status.ARGUMENT, () -> Multiset.top(new byte[0], -1));
    }

    private static List<String> told(List<Multiset.Counted> elements) {
        return elements.stream().map(one -> text(one.element()) + " " + one.count()).collect(Collectors.toList());
    }

    @Test
    void keyGroupsGoBackToACheckpoint() {
        Store store = fixture.store;
        State one = store.state(StateOptions.value("one"));
        State two = store.state(StateOptions.value("two"));
        KeyGroupRange low = KeyGroupRange.of(0, 63);
        try (Writer writer = store.writer(store.range())) {
            writer.put(one, key(5, "k"), bytes("good"));
            writer.put(two, key(5, "k"), bytes("good"));
            Checkpoint first = Checkpoint.of(1)
                    .offset(new Offset(low, bytes("event 17")))
                    .offset(new Offset(KeyGroupRange.of(64, 127), bytes("high")))
                    .metadata(bytes("kept"));
            try (PendingCheckpoint pending = store.checkpoint(first)) {
                pending.await();
            }
            writer.put(one, key(5, "k"), bytes("bad"));
            writer.put(two, key(5, "k"), bytes("bad"));
            writer.put(one, key(90, "k"), bytes("later"));
            store.rollback(KeyGroupRange.of(5, 5), 1, one);
            assertEquals("good", text(writer.get(one, key(5, "k"))));
            assertEquals("bad", text(writer.get(two, key(5, "k"))));
            Rewound rewound = store.rollback(low, 1);
            assertEquals("good", text(writer.get(two, key(5, "k"))));
            assertEquals("later", text(writer.get(one, key(90, "k"))));
            assertEquals(1, rewound.label());
            assertTrue(rewound.number() > 0 && rewound.position() > 0);
            assertEquals("kept", text(rewound.metadata()));
            assertEquals(1, rewound.offsets().size());
            assertEquals("event 17", text(rewound.offsets().get(0).bytes()));
            assertEquals(63, rewound.offsets().get(0).range().last());
            assertStatus(Status.CHECKPOINT, () -> store.rollback(low, 9));
            assertStatus(Status.OUTSIDE_RANGE, () -> store.rollback(KeyGroupRange.of(100, 200), 1));
            try (Fixture other = new Fixture()) {
                State foreign = other.store.state(StateOptions.value("foreign"));
                assertStatus(Status.STATE, () -> store.rollback(low, 1, foreign));
            }
        }
    }

    @Test
    void keyGroupsGoBackToAPosition() {
        Store store = fixture.store;
        State one = store.state(StateOptions.value("one").logMode(LogMode.EVENT));
        State two = store.state(StateOptions.value("two"));
        HandlerId doubles = store.handler("doubles", 1, (event, applying) -> {
            byte[] before = applying.get(one, jfk());
            applying.put(one, jfk(), bytes((before == null ? "" : text(before)) + text(event)));
        });
        KeyGroupRange group = KeyGroupRange.of(GROUP, GROUP);
        fixture.checkpoint(1);
        try (Writer writer = store.writer(store.range())) {
            writer.applyEvent(doubles, GROUP, bytes("a"));
            writer.applyEvent(doubles, GROUP, bytes("b"));
            writer.put(two, jfk(), bytes("there"));
            Commit commit = new Commit().offset(new Offset(store.range(), bytes("event 17"))).metadata(bytes("of the commit"));
            long position;
            try (Committed committed = writer.commit(commit, Lasting.SOON)) {
                committed.await();
                position = committed.position();
            }
            writer.applyEvent(doubles, GROUP, bytes("poison"));
            writer.put(two, jfk(), bytes("later"));
            store.rollbackToPosition(group, position, one);
            assertEquals("ab", text(writer.get(one, jfk())));
            assertEquals("later", text(writer.get(two, jfk())));
            Rewound rewound = store.rollbackToPosition(group, position);
            assertEquals("there", text(writer.get(two, jfk())));
            assertEquals(1, rewound.label());
            assertEquals(position, rewound.position());
            assertEquals("of the commit", text(rewound.metadata()));
            assertEquals("event 17", text(rewound.offsets().get(0).bytes()));
            assertEquals(group, rewound.offsets().get(0).range());
            assertStatus(Status.POSITION, () -> store.rollbackToPosition(group, position + 1_000_000));
        }
    }

    @Test
    void theHostMakesUpForAnEvent() {
        Store store = fixture.store;
        State last = store.state(StateOptions.value("last").traced());
        State untraced = store.state(StateOptions.value("untraced"));
        HandlerId keeps = store.handler("keeps", 4, (event, applying) -> applying.put(last, jfk(), event));
        HandlerId copies = store.handler("copies", 1, (event, applying) ->
                applying.put(last, key(GROUP, "SEA"), applying.get(last, jfk())));
        EventId bad = EventId.of(1, 1);
        try (Writer writer = store.writer(store.range())) {
            writer.setTimeMs(70);
            apply(writer, keeps, 1, "99999");
            List<BadEvent> given = new java.util.ArrayList<>();
            Compensation undo = (event, applying) -> {
                given.add(event);
                assertEquals(GROUP, applying.group());
                assertEquals("99999", text(applying.get(last, jfk())));
                applying.put(last, jfk(), bytes("17"));
            };
            AlluviumException thrown = assertThrows(AlluviumException.class, () -> writer.compensate(bad, (event, applying) -> {
                applying.put(last, jfk(), bytes("half"));
                throw new IllegalStateException("on purpose");
            }));
            assertEquals(Status.EVENT_HANDLER, thrown.status());
            assertEquals("on purpose", thrown.getCause().getMessage());
            assertStatus(Status.STATE, () -> writer.compensate(bad, (event, applying) -> applying.put(untraced, jfk(), bytes("no"))));
            assertEquals("99999", text(writer.get(last, jfk())));

            Repaired repaired = writer.compensate(bad, undo);
            assertEquals("17", text(writer.get(last, jfk())));
            assertEquals(RepairWay.USER, repaired.groups().get(0).way());
            Retraction told = repaired.retractions().get(0);
            assertEquals("99999", text(told.before().get().value()));
            assertEquals("17", text(told.after().get().value()));
            assertEquals(List.of(bad), writer.compensate(bad, undo).before());
            assertEquals(1, given.size());
            BadEvent event = given.get(0);
            assertEquals(bad, event.id());
            assertEquals("99999", text(event.event()));
            assertEquals("keeps", event.handler());
            assertEquals(4, event.version());
            assertEquals(GROUP, event.group());
            assertEquals(70, event.appliedAtMs());
            assertEquals(List.of(), event.dependents());
            assertEquals(1, writer.retractions().size());
            writer.acknowledge(GROUP, bad);
            assertEquals(List.of(), writer.retractions());

            apply(writer, keeps, 2, "5");
            apply(writer, copies, 3, "");
            EventId second = EventId.of(1, 2);
            assertStatus(Status.EVENT, () -> writer.compensate(second, undo));
            writer.compensateKnowingly(second, (of, applying) -> {
                assertEquals(List.of(EventId.of(1, 3)), of.dependents());
                applying.put(last, jfk(), bytes("18"));
                applying.put(last, key(GROUP, "SEA"), bytes("18"));
            });
            assertEquals("18", text(writer.get(last, key(GROUP, "SEA"))));
            assertStatus(Status.ARGUMENT, () -> writer.repair(List.of(second), RepairWay.USER));
        }
    }

    private static void apply(Writer writer, HandlerId handler, long offset, String event) {
        assertTrue(writer.applyEventOnce(handler, GROUP, EventId.of(1, offset), bytes(event)));
    }

    private static List<Long> offsets(List<EventAt> events) {
        return events.stream().map(event -> event.id().offset()).collect(Collectors.toList());
    }

    @Test
    void theHostsOwnConditionIsLookedAtAfterEachEvent() {
        Store store = fixture.store;
        State last = store.state(StateOptions.value("last").traced());
        HandlerId keeps = store.handler("keeps", 1, (event, applying) -> applying.put(last, jfk(), event));
        List<Applying> kept = new java.util.ArrayList<>();
        try (Writer writer = store.writer(store.range())) {
            writer.setTimeMs(700);
            long trigger = store.watch((event, applying) -> {
                kept.add(applying);
                assertEquals(GROUP, applying.group());
                assertEquals(700, applying.nowMs());
                assertStatus(Status.OPTIONS, () -> applying.put(last, jfk(), bytes("changed")));
                assertStatus(Status.OUTSIDE_RANGE, () -> applying.get(last, key(4, "JFK")));
                assertStatus(Status.INSIDE_CALLBACK, () -> writer.get(last, jfk()));
                assertStatus(Status.INSIDE_CALLBACK, () -> store.watchStragglers());
                assertEquals(text(event), text(applying.get(last, jfk())));
                return event.length < 2;
            });
            apply(writer, keeps, 1, "1");
            assertEquals(List.of(), store.fired());
            apply(writer, keeps, 2, "22");
            List<Fired> fired = store.fired();
            assertEquals(1, fired.size());
            assertEquals(trigger, fired.get(0).trigger());
            assertEquals(EventId.of(1, 2), fired.get(0).event());
            assertThrows(ClosedException.class, () -> kept.get(0).group());
            store.unwatch(trigger);
            apply(writer, keeps, 3, "33");
            assertEquals(List.of(), store.fired());
            assertEquals(2, kept.size());
        }
    }

    @Test
    void aConditionThatThrowsTakesNothingBack() {
        Store store = fixture.store;
        State last = store.state(StateOptions.value("last").traced());
        HandlerId keeps = store.handler("keeps", 1, (event, applying) -> applying.put(last, jfk(), event));
        try (Writer writer = store.writer(store.range())) {
            long other = store.watch(EventId.of(1, 1));
            long throwing = store.watch((event, applying) -> {
                throw new OutOfMemoryError("on purpose");
            });
            AlluviumException thrown = assertThrows(
                    AlluviumException.class, () -> writer.applyEventOnce(keeps, GROUP, EventId.of(1, 1), bytes("1")));
            assertEquals(Status.EVENT_HANDLER, thrown.status());
            assertEquals("on purpose", thrown.getCause().getMessage());
            assertEquals("1", text(writer.get(last, jfk())));
            assertEquals(List.of(other), store.fired().stream().map(Fired::trigger).collect(Collectors.toList()));
            assertFalse(writer.applyEventOnce(keeps, GROUP, EventId.of(1, 1), bytes("again")));
            store.unwatch(throwing);

            long refused = store.watch((event, applying) -> applying.get(last, key(4, "JFK")) == null);
            assertStatus(Status.OUTSIDE_RANGE, () -> writer.applyEventOnce(keeps, GROUP, EventId.of(1, 2), bytes("2")));
            assertEquals("2", text(writer.get(last, jfk())));
            store.unwatch(refused);
            apply(writer, keeps, 3, "3");
            assertEquals(List.of(), store.fired());
            assertThrows(NullPointerException.class, () -> store.watch((Invariant) null));
        }
    }

    /** Only the store keeps a condition: it lives as long as it is looked at. */
    @Test
    void aConditionIsKeptUntilItIsTakenBack() throws Exception {
        Store store = fixture.store;
        State last = store.state(StateOptions.value("last").traced());
        HandlerId keeps = store.handler("keeps", 1, (event, applying) -> applying.put(last, jfk(), event));
        java.lang.ref.WeakReference<Object> known = new java.lang.ref.WeakReference<>(watchedBy(store));
        try (Writer writer = store.writer(store.range())) {
            System.gc();
            apply(writer, keeps, 1, "1");
            Fired fired = store.fired().get(0);
            store.unwatch(fired.trigger());
            for (int tries = 0; tries < 100 && known.get() != null; tries++) {
                System.gc();
                Thread.sleep(10);
            }
            assertNull(known.get());
            apply(writer, keeps, 2, "2");
            assertEquals(List.of(), store.fired());
        }
    }

    private static Object watchedBy(Store store) {
        int[] count = new int[1];
        store.watch((event, applying) -> count[0]++ > 1);
        return count;
    }

    /** Where an event has to do with more than 10,000 keys, all events of its key group are applied again. */
    @Test
    void aRepairMayTakeAllOfAKeyGroup() {
        Store store = fixture.store;
        State last = store.state(StateOptions.value("last").traced());
        HandlerId sums = store.handler("sums", 1, (event, applying) -> {
            Key read = new Key();
            for (int number = 0; number < Integer.parseInt(text(event)); number++) {
                applying.get(last, read.set(bytes("of " + number)).group(GROUP));
            }
            applying.put(last, jfk(), event);
        });
        fixture.checkpoint(1);
        EventId few = EventId.of(1, 1);
        EventId many = EventId.of(1, 2);
        try (Writer writer = store.writer(store.range())) {
            apply(writer, sums, few.offset(), "3");
            apply(writer, sums, many.offset(), "10001");
            assertTrue(writer.planRepair(List.of(many), RepairWay.REEXECUTE).groups().get(0).isWholeGroup());
        }
    }

    @Test
    void badEventsAreTakenBack() {
        Store store = fixture.store;
        State counts = store.state(StateOptions.value("counts").traced());
        State bags = store.state(StateOptions.merging("bags", StateOptions.Operator.MULTISET).traced());
        HandlerId adds = store.handler("adds", 1, (event, applying) -> {
            if (event[0] != '+') {
                applying.merge(bags, jfk(), event);
                return;
            }
            byte[] before = applying.get(counts, jfk());
            int sum = (before == null ? 0 : Integer.parseInt(text(before))) + Integer.parseInt(text(event).substring(1));
            applying.put(counts, jfk(), bytes(String.valueOf(sum)));
        });
        fixture.checkpoint(1);
        try (Writer writer = store.writer(store.range())) {
            long third = store.watch(EventId.of(1, 3));
            writer.setTimeMs(1_000);
            apply(writer, adds, 1, "+1");
            apply(writer, adds, 2, "+50");
            apply(writer, adds, 3, "+2");
            List<Fired> fired = store.fired();
            assertEquals(1, fired.size());
            assertEquals(third, fired.get(0).trigger());
            assertEquals(EventId.of(1, 3), fired.get(0).event());
            assertEquals(GROUP, fired.get(0).group());
            long late = store.watchStragglers();
            apply(writer, adds, 4, "\u0001a\u0002");
            writer.setTimeMs(900);
            apply(writer, adds, 5, "\u0001b\u0002");
            assertEquals(List.of(late), store.fired().stream().map(Fired::trigger).collect(Collectors.toList()));
            store.unwatch(late);
            writer.setTimeMs(800);
            apply(writer, adds, 6, "\u0001b\u0002");
            assertEquals(List.of(), store.fired());

            List<EventId> bad = List.of(EventId.of(1, 2));
            List<EventId> never = List.of(EventId.of(1, 99));
            Closure closure = store.closure(bad);
            assertEquals(List.of(2L, 3L), offsets(closure.events()));
            assertEquals(GROUP, closure.events().get(0).group());
            assertEquals(1, closure.events().get(0).id().source());
            assertTrue(closure.events().get(0).position() > 0 && closure.keys() > 0 && closure.suffixEvents() >= 2);
            assertEquals(List.of(1L, 2L, 3L), offsets(store.provenance(counts, jfk(), null)));
            assertStatus(Status.EVENT, () -> store.closure(never));

            Repaired plan = writer.planRepair(bad, RepairWay.AUTO);
            assertEquals(List.of(), plan.retractions());
            assertEquals("53", text(writer.get(counts, jfk())));
            assertStatus(Status.EVENT, () -> writer.repair(bad, RepairWay.INVERSE));
            assertStatus(Status.EVENT, () -> writer.repair(never, RepairWay.AUTO));
            Repaired done = writer.repair(bad, RepairWay.AUTO);
            assertEquals("3", text(writer.get(counts, jfk())));
            assertEquals(List.of(2L, 3L), offsets(done.closure().events()));
            GroupRepair group = done.groups().get(0);
            assertEquals(GROUP, group.group());
            assertEquals(RepairWay.REEXECUTE, group.way());
            assertEquals(bad, group.bad());
            assertEquals(1, group.dependents());
            assertTrue(group.appliedAgain() >= 1);
            assertEquals(OptionalLong.of(1), group.from());
            assertFalse(group.isWholeGroup(), "the others have nothing to do with it");
            Retraction retraction = done.retractions().get(0);
            assertEquals(1, done.retractions().size());
            assertEquals(bad.get(0), retraction.event());
            assertEquals(counts.number(), retraction.state());
            assertEquals(GROUP, retraction.group());
            assertEquals("JFK", text(retraction.key()));
            assertEquals(0, retraction.namespace().length);
            assertNull(retraction.userKey());
            assertEquals("53", text(retraction.before().orElseThrow().value()));
            assertEquals("3", text(retraction.after().orElseThrow().value()));
            assertFalse(retraction.after().orElseThrow().isList());
            assertEquals(bad, writer.repair(bad, RepairWay.AUTO).before());

            done = writer.repair(List.of(EventId.of(1, 5)), RepairWay.AUTO);
            assertEquals(RepairWay.INVERSE, done.groups().get(0).way());
            assertArrayEquals(bytes("\u0001a\u0002\u0001b\u0002"), writer.get(bags, jfk()));

            assertEquals(2, writer.retractions().size());
            writer.acknowledge(GROUP, bad.get(0));
            assertEquals(
                    List.of(EventId.of(1, 5)), writer.retractions().stream().map(Retraction::event).collect(Collectors.toList()));
            assertStatus(Status.EVENT, () -> writer.acknowledge(GROUP, never.get(0)));
        }
    }
}
