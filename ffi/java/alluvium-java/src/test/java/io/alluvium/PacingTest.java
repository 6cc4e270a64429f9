package io.alluvium;

import static io.alluvium.Fixture.bytes;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** When checkpoints are due by each policy, what a recovery would take, and what stands in the way of a promise. */
class PacingTest {
    private Fixture fixture;
    private long openBefore;

    @BeforeEach
    void open() {
        openBefore = Engine.openObjects();
    }

    @AfterEach
    void close() {
        if (fixture != null) {
            fixture.close();
        }
        assertEquals(openBefore, Engine.openObjects());
    }

    private static Duration seconds(long seconds) {
        return Duration.ofSeconds(seconds);
    }

    private Store paced(CheckpointPolicy policy) {
        fixture = new Fixture(new StoreOptions().checkpointPolicy(policy));
        return fixture.store;
    }

    /** Writes a little, as so many units of input. */
    private static void take(Store store, long units) {
        try (Writer writer = store.writer()) {
            writer.put(store.state(StateOptions.value("values")), bytes("k"), bytes("v"));
        }
        store.observeInput(units);
    }

    private static NextCheckpoint next(Store store) {
        return store.nextCheckpoint().get();
    }

    private static NextCheckpoint due(Store store) {
        NextCheckpoint next = next(store);
        while (!next.isDue()) {
            Thread.onSpinWait();
            next = next(store);
        }
        return next;
    }

    private static void assertWithin(Duration from, Duration to, Duration found) {
        assertTrue(found.compareTo(from) >= 0 && found.compareTo(to) <= 0, found.toString());
    }

    @Test
    void noneIsEverDueByHand() {
        Store store = paced(CheckpointPolicy.MANUAL);
        take(store, 1_000);
        assertEquals(Optional.empty(), store.nextCheckpoint());
        assertEquals(Optional.empty(), store.checkpointConflict());
        assertWithin(Duration.ofNanos(1), seconds(1_000), store.predictedRecovery());
    }

    @Test
    void aFixedIntervalCountsFromTheBarrier() {
        Store store = paced(CheckpointPolicy.fixed(seconds(1_000)));
        take(store, 0);
        fixture.checkpoint(1);
        NextCheckpoint next = next(store);
        assertFalse(next.isDue());
        assertWithin(seconds(900), seconds(1_000), next.dueIn());
        assertEquals(NextCheckpoint.Reason.INTERVAL, next.reason());
    }

    @Test
    void whatIsDueIsTakenAndFoundAgain() {
        Store store = paced(CheckpointPolicy.fixed(Duration.ofMillis(5)));
        for (int label = 1; label <= 3; label++) {
            take(store, 1);
            assertEquals(Duration.ZERO, due(store).dueIn());
            fixture.checkpoint(label);
        }
        fixture.reopen(new StoreOptions());
        assertEquals(3, fixture.store.restored().get().label());
    }

    @Test
    void youngsIntervalIsLongerWhereCheckpointsCostMore() {
        // 2 × 3,600 s × 8 s is the square of 240 s.
        Store store = paced(CheckpointPolicy.young(seconds(3_600)));
        store.observeCheckpointCost(seconds(8));
        take(store, 100);
        fixture.checkpoint(1);
        take(store, 100);
        assertWithin(seconds(120), seconds(240), next(store).dueIn());
    }

    @Test
    void aRecoveryIsPredictedAndPromised() {
        Store store = paced(CheckpointPolicy.recoveryTime(seconds(10_000)));
        take(store, 1);
        // A millisecond for each unit.
        store.observeReplay(1_000_000, seconds(1_000));
        take(store, 3_000_000 - 1);
        assertWithin(seconds(3_000), seconds(3_100), store.predictedRecovery());
        assertFalse(next(store).isDue());
        assertEquals(Optional.empty(), store.checkpointConflict());
        fixture.checkpoint(1);
        assertWithin(Duration.ZERO, seconds(100), store.predictedRecovery());

        take(store, 9_500_000);
        NextCheckpoint.Reason reason = due(store).reason();
        assertTrue(reason == NextCheckpoint.Reason.LOG || reason == NextCheckpoint.Reason.BURST, reason.toString());
        // With input at half of the capacity recovery takes twice as long.
        store.observeRates(500, 1_000);
        assertWithin(seconds(19_000), seconds(30_000), store.predictedRecovery());
        assertTrue(next(store).isDue());
        CheckpointConflict conflict = store.checkpointConflict().get();
        assertTrue(conflict.reachable().compareTo(seconds(19_000)) >= 0, conflict.toString());
        store.observeRates(Double.NaN, Double.NaN);
        assertWithin(Duration.ZERO, seconds(19_000), store.predictedRecovery());
    }

    @Test
    void thereIsNoEndToItWhereInputComesFasterThanItCanBeWorkedOff() {
        Store store = paced(CheckpointPolicy.recoveryTime(seconds(10_000)));
        take(store, 1);
        store.observeReplay(1_000_000, seconds(1_000));
        take(store, 1_000);
        store.observeRates(500, 400);
        next(store);
        CheckpointConflict conflict = store.checkpointConflict().get();
        assertEquals(Duration.ofNanos(Long.MAX_VALUE), conflict.reachable());
        assertEquals(CheckpointConflict.Cause.CATCHING_UP, conflict.cause());
        assertEquals(conflict.reachable(), store.predictedRecovery());
    }

    @Test
    void whatIsOutOfReachIsSaid() {
        Store store = paced(CheckpointPolicy.recoveryTime(Duration.ofNanos(100), 5));
        take(store, 10);
        next(store);
        CheckpointConflict conflict = store.checkpointConflict().get();
        assertEquals(CheckpointConflict.Cause.OPEN_COST, conflict.cause());
        assertEquals(CheckpointConflict.Kept.WRITE_AMPLIFICATION, conflict.kept());
        assertTrue(conflict.reachable().compareTo(Duration.ofNanos(100)) > 0);
        assertTrue(conflict.neededWriteAmplification() >= 0);
    }

    @Test
    void wrongNumbersAreRefused() {
        for (Duration wrong : new Duration[] {Duration.ZERO, seconds(-1)}) {
            assertThrows(IllegalArgumentException.class, () -> CheckpointPolicy.fixed(wrong));
            assertThrows(IllegalArgumentException.class, () -> CheckpointPolicy.young(wrong));
            assertThrows(IllegalArgumentException.class, () -> CheckpointPolicy.recoveryTime(wrong));
        }
        for (double wrong : new double[] {0.5, -1, Double.NaN, Double.NEGATIVE_INFINITY}) {
            assertThrows(IllegalArgumentException.class, () -> CheckpointPolicy.recoveryTime(seconds(1), wrong));
        }
        assertThrows(NullPointerException.class, () -> new StoreOptions().checkpointPolicy(null));
        // Longer than nanoseconds are counted for: as good as never.
        Store store = paced(CheckpointPolicy.fixed(seconds(Long.MAX_VALUE)));
        assertFalse(next(store).isDue());
        for (double wrong : new double[] {-1, Double.POSITIVE_INFINITY}) {
            assertEquals(ErrorClass.USAGE, assertThrows(AlluviumException.class, () -> store.observeRates(wrong, 1)).errorClass());
            assertEquals(ErrorClass.USAGE, assertThrows(AlluviumException.class, () -> store.observeRates(1, wrong)).errorClass());
        }
        assertThrows(AlluviumException.class, () -> store.observeInput(-1));
        assertThrows(AlluviumException.class, () -> store.observeReplay(-1, seconds(1)));
        assertThrows(AlluviumException.class, () -> store.observeReplay(1, seconds(-1)));
        assertThrows(AlluviumException.class, () -> store.observeCheckpointCost(seconds(-1)));
        store.close();
        assertThrows(ClosedException.class, store::nextCheckpoint);
        assertThrows(ClosedException.class, store::predictedRecovery);
        assertThrows(ClosedException.class, store::checkpointConflict);
        assertThrows(ClosedException.class, () -> store.observeInput(1));
    }
}
