package io.alluvium.flink;

import io.alluvium.Batch;
import io.alluvium.Ticket;
import io.alluvium.Writer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.apache.flink.runtime.asyncprocessing.AsyncRequestContainer;
import org.apache.flink.runtime.asyncprocessing.RecordContext;
import org.apache.flink.runtime.asyncprocessing.StateExecutor;
import org.apache.flink.runtime.asyncprocessing.StateRequest;

/**
 * Executes requests of the asynchronous state API, in the order in which they come: as batches of the store, which write at once, answer at once
 * what memory has, and read the rest from disk together, while the task goes on. What no batch does (going through maps) is done in between.
 *
 * <p>What Flink has executed together may be several batches: each is in no budget of memory, nor is what it is answered from the store's.
 *
 * <p>The task's thread alone uses it.
 */
final class BatchExecutor<K> implements StateExecutor {
    /** A batch with so many reads is submitted. */
    private static final int READS_MAX = 64;
    /** One with so many bytes, too. */
    private static final int BYTES_MAX = 512 << 10;

    private static final CompletableFuture<Void> DONE = CompletableFuture.completedFuture(null);

    private final AlluviumKeyedStateBackend<K> backend;
    private final Writer writer;
    private final Batch batch;
    private final Answers answers = new Answers();
    /** The requests of the batch: those that write, and by their places those that read. */
    private final List<StateRequest<?, ?, ?, ?>> writes = new ArrayList<>();

    private final Map<Integer, Submitted.Read> reads = new HashMap<>();
    /** Whose key is the backend's. */
    private RecordContext<?> current;

    BatchExecutor(AlluviumKeyedStateBackend<K> backend) {
        this.backend = backend;
        writer = backend.openStore().writer;
        batch = new Batch(backend.openStore().store);
    }

    /** Requests in their order. */
    private static final class Requests implements AsyncRequestContainer<StateRequest<?, ?, ?, ?>> {
        private final List<StateRequest<?, ?, ?, ?>> all = new ArrayList<>();

        @Override
        public void offer(StateRequest<?, ?, ?, ?> request) {
            all.add(request);
        }

        @Override
        public boolean isEmpty() {
            return all.isEmpty();
        }
    }

    @Override
    public AsyncRequestContainer<StateRequest<?, ?, ?, ?>> createRequestContainer() {
        return new Requests();
    }

    @Override
    public CompletableFuture<Void> executeBatchRequests(AsyncRequestContainer<StateRequest<?, ?, ?, ?>> container) {
        List<CompletableFuture<Void>> parts = new ArrayList<>(1);
        for (StateRequest<?, ?, ?, ?> request : ((Requests) container).all) {
            if (!add(request)) {
                // What comes before it in the order is done before it.
                parts.add(submit());
                run(request);
            } else if (reads.size() >= READS_MAX || batch.bytes() >= BYTES_MAX) {
                parts.add(submit());
            }
        }
        parts.add(submit());
        // Keys of records may change after their requests were executed.
        current = null;
        return parts.size() == 1 ? parts.get(0) : CompletableFuture.allOf(parts.toArray(new CompletableFuture<?>[0]));
    }

    @Override
    public void executeRequestSync(StateRequest<?, ?, ?, ?> request) {
        run(request);
        current = null;
    }

    /** The state of a request, at the request's key and namespace. */
    @SuppressWarnings("unchecked")
    private <N> AsyncState<K, N> select(StateRequest<K, N, ?, ?> request) {
        AsyncState<K, N> state = (AsyncState<K, N>) request.getState();
        RecordContext<K> context = request.getRecordContext();
        if (context != current) {
            backend.setCurrentKeyAndKeyGroup(context.getKey(), context.getKeyGroup());
            current = context;
        }
        N namespace = request.getNamespace();
        state.stored().setCurrentNamespace(namespace == null ? state.defaultNamespace() : namespace);
        return state;
    }

    /** Puts a request into the batch, or fails it; false where it has to be run. */
    @SuppressWarnings("unchecked")
    private boolean add(StateRequest<?, ?, ?, ?> request) {
        int place = batch.size();
        AsyncState.Result result;
        try {
            AsyncState<K, Object> state = select((StateRequest<K, Object, ?, ?>) request);
            result = state.add((StateRequest<K, Object, ?, ?>) request, state.stored().key(), batch);
        } catch (Throwable e) {
            Submitted.fail(request, e);
            return true;
        }
        if (result == AsyncState.WRITTEN) {
            writes.add(request);
        } else if (result != null) {
            reads.put(place, new Submitted.Read(request, result));
        }
        return result != null;
    }

    @SuppressWarnings("unchecked")
    private void run(StateRequest<?, ?, ?, ?> request) {
        Object result;
        try {
            result = select((StateRequest<K, Object, ?, ?>) request).run((StateRequest<K, Object, ?, ?>) request);
        } catch (Throwable e) {
            Submitted.fail(request, e);
            return;
        }
        Submitted.complete(request, result);
    }

    /** Submits what is in the batch, and takes the answers that are there already. */
    private CompletableFuture<Void> submit() {
        if (batch.size() == 0) {
            return DONE;
        }
        List<StateRequest<?, ?, ?, ?>> written = new ArrayList<>(writes);
        Submitted submitted;
        try {
            while (writer.isFull() && answers.awaitNext()) {
                // Too many are in flight.
            }
            Ticket ticket = writer.submit(batch);
            submitted = new Submitted(ticket, reads);
        } catch (Throwable e) {
            CompletableFuture<Void> failed = fail(written, e);
            clear();
            return failed;
        }
        try {
            clear();
            written.forEach(request -> Submitted.complete(request, null));
            if (!submitted.take(writer)) {
                answers.take(submitted);
            }
        } catch (Throwable e) {
            // Nobody else knows of the ticket, which would keep the store open.
            submitted.fail(e);
            throw e;
        }
        return submitted.future;
    }

    private void clear() {
        batch.clear();
        writes.clear();
        reads.clear();
    }

    /** Part of the batch may be done: the task has to fail. */
    private CompletableFuture<Void> fail(List<StateRequest<?, ?, ?, ?>> written, Throwable cause) {
        if (cause instanceof InterruptedException) {
            Thread.currentThread().interrupt();
        }
        written.forEach(request -> Submitted.fail(request, cause));
        reads.values().forEach(read -> read.fail(cause));
        CompletableFuture<Void> failed = new CompletableFuture<>();
        failed.completeExceptionally(cause);
        return failed;
    }

    /** Whether so many reads are in flight that more had to wait. */
    @Override
    public boolean fullyLoaded() {
        return writer.isFull();
    }

    @Override
    public void shutdown() {
        answers.close();
    }
}
