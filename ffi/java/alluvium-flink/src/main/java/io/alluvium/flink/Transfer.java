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
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.runtime.state.CheckpointStateOutputStream;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.CheckpointedStateScope;
import org.apache.flink.runtime.state.StreamStateHandle;
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
        for (Upload file : files) {
            tasks.add(() -> upload(file, factory, scope, registry));
        }
        List<StreamStateHandle> handles = new ArrayList<>();
        try {
            run(tasks, handles);
        } catch (Exception e) {
            for (StreamStateHandle handle : handles) {
                discard(handle, e);
            }
            throw e;
        }
        return handles;
    }

    /** Discards what nobody will know of, because of a failure. */
    static void discard(StreamStateHandle handle, Exception why) {
        try {
            handle.discardState();
        } catch (Exception e) {
            why.addSuppressed(e);
        }
    }

    private static StreamStateHandle upload(
            Upload file, CheckpointStreamFactory factory, CheckpointedStateScope scope, CloseableRegistry registry)
            throws IOException {
        CheckpointStateOutputStream out = factory.createCheckpointStateOutputStream(scope);
        try (InputStream in = file.open()) {
            registry.registerCloseable(out);
            copy(in, out);
            if (!registry.unregisterCloseable(out)) {
                throw new IOException("The upload of " + file.name + " was cancelled.");
            }
            StreamStateHandle handle = out.closeAndGetHandle();
            if (handle == null) {
                throw new IOException("The upload of " + file.name + " came to nothing.");
            }
            return handle;
        } catch (IOException e) {
            registry.unregisterCloseable(out);
            IOUtils.closeQuietly(out);
            throw e;
        }
    }

    private static void copy(InputStream in, OutputStream out) throws IOException {
        byte[] buffer = new byte[BUFFER_BYTES];
        for (int len = in.read(buffer); len >= 0; len = in.read(buffer)) {
            out.write(buffer, 0, len);
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
        for (Download download : downloads) {
            tasks.add(() -> download(download, registry));
        }
        run(tasks, new ArrayList<>());
    }

    private static Path download(Download download, CloseableRegistry registry) throws IOException {
        try (InputStream in = download.handle.openInputStream();
                Closeable ignored = registry.registerCloseableTemporarily(in);
                OutputStream out = Files.newOutputStream(download.file, StandardOpenOption.CREATE_NEW)) {
            copy(in, out);
        }
        return download.file;
    }

    /** Runs tasks, each of which ends before this does, and collects what comes out of those that succeed. */
    private <T> void run(List<Callable<T>> tasks, List<T> results) throws Exception {
        if (threads == 1 || tasks.size() <= 1) {
            for (Callable<T> task : tasks) {
                results.add(task.call());
            }
            return;
        }
        List<Future<T>> futures = new ArrayList<>();
        for (Callable<T> task : tasks) {
            futures.add(executor().submit(task));
        }
        Exception failure = null;
        for (Future<T> future : futures) {
            failure = await(future, results, failure);
            if (failure != null) {
                futures.forEach(other -> other.cancel(true));
            }
        }
        if (failure instanceof InterruptedException) {
            Thread.currentThread().interrupt();
        }
        if (failure != null) {
            throw failure;
        }
    }

    private static <T> Exception await(Future<T> future, List<T> results, Exception before) {
        boolean interrupted = false;
        try {
            while (true) {
                try {
                    results.add(future.get());
                    return interrupted ? new InterruptedException("while files were copied") : before;
                } catch (InterruptedException e) {
                    // Its files have to be known, so that they can be discarded.
                    interrupted = true;
                }
            }
        } catch (CancellationException e) {
            return before != null ? before : e;
        } catch (ExecutionException e) {
            Throwable cause = e.getCause();
            Exception problem = cause instanceof Exception ? (Exception) cause : e;
            return before != null ? before : problem;
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
