package io.alluvium.flink;

import io.alluvium.Batch;
import io.alluvium.Key;
import java.io.IOException;
import org.apache.flink.api.common.functions.ReduceFunction;
import org.apache.flink.runtime.asyncprocessing.StateRequest;
import org.apache.flink.runtime.asyncprocessing.StateRequestHandler;
import org.apache.flink.runtime.state.v2.AbstractReducingState;

/** A value that a function reduces with each that is added, by requests: Flink reads it, reduces it, and writes it back. */
final class AsyncReducingState<K, N, V> extends AbstractReducingState<K, N, V> implements AsyncState<K, N> {
    private final AlluviumReducingState<K, N, V> stored;
    private final N defaultNamespace;

    AsyncReducingState(
            StateRequestHandler handler,
            AlluviumReducingState<K, N, V> stored,
            ReduceFunction<V> function,
            N defaultNamespace) {
        super(handler, function, stored.valueSerializer);
        this.stored = stored;
        this.defaultNamespace = defaultNamespace;
    }

    @Override
    public AlluviumReducingState<K, N, V> stored() {
        return stored;
    }

    @Override
    public N defaultNamespace() {
        return defaultNamespace;
    }

    @Override
    public Result add(StateRequest<K, N, ?, ?> request, Key key, Batch batch) throws IOException {
        switch (request.getRequestType()) {
            case REDUCING_GET:
            case REDUCING_ADD:
            case CLEAR:
                return stored.add(request, key, batch, this::getValueSerializer);
            default:
                throw AsyncState.unknown(request);
        }
    }

    @Override
    public Object run(StateRequest<K, N, ?, ?> request) throws Exception {
        return stored.run(request);
    }
}
