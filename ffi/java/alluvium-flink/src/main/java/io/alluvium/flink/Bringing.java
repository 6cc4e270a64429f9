package io.alluvium.flink;

import io.alluvium.AlluviumException;
import io.alluvium.Fetches;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.util.IOUtils;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Brings the files of restored checkpoints while the task works on them: what somebody waits for first, then the rest. Its threads end when
 * everything is here.
 *
 * <p>After {@link #cancel}, which a thread may call that is not the task's, whoever waits for a file fails, and so does whoever comes to.
 */
final class Bringing implements Closeable {
    private static final Logger LOG = LoggerFactory.getLogger(Bringing.class);
    private static final Duration PATIENCE = Duration.ofMillis(50);
    /** After so many waits what could not be brought is asked for again. */
    private static final int WAITS = 20;
    /** So long what failed too often isn't asked for again where nobody waits for it, twice as long each time, until anything comes. */
    private static final Duration PAUSE = Duration.ofMillis(500);
    private static final Duration PAUSE_MAX = Duration.ofSeconds(30);

    private final Fetches fetches;
    private final Path directory;
    private final Map<String, StreamStateHandle> elsewhere;
    private final Set<String> local;
    private final List<Thread> threads = new ArrayList<>();
    /** The streams that are read from; closed, none is opened any more. */
    private final CloseableRegistry streams = new CloseableRegistry();

    private final Failed failed = new Failed();

    private volatile boolean closed;

    /** Takes over the fetches, of files that come into this directory. The {@code local} ones are elsewhere on this machine. */
    Bringing(
            Fetches fetches,
            Path directory,
            Map<String, StreamStateHandle> elsewhere,
            Set<String> local,
            int threads) {
        this.fetches = fetches;
        this.directory = directory;
        this.elsewhere = elsewhere;
        this.local = local;
        for (int number = 0; number < threads; number++) {
            Thread thread = new Thread(this::serve, "alluvium-restore-" + number);
            thread.setDaemon(true);
            this.threads.add(thread);
            thread.start();
        }
    }

    /** Where a file is that may not be here yet; null where it never was elsewhere. */
    StreamStateHandle elsewhere(String file) {
        return elsewhere.get(file);
    }

    /** Whether all files are here. */
    boolean isDone() {
        return fetches.absentFiles() == 0;
    }

    /** Whether a file is, or was, in a copy on this machine, which Flink deletes as soon as any later checkpoint is complete. */
    boolean isLocal(String file) {
        return local.contains(file);
    }

    /**
     * Waits until these files are here, whatever it takes; they come before others that nobody waits for. Fails where nothing comes any more, and
     * where the registry is closed.
     */
    void await(Collection<String> files, CloseableRegistry registry) throws IOException, InterruptedException {
        CountDownLatch cancelled = new CountDownLatch(1);
        List<String> absent = new ArrayList<>(files);
        try (Closeable ignored = registry.registerCloseableTemporarily(cancelled::countDown)) {
            for (int wait = 0; !isDone(); wait++) {
                absent.removeIf(file -> Files.exists(directory.resolve(file)));
                if (absent.isEmpty()) {
                    return;
                }
                if (wait % WAITS == 0) {
                    absent.forEach(file -> fetches.prefer(file, 0, Long.MAX_VALUE));
                }
                if (streams.isClosed()) {
                    throw new IOException("Files that are elsewhere are not brought any more: " + absent);
                }
                if (cancelled.await(PATIENCE.toMillis(), TimeUnit.MILLISECONDS)) {
                    throw new IOException("The wait for files that are elsewhere was cancelled.");
                }
            }
        }
    }

    private void serve() {
        Source source = new Source();
        try {
            boolean came = true;
            while (!closed && !isDone()) {
                // After a failure only what somebody waits for is worth a try at once.
                List<Fetches.Request> requests =
                        came ? fetches.await(1, PATIENCE) : fetches.awaitDemanded(1, PATIENCE);
                if (requests.isEmpty() && came && !streams.isClosed()) {
                    failed.due().forEach(file -> fetches.prefer(file, 0, Long.MAX_VALUE));
                }
                came = true;
                for (Fetches.Request request : requests) {
                    came = bring(request, source);
                }
            }
        } catch (Throwable e) {
            LOG.warn("Files that are elsewhere are not brought any more", e);
            // Nobody must wait for what nobody brings.
            cancel();
        } finally {
            source.close();
        }
    }

    /** Answers a request; false: it was not brought. */
    private boolean bring(Fetches.Request request, Source source) {
        try {
            if (streams.isClosed()) {
                throw new IOException("the task is cancelled");
            }
            fetches.complete(request, source.read(request));
            failed.came();
            return true;
        } catch (Throwable e) {
            // Whatever it is, memory that is short included: it has to be answered, as somebody may wait.
            source.close();
            LOG.debug("{} was not brought", request.file(), e);
            fetches.fail(request, String.valueOf(e.getMessage()));
            failed.add(request.file());
            return false;
        }
    }

    /** The files that could not be brought. Where nobody waits for them the store asks for them a few times, and then no more. */
    private static final class Failed {
        private final Set<String> files = new HashSet<>();
        private Duration pause = PAUSE;
        /** When they are to be asked for again, by the clock of {@link System#nanoTime}; null: not as long as anything else is asked for. */
        private Long again;

        synchronized void add(String file) {
            files.add(file);
        }

        synchronized void came() {
            pause = PAUSE;
            again = null;
        }

        /** Those to be asked for again now, when nothing is asked for. */
        synchronized Set<String> due() {
            long now = System.nanoTime();
            if (files.isEmpty() || (again != null && now - again < 0)) {
                return Set.of();
            }
            if (again == null) {
                again = now + pause.toNanos();
                return Set.of();
            }
            again = null;
            Duration twice = pause.multipliedBy(2);
            pause = twice.compareTo(PAUSE_MAX) < 0 ? twice : PAUSE_MAX;
            Set<String> due = Set.copyOf(files);
            files.clear();
            return due;
        }
    }

    /** The file that a thread read last, as it will often read on there. */
    private final class Source {
        private String file;
        private FSDataInputStream in;

        byte[] read(Fetches.Request request) throws IOException {
            if (!request.file().equals(file)) {
                close();
                StreamStateHandle handle = elsewhere.get(request.file());
                if (handle == null) {
                    throw new IOException("no checkpoint that was restored has " + request.file());
                }
                FSDataInputStream opened = handle.openInputStream();
                // Closes it, and fails, where the task is cancelled.
                streams.registerCloseable(opened);
                in = opened;
                file = request.file();
            }
            if (in.getPos() != request.offset()) {
                in.seek(request.offset());
            }
            byte[] bytes = new byte[request.len()];
            for (int at = 0; at < bytes.length; ) {
                int len = in.read(bytes, at, bytes.length - at);
                if (len < 0) {
                    throw new EOFException(request.file() + " ends at " + (request.offset() + at));
                }
                at += len;
            }
            return bytes;
        }

        void close() {
            if (in != null) {
                streams.unregisterCloseable(in);
            }
            IOUtils.closeQuietly(in);
            in = null;
            file = null;
        }
    }

    /** Has everybody fail who waits for a file, now or later. */
    void cancel() {
        IOUtils.closeQuietly(streams);
        // Those that are just opening one.
        threads.forEach(Thread::interrupt);
        if (!closed) {
            try {
                fetches.cancelWaits();
            } catch (AlluviumException e) {
                LOG.warn("Those who wait for files that are elsewhere were not told", e);
            }
        }
    }

    /** Ends the threads, and waits for them. Whoever waits for a file fails, as nobody brings it any more. */
    void end() {
        closed = true;
        IOUtils.closeQuietly(streams);
        threads.forEach(Thread::interrupt);
        boolean interrupted = false;
        for (Thread thread : threads) {
            while (thread.isAlive()) {
                try {
                    thread.join();
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        cancelWaits();
    }

    /** Has whoever waits for a file now fail: those who come to wait after {@link #end} are told by nobody else. */
    void cancelWaits() {
        fetches.cancelWaits();
    }

    /** As {@link #end}, for good: nobody may come to wait any more, as nobody could be told. */
    @Override
    public void close() {
        end();
        fetches.close();
    }
}
