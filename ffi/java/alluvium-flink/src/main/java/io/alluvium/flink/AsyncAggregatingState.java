package io.alluvium.flink;

import io.alluvium.Batch;
import io.alluvium.Key;
import java.io.IOException;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.runtime.asyncprocessing.StateRequest;
import org.apache.flink.runtime.asyncprocessing.StateRequestHandler;
import org.apache.flink.runtime.state.v2.AbstractAggregatingState;

/** An accumulator that a function adds to, by requests: Flink reads it, adds to it, and writes it back. */
final class AsyncAggregatingState<K, N, IN, ACC, OUT> extends AbstractAggregatingState<K, N, IN, ACC, OUT>
        implements AsyncState<K, N> {
    private final AlluviumAggregatingState<K, N, IN, ACC, OUT> stored;
    private final N defaultNamespace;

    AsyncAggregatingState(
            StateRequestHandler handler,
            AlluviumAggregatingState<K, N, IN, ACC, OUT> stored,
            AggregateFunction<IN, ACC, OUT> function,
            N defaultNamespace) {
        super(handler, function, stored.valueSerializer);
        this.stored = stored;
        this.defaultNamespace = defaultNamespace;
    }

    @Override
    public AlluviumAggregatingState<K, N, IN, ACC, OUT> stored() {
        return stored;
    }

    @Override
    public N defaultNamespace() {
        return defaultNamespace;
    }

    @Override
    public Result add(StateRequest<K, N, ?, ?> request, Key key, Batch batch) throws IOException {
        switch (request.getRequestType()) {
            case AGGREGATING_GET:
            case AGGREGATING_ADD:
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
