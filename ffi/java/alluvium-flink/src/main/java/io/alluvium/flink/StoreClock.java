package io.alluvium.flink;

import org.apache.flink.runtime.state.ttl.TtlTimeProvider;

/**
 * Flink's clock, of which the store hears. By that of its last checkpoint compaction removes what is too old; so it has to hear at once where the
 * clock goes back, or what is written from then on would be too old by the time before.
 */
final class StoreClock implements TtlTimeProvider {
    private final TtlTimeProvider inner;
    private final OpenStore store;
    /** What the store heard last, or an earlier time; the task's thread alone uses it. */
    private long told;

    StoreClock(TtlTimeProvider inner, OpenStore store) {
        this.inner = inner;
        this.store = store;
        // What the store was restored from may have been written by a clock that was ahead.
        tell();
    }

    @Override
    public long currentTimestamp() {
        long now = inner.currentTimestamp();
        if (store.isOwner() && now < told) {
            tell(now);
        }
        return now;
    }

    /** Has the store hear of the time. */
    void tell() {
        tell(inner.currentTimestamp());
    }

    private void tell(long now) {
        told = now;
        store.writer.setTimeMs(Math.max(0, now));
    }
}
