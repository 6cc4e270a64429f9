package io.alluvium.flink;

import io.alluvium.AlluviumException;
import io.alluvium.Checkpoint;
import io.alluvium.CheckpointInfo;
import io.alluvium.PendingCheckpoint;
import java.io.IOException;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.util.ResourceGuard;

/**
 * The store's checkpoints, and what Flink says of them. Flink's numbers can come twice, after a restore or from a test; so the store's labels
 * are counted here.
 *
 * <p>Cuts are made and words of Flink heard in the task's thread. A cut keeps the store open until it is released.
 */
final class Checkpoints {
    private final OpenStore store;
    private final ResourceGuard guard;
    private final StoreClock clock;
    private final Map<Long, Long> labels = new HashMap<>();
    private long last;

    Checkpoints(OpenStore store, ResourceGuard guard, StoreClock clock) {
        this.store = store;
        this.guard = guard;
        this.clock = clock;
        last = store.store.checkpoints().stream().mapToLong(CheckpointInfo::label).max().orElse(0);
    }

    /** Cuts a checkpoint: what was written before is in it, nothing written later. Flink hears of one that stands alone once, here. */
    Cut cut(long checkpoint, boolean standalone) throws IOException {
        ResourceGuard.Lease lease = guard.acquireResource();
        try {
            long label = ++last;
            // By this compaction knows what is so old that it may go. It has until the next checkpoint for that.
            clock.tell();
            Checkpoint asked = Checkpoint.of(label);
            PendingCheckpoint pending = store.writer.checkpoint(standalone ? asked.standalone() : asked);
            if (!standalone) {
                synchronized (this) {
                    labels.put(checkpoint, label);
                }
            }
            return new Cut(label, pending, lease, standalone);
        } catch (AlluviumException e) {
            lease.close();
            throw Failure.io("the checkpoint " + checkpoint + " was not cut", e);
        } catch (Throwable e) {
            lease.close();
            throw e;
        }
    }

    private synchronized Long label(long checkpoint, boolean isLast) {
        return isLast ? labels.remove(checkpoint) : labels.get(checkpoint);
    }

    /** Flink completed a checkpoint, and needs those before it no more. */
    void completed(long checkpoint) {
        Long label = label(checkpoint, false);
        if (label != null) {
            store.store.confirm(label);
            synchronized (this) {
                labels.keySet().removeIf(other -> other < checkpoint);
            }
        }
    }

    /** Flink gave a checkpoint up. */
    void aborted(long checkpoint) {
        Long label = label(checkpoint, true);
        if (label != null) {
            store.store.abort(label);
        }
    }

    /** Flink needs a checkpoint no more. */
    void subsumed(long checkpoint) {
        Long label = label(checkpoint, true);
        if (label != null) {
            store.store.subsume(label);
        }
    }

    /** A checkpoint that was cut. Its asynchronous part may run in any thread, and is released once. */
    final class Cut {
        private final long label;
        private final PendingCheckpoint pending;
        private final ResourceGuard.Lease lease;
        private final boolean standalone;
        private boolean kept;
        private boolean released;

        private Cut(long label, PendingCheckpoint pending, ResourceGuard.Lease lease, boolean standalone) {
            this.label = label;
            this.pending = pending;
            this.lease = lease;
            this.standalone = standalone;
        }

        long label() {
            return label;
        }

        /** Waits until its files are there. */
        void await() throws IOException {
            try {
                pending.await();
            } catch (AlluviumException e) {
                throw Failure.io("the checkpoint of the label " + label + " did not become complete", e);
            }
        }

        /** Has who waits for it fail, unless it is to be {@linkplain #keep kept} already. */
        synchronized void cancel() {
            if (!released && !kept) {
                store.store.abort(label);
            }
        }

        /** It was written for Flink, which will say what becomes of it. */
        synchronized void keep() {
            kept = !standalone;
        }

        /** Lets go of the store, and of the checkpoint unless it is to be {@linkplain #keep kept}. */
        synchronized void release() {
            if (released) {
                return;
            }
            released = true;
            try {
                pending.close();
                if (!kept) {
                    store.store.abort(label);
                }
            } finally {
                lease.close();
            }
        }
    }
}
