package io.alluvium.flink;

import io.alluvium.Engine;
import io.alluvium.EngineOptions;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The engine of a slot: the memory budget and the threads that all of the slot's stores share. Flink's memory manager counts who uses it, and
 * closes it after the last of them.
 */
final class SlotEngine implements AutoCloseable {
    /** The least and the most that an engine takes. */
    private static final long BUDGET_MIN_BYTES = 4L << 20;

    private static final long BUDGET_MAX_BYTES = 32L << 30;
    private static final Logger LOG = LoggerFactory.getLogger(SlotEngine.class);

    private final Engine engine;

    SlotEngine(long bytes, int threads) {
        if (bytes < BUDGET_MIN_BYTES) {
            LOG.warn("The slot has {} bytes for state; an engine needs {}, which it takes", bytes, BUDGET_MIN_BYTES);
        }
        long budget = Math.min(BUDGET_MAX_BYTES, Math.max(BUDGET_MIN_BYTES, bytes));
        engine = Engine.open(new EngineOptions().memoryBudgetBytes(budget).threads(threads));
    }

    Engine engine() {
        return engine;
    }

    @Override
    public void close() {
        engine.close();
    }
}
