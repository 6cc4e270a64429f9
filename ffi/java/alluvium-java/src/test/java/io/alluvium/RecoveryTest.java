package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** What is in memory first when a store comes back, and how far that is. */
class RecoveryTest {
    private static final int KEYS = 500;

    private static byte[] key(int i) {
        return bytes("key " + i);
    }

    private static byte[] value(int i) {
        return bytes("value " + i);
    }

    private static void fill(Fixture fixture) {
        State values = fixture.store.state(StateOptions.value("values"));
        try (Writer writer = fixture.store.writer()) {
            for (int i = 0; i < KEYS; i++) {
                writer.put(values, key(i), value(i));
            }
        }
        fixture.checkpoint(1);
    }

    private static Recovery warmed(Store store) {
        Recovery recovery = store.recovery();
        while (recovery.stage() != Recovery.Stage.COMPLETE) {
            Thread.onSpinWait();
            recovery = store.recovery();
        }
        assertEquals(Optional.of(Duration.ZERO), recovery.remaining());
        return recovery;
    }

    private static void check(Store store, Writer writer) {
        State values = store.state(StateOptions.value("values"));
        for (int i = 0; i < KEYS; i++) {
            assertArrayEquals(value(i), writer.get(values, key(i)));
        }
    }

    @Test
    void keysOfQueuedEventsAreBrought() {
        try (Fixture fixture = new Fixture()) {
            fill(fixture);
            fixture.reopen(new StoreOptions().warmUp(WarmUp.NOTHING));
            Store store = fixture.store;
            State values = store.state(StateOptions.value("values"));
            try (Writer writer = store.writer()) {
                Batch batch = new Batch(store);
                for (int i = 0; i < KEYS; i++) {
                    batch.get(values, Key.of(key(i)));
                }
                batch.delete(values, Key.of(key(0)));
                assertEquals(KEYS, store.warm(batch));
                while (store.recovery().broughtRecords() < KEYS) {
                    Thread.onSpinWait();
                }
                assertTrue(store.recovery().broughtBytes() > KEYS * 10);
                check(store, writer);
            }
            Store other = fixture.store;
            fixture.reopen(new StoreOptions());
            assertThrows(AlluviumException.class, () -> fixture.store.warm(new Batch(other)));
            assertThrows(AlluviumException.class, () -> fixture.store.awaitWarm(new Batch(other)));
        }
    }

    @Test
    void keysOfQueuedEventsAreWaitedFor() {
        try (Fixture fixture = new Fixture()) {
            fill(fixture);
            fixture.reopen(new StoreOptions().warmUp(WarmUp.NOTHING));
            Store store = fixture.store;
            State values = store.state(StateOptions.value("values"));
            Batch batch = new Batch(store);
            for (int i = 0; i < KEYS; i++) {
                batch.get(values, Key.of(key(i)));
            }
            batch.get(values, Key.of(bytes("none of them")));
            assertEquals(0, store.awaitWarm(batch), "nobody has a writer");
            try (Writer writer = store.writer()) {
                assertEquals(KEYS, store.awaitWarm(batch));
                assertEquals(KEYS, store.recovery().broughtRecords());
                assertEquals(0, store.awaitWarm(batch), "they are there");
                assertEquals(0, store.awaitWarm(new Batch(store).put(values, Key.of(key(0)), value(0))), "none is read");
                check(store, writer);
            }
        }
    }

    @Test
    void itIsSaidHowLongItHasTaken() {
        try (Fixture fixture = new Fixture()) {
            fill(fixture);
            long before = System.nanoTime();
            fixture.reopen(new StoreOptions().warmUp(WarmUp.NOTHING));
            Duration first = fixture.store.recovery().elapsed();
            Duration second = fixture.store.recovery().elapsed();
            Duration most = Duration.ofNanos(System.nanoTime() - before);
            assertTrue(first.compareTo(Duration.ZERO) > 0, "it began before it was open");
            assertTrue(second.compareTo(first) > 0, "it goes on");
            assertTrue(second.compareTo(most) < 0, "it is of this opening");
        }
    }

    @Test
    void whatFitsIsThereAgainByItself() {
        try (Fixture fixture = new Fixture()) {
            fill(fixture);
            fixture.reopen(new StoreOptions());
            try (Writer writer = fixture.store.writer()) {
                assertEquals(KEYS, warmed(fixture.store).broughtRecords());
                check(fixture.store, writer);
            }
        }
    }

    @Test
    void aDeclaredOrderIsKept() {
        try (Fixture fixture = new Fixture()) {
            fill(fixture);
            KeyGroupRange half = KeyGroupRange.of(0, 63);
            WarmUp[] ways = {
                WarmUp.declared(),
                WarmUp.declared(WarmUp.Part.state("no such state"), WarmUp.Part.groups(half)),
                WarmUp.declared(WarmUp.Part.state("values").in(half), WarmUp.Part.state("values"))
            };
            for (int i = 0; i < ways.length; i++) {
                fixture.reopen(new StoreOptions().warmUp(ways[i]));
                try (Writer writer = fixture.store.writer()) {
                    long brought = warmed(fixture.store).broughtRecords();
                    assertTrue(i == 1 ? brought > 0 && brought < KEYS : brought == KEYS, "brought " + brought);
                    check(fixture.store, writer);
                }
            }
        }
    }

    @Test
    void aLongChangelogIsReplayedOnDemand() {
        StoreOptions options = new StoreOptions().durability(Durability.CHANGELOG).changelogFileBytes(1 << 20);
        try (Fixture fixture = new Fixture(options)) {
            byte[] filler = new byte[64 << 10];
            State values = fixture.store.state(StateOptions.value("values"));
            try (Writer writer = fixture.store.writer()) {
                for (byte i = 0; i < 64; i++) {
                    java.util.Arrays.fill(filler, i);
                    writer.put(values, key(i), filler);
                }
                writer.commit(new Commit());
            }
            fixture.reopen(options.wholeReplayBytes(Long.MAX_VALUE));
            try (Writer writer = fixture.store.writer()) {
                Recovery recovery = fixture.store.recovery();
                assertEquals(Recovery.Stage.COMPLETE, recovery.stage());
                assertEquals(recovery.replayBytes(), recovery.replayedBytes());
                assertTrue(recovery.replayBytes() > 64 * filler.length);
            }
            boolean wentOn = false;
            for (int tries = 0; tries < 50 && !wentOn; tries++) {
                fixture.reopen(options.wholeReplayBytes(0));
                try (Writer writer = fixture.store.writer()) {
                    wentOn = fixture.store.recovery().stage() == Recovery.Stage.REPLAYING;
                    State found = fixture.store.state(StateOptions.value("values"));
                    for (byte i = 0; i < 64; i++) {
                        java.util.Arrays.fill(filler, i);
                        assertArrayEquals(filler, writer.get(found, key(i)));
                    }
                }
            }
            assertTrue(wentOn);
            assertThrows(AlluviumException.class, () -> fixture.reopen(options.wholeReplayBytes(-1)));
            fixture.store = Store.open(fixture.engine, fixture.directory.resolve("store"), options.wholeReplayBytes(0));
        }
    }

    @Test
    void theHotListIsWarmedUpBy() {
        StoreOptions options = new StoreOptions().hotListBytes(1 << 20);
        try (Fixture fixture = new Fixture(options)) {
            State values = fixture.store.state(StateOptions.value("values"));
            try (Writer writer = fixture.store.writer()) {
                for (int i = 0; i < KEYS; i++) {
                    writer.put(values, key(i), value(i));
                }
                fixture.checkpoint(1);
                while (!fixture.store.metrics().matches("(?s).*alluvium_hot_list_bytes_total [1-9].*")) {
                    Thread.onSpinWait();
                }
            }
            fixture.reopen(options.warmUp(WarmUp.HOTTEST));
            try (Writer writer = fixture.store.writer()) {
                Recovery recovery = warmed(fixture.store);
                assertEquals(KEYS, recovery.broughtRecords());
                assertEquals(KEYS, recovery.warmUpRecords());
                assertEquals(KEYS, recovery.warmedUpRecords());
                assertEquals(recovery.warmUpBytes(), recovery.warmedUpBytes());
                assertEquals(1.0, recovery.restored());
                assertEquals(0, recovery.replayBytes() + recovery.replayedBytes());
                check(fixture.store, writer);
            }
        }
    }
}
