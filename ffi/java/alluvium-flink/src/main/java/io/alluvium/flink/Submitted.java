package io.alluvium.flink;

import io.alluvium.AlluviumException;
import io.alluvium.Answer;
import io.alluvium.Ticket;
import io.alluvium.Writer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.apache.flink.runtime.asyncprocessing.StateRequest;

/** The reads of a batch that was submitted, whose answers come sooner or later. One thread at a time. */
final class Submitted {
    /** Done when all answers were taken. */
    final CompletableFuture<Void> future = new CompletableFuture<>();

    final Ticket ticket;
    /** What isn't answered yet, by its place in the batch. */
    private final Map<Integer, Read> reads;

    /** A request that reads. */
    static final class Read {
        private final StateRequest<?, ?, ?, ?> request;
        private final AsyncState.Result result;

        Read(StateRequest<?, ?, ?, ?> request, AsyncState.Result result) {
            this.request = request;
            this.result = result;
        }

        void fail(Throwable cause) {
            Submitted.fail(request, cause);
        }
    }

    Submitted(Ticket ticket, Map<Integer, Read> reads) {
        this.ticket = ticket;
        this.reads = new HashMap<>(reads);
    }

    /**
     * Takes the answers that are there, and says whether they are all. Who has the writer passes it, by which what was read is kept in memory;
     * else null.
     */
    boolean take(Writer writer) {
        try {
            List<Answer> answers;
            do {
                answers = writer == null ? ticket.poll() : writer.poll(ticket);
                for (Answer answer : answers) {
                    Read read = reads.remove(answer.index());
                    complete(read, answer);
                }
            } while (!ticket.isDone() && !answers.isEmpty());
            if (!ticket.isDone()) {
                return false;
            }
            close();
            future.complete(null);
        } catch (AlluviumException e) {
            fail(e);
        } catch (Throwable e) {
            // Memory that is short, mostly. Nobody comes back for the ticket, which would keep the store open.
            fail(e);
            throw e;
        }
        return true;
    }

    private static void complete(Read read, Answer answer) {
        Object result;
        try {
            result = read.result.of(answer);
        } catch (Throwable e) {
            fail(read.request, e);
            return;
        }
        complete(read.request, result);
    }

    /** No answers come any more. */
    void fail(Throwable cause) {
        try {
            reads.values().forEach(read -> read.fail(cause));
        } finally {
            // Also where the task is over, and refuses to hear of it.
            reads.clear();
            close();
            future.completeExceptionally(cause);
        }
    }

    void close() {
        ticket.close();
    }

    @SuppressWarnings("unchecked")
    static void complete(StateRequest<?, ?, ?, ?> request, Object result) {
        ((StateRequest<?, ?, ?, Object>) request).getFuture().complete(result);
    }

    static void fail(StateRequest<?, ?, ?, ?> request, Throwable cause) {
        request.getFuture().completeExceptionally("a request of the type " + request.getRequestType() + " failed", cause);
    }
}
