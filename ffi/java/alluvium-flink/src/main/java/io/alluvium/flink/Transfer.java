package io.alluvium.flink;

import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.runtime.state.CheckpointStateOutputStream;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.CheckpointedStateScope;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.util.ExceptionUtils;
import org.apache.flink.util.IOUtils;
import org.apache.flink.util.concurrent.ExecutorThreadFactory;

/** Copies the files of checkpoints to and from where checkpoints are kept, several at a time. */
final class Transfer implements AutoCloseable {
    private static final int BUFFER_BYTES = 64 << 10;

    private final int threads;
    /** Null until there is more than one file to copy. */
    private ExecutorService executor;

    Transfer(int threads) {
        this.threads = threads;
    }

    /** A file to be uploaded, wherever it is. */
    static final class Upload {
        final String name;
        private final Path path;
        private final StreamStateHandle elsewhere;

        /** A file of this machine, or, where it isn't there, of elsewhere. */
        Upload(Path directory, String name, StreamStateHandle elsewhere) {
            this.name = name;
            path = directory.resolve(name);
            this.elsewhere = elsewhere;
        }

        InputStream open() throws IOException {
            return elsewhere == null || Files.exists(path) ? Files.newInputStream(path) : elsewhere.openInputStream();
        }
    }

    /** Uploads files; their handles come in the same order. What was uploaded before it failed is discarded. */
    List<StreamStateHandle> upload(
            List<Upload> files, CheckpointStreamFactory factory, CheckpointedStateScope scope, CloseableRegistry registry)
            throws Exception {
        List<Callable<StreamStateHandle>> tasks = new ArrayList<>();
        Failing failing = new Failing();
        for (Upload file : files) {
            tasks.add(() -> upload(file, factory, scope, registry, failing));
        }
        List<StreamStateHandle> handles = new ArrayList<>();
        try {
            run(tasks, handles, failing);
        } catch (Throwable e) {
            for (StreamStateHandle handle : handles) {
                discard(handle, e);
            }
            throw e;
        }
        return handles;
    }

    /** Discards what nobody will know of, because of a failure. */
    static void discard(StreamStateHandle handle, Throwable why) {
        try {
            handle.discardState();
        } catch (Exception e) {
            why.addSuppressed(e);
        }
    }

    private static StreamStateHandle upload(
            Upload file,
            CheckpointStreamFactory factory,
            CheckpointedStateScope scope,
            CloseableRegistry registry,
            Failing failing)
            throws IOException {
        CheckpointStateOutputStream out = factory.createCheckpointStateOutputStream(scope);
        // Both: either end may be what a copy is stuck at.
        try (InputStream in = file.open();
                Closeable ignored = registry.registerCloseableTemporarily(in)) {
            registry.registerCloseable(out);
            failing.copy(in, out);
            if (!registry.unregisterCloseable(out)) {
                throw new IOException("The upload of " + file.name + " was cancelled.");
            }
            StreamStateHandle handle = out.closeAndGetHandle();
            if (handle == null) {
                throw new IOException("The upload of " + file.name + " came to nothing.");
            }
            return handle;
        } catch (Throwable e) {
            registry.unregisterCloseable(out);
            IOUtils.closeQuietly(out);
            throw e;
        }
    }

    /** A file to be downloaded. */
    static final class Download {
        final StreamStateHandle handle;
        final Path file;

        Download(StreamStateHandle handle, Path file) {
            this.handle = handle;
            this.file = file;
        }
    }

    /** Downloads files into directories that are there. */
    void download(List<Download> downloads, CloseableRegistry registry) throws Exception {
        List<Callable<Path>> tasks = new ArrayList<>();
        Failing failing = new Failing();
        for (Download download : downloads) {
            tasks.add(() -> download(download, registry, failing));
        }
        run(tasks, new ArrayList<>(), failing);
    }

    private static Path download(Download download, CloseableRegistry registry, Failing failing)
            throws IOException {
        try (InputStream in = download.handle.openInputStream();
                Closeable ignored = registry.registerCloseableTemporarily(in);
                OutputStream out = Files.newOutputStream(download.file, StandardOpenOption.CREATE_NEW)) {
            failing.copy(in, out);
        } catch (IOException e) {
            throw new IOException(download.file.getFileName() + " was not downloaded: " + download.handle, e);
        }
        return download.file;
    }

    /**
     * Runs tasks, each of which ends before this does, and collects what comes out of those that succeed. After a failure those that still
     * copy are told; nobody is interrupted, as what a task uploaded has to be known until the end.
     */
    private <T> void run(List<Callable<T>> tasks, List<T> results, Failing failing) throws Exception {
        if (threads == 1 || tasks.size() <= 1) {
            for (Callable<T> task : tasks) {
                results.add(task.call());
            }
            return;
        }
        List<Future<T>> futures = new ArrayList<>();
        try {
            for (Callable<T> task : tasks) {
                futures.add(executor().submit(() -> failing.call(task)));
            }
        } catch (RejectedExecutionException e) {
            failing.because(e);
        }
        boolean interrupted = false;
        for (Future<T> future : futures) {
            interrupted |= await(future, results, failing);
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        failing.check();
    }

    /** Waits for a task, whatever happens; says whether this thread was interrupted meanwhile. */
    private static <T> boolean await(Future<T> future, List<T> results, Failing failing) {
        boolean interrupted = false;
        while (true) {
            try {
                results.add(future.get());
                return interrupted;
            } catch (InterruptedException e) {
                interrupted = true;
                failing.because(e);
            } catch (ExecutionException e) {
                failing.because(e.getCause());
                return interrupted;
            }
        }
    }

    /** What the copies of one call have in common: the first failure of any of them, by which the others stop. */
    private static final class Failing {
        private final AtomicReference<Throwable> first = new AtomicReference<>();

        void because(Throwable cause) {
            first.compareAndSet(null, cause);
        }

        <T> T call(Callable<T> task) throws Exception {
            try {
                return task.call();
            } catch (Throwable e) {
                because(e);
                throw e;
            }
        }

        void copy(InputStream in, OutputStream out) throws IOException {
            byte[] buffer = new byte[BUFFER_BYTES];
            for (int len = in.read(buffer); len >= 0; len = in.read(buffer)) {
                if (first.get() != null) {
                    throw new IOException("Another file was not copied.");
                }
                out.write(buffer, 0, len);
            }
        }

        void check() throws Exception {
            Throwable cause = first.get();
            if (cause != null) {
                ExceptionUtils.rethrowException(cause);
            }
        }
    }

    private synchronized ExecutorService executor() {
        if (executor == null) {
            executor = Executors.newFixedThreadPool(threads, new ExecutorThreadFactory("alluvium-transfer"));
        }
        return executor;
    }

    @Override
    public synchronized void close() {
        if (executor != null) {
            executor.shutdownNow();
        }
    }
}
