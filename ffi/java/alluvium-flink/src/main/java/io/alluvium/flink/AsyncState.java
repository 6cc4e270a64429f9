package io.alluvium.flink;

import io.alluvium.Answer;
import io.alluvium.Batch;
import io.alluvium.Key;
import java.io.IOException;
import org.apache.flink.runtime.asyncprocessing.StateRequest;

/** What the executor of requests needs of a state that they are for. */
interface AsyncState<K, N> {
    /** What a request comes to that was written. */
    Result WRITTEN = answer -> null;

    /** Makes a request's result from the answer to its read. Any thread. */
    interface Result {
        Object of(Answer answer) throws IOException;
    }

    /** The same state for the task's thread alone. */
    AbstractAlluviumState<K, N, ?> stored();

    /** The namespace of requests that have none. */
    N defaultNamespace();

    /**
     * Puts what a request asks for into a batch: either writes, for which {@link #WRITTEN} is returned, or one read. Null where no operation of
     * a batch does it: then nothing was put there, and the request is to be {@linkplain #run run}.
     */
    Result add(StateRequest<K, N, ?, ?> request, Key key, Batch batch) throws IOException;

    /** Does a request at once, of the key and the namespace that {@link #stored} is at. */
    Object run(StateRequest<K, N, ?, ?> request) throws Exception;

    /** A request of a type that the state's kind doesn't have. */
    static UnsupportedOperationException unknown(StateRequest<?, ?, ?, ?> request) {
        return new UnsupportedOperationException("a request of the type " + request.getRequestType());
    }
}
