package io.alluvium.flink;

import io.alluvium.AlluviumException;
import io.alluvium.Cursor;
import io.alluvium.KeyGroupRange;
import io.alluvium.Reader;
import io.alluvium.Status;
import io.alluvium.Store;
import io.alluvium.Writer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.Set;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.runtime.memory.OpaqueMemoryResource;
import org.apache.flink.util.FileUtils;
import org.apache.flink.util.IOUtils;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The store of a keyed backend, its writer, and what it was opened in: the engine that is shared with the slot's other backends, and a
 * directory of its own. Everything is closed in order, and the directory deleted.
 *
 * <p>The writer and its cursors belong to the task's thread, which made this; the reader is for any.
 */
final class OpenStore implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(OpenStore.class);
    /** So long a query is waited for, about, when everything is closed. */
    private static final int QUERY_MS_MAX = 10_000;

    final Store store;
    final Writer writer;
    final KeyGroupRange range;
    private final Reader reader;
    private final Path directory;
    private final Path storeDirectory;
    private final OpaqueMemoryResource<SlotEngine> engine;
    /** Cursors of streams that their users may never close. */
    private final Set<Cursor> cursors = Collections.newSetFromMap(new IdentityHashMap<>());

    /** Null where all files were here from the start. */
    private Bringing bringing;

    /** Null where nobody wants them. */
    private StoreMetrics metrics;

    private final Thread owner = Thread.currentThread();
    private volatile boolean closed;

    /** Takes over everything. {@code directory} has the store's own in it. */
    OpenStore(Store store, Path storeDirectory, Path directory, OpaqueMemoryResource<SlotEngine> engine) {
        this.store = store;
        this.storeDirectory = storeDirectory;
        this.directory = directory;
        this.engine = engine;
        range = store.range();
        Writer opened = null;
        try {
            opened = store.writer();
            reader = store.reader();
        } catch (Throwable e) {
            // Nobody else knows of them yet.
            IOUtils.closeAllQuietly(opened, store);
            throw e;
        }
        writer = opened;
    }

    /** Whether the calling thread is the task's, which the writer belongs to. */
    boolean isOwner() {
        return Thread.currentThread() == owner;
    }

    /** For threads that are not the task's; those that come when everything is being closed get none. */
    Reader reader() {
        if (closed) {
            throw new IllegalStateException("The store in " + storeDirectory + " is closed.");
        }
        return reader;
    }

    /** Where the store's files are. */
    Path directory() {
        return storeDirectory;
    }

    /** What the store lives in. */
    SlotEngine engine() {
        return engine.getResourceHandle();
    }

    /** Takes over what brings the files that are not here. */
    void bringing(Bringing taken) {
        bringing = taken;
    }

    /** What brings the files that are not here; null where all of them were from the start. */
    Bringing bringing() {
        return bringing;
    }

    /** Reports what the store counts until it is closed. */
    void report(MetricGroup group) {
        metrics = StoreMetrics.register(store, engine.getResourceHandle().engine(), group);
    }

    /** Has a cursor closed with the store, if not before. */
    Cursor watch(Cursor cursor) {
        cursors.add(cursor);
        return cursor;
    }

    /** Closes a cursor that was {@linkplain #watch watched}. */
    void done(Cursor cursor) {
        cursors.remove(cursor);
        cursor.close();
    }

    @Override
    public void close() {
        if (closed) {
            return;
        }
        closed = true;
        cursors.forEach(cursor -> quietly("cursor", cursor));
        cursors.clear();
        if (metrics != null) {
            metrics.close();
        }
        if (bringing != null) {
            quietly("bringing of files", bringing::end);
        }
        quietly("reader", this::closeReader);
        if (bringing != null) {
            quietly("wants of files", bringing);
        }
        quietly("writer", writer);
        // A query may still have a cursor, which can't read any more.
        quietly("store", store, Status.IN_USE, Status.HAS_CHILDREN);
        quietly("engine", engine);
        delete(directory);
    }

    /** Whoever has the reader may come to wait for a file only now, which nobody brings any more: between two attempts they are told. */
    private void closeReader() {
        try {
            reader.close();
        } catch (AlluviumException e) {
            if (bringing != null) {
                bringing.cancelWaits();
            }
            throw e;
        }
    }

    private void quietly(String what, AutoCloseable closeable) {
        quietly(what, closeable, Status.IN_USE);
    }

    /** The task is over whatever comes of it, and its directory goes; so a problem is told to nobody but the log. */
    private void quietly(String what, AutoCloseable closeable, Status... passing) {
        try {
            closePatiently(closeable, Set.of(passing));
        } catch (Exception e) {
            LOG.warn("The {} of {} was not closed well", what, storeDirectory, e);
        }
    }

    /** A query of another thread may just be under way: were the reader left open for it, store and engine would be too, with the slot's memory. */
    private static void closePatiently(AutoCloseable closeable, Set<Status> passing) throws Exception {
        boolean interrupted = false;
        try {
            for (int left = QUERY_MS_MAX; ; left--) {
                try {
                    closeable.close();
                    return;
                } catch (AlluviumException e) {
                    if (left == 0 || !passing.contains(e.status())) {
                        throw e;
                    }
                }
                try {
                    Thread.sleep(1);
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    /** Deletes a directory, or says why not. */
    static void delete(Path directory) {
        try {
            FileUtils.deleteDirectory(directory.toFile());
        } catch (IOException e) {
            LOG.warn("{} could not be deleted", directory, e);
        }
    }
}
