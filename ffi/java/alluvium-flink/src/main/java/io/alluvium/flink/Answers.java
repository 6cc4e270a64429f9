package io.alluvium.flink;

import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Waits for answers that have to be read from disk, and takes them, in a thread of its own: no thread of the engine enters Java, and the task's
 * thread, while it waits for records that are under way, does no work but theirs. A batch is with one thread at a time: first with the task's,
 * then with this one.
 */
final class Answers implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(Answers.class);

    private final BlockingQueue<Submitted> awaited = new LinkedBlockingQueue<>();
    /** Null until anything has to be waited for. */
    private Thread thread;
    /** How many batches are not answered. Guarded by this. */
    private int count;

    private volatile boolean closed;

    /** Has the answers of a batch taken when they are there. */
    void take(Submitted submitted) {
        if (thread == null) {
            thread = new Thread(this::serve, "alluvium-answers");
            thread.setDaemon(true);
            thread.start();
        }
        synchronized (this) {
            count++;
        }
        awaited.add(submitted);
    }

    private void serve() {
        try {
            while (!closed) {
                Submitted submitted = awaited.take();
                try {
                    serve(submitted);
                } finally {
                    answered();
                }
            }
        } catch (InterruptedException e) {
            // Closing does that.
        }
    }

    private static void serve(Submitted submitted) {
        try {
            submitted.ticket.await();
            submitted.take(null);
        } catch (Throwable e) {
            try {
                submitted.fail(e);
            } catch (RuntimeException rejected) {
                // The task is over, and has nobody any more who would hear of it.
                LOG.debug("Answers were not taken", e);
            }
        }
    }

    private synchronized void answered() {
        count--;
        notifyAll();
    }

    /** Waits until one more batch is answered; false where there is none to be waited for. */
    synchronized boolean awaitNext() throws InterruptedException {
        int before = count;
        while (count == before && before > 0) {
            wait();
        }
        return before > 0;
    }

    /** Ends the thread, and gives up what was not answered. To be called before the store is closed. */
    @Override
    public void close() {
        if (closed) {
            return;
        }
        closed = true;
        if (thread != null) {
            thread.interrupt();
            boolean interrupted = false;
            while (thread.isAlive()) {
                try {
                    thread.join();
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
        awaited.forEach(Submitted::close);
    }
}
