package io.alluvium.flink;

import io.alluvium.Batch;
import io.alluvium.Key;
import java.io.IOException;
import org.apache.flink.runtime.asyncprocessing.StateRequest;
import org.apache.flink.runtime.asyncprocessing.StateRequestHandler;
import org.apache.flink.runtime.state.v2.AbstractValueState;

/** One value for each key and namespace, by requests. */
final class AsyncValueState<K, N, V> extends AbstractValueState<K, N, V> implements AsyncState<K, N> {
    private final AlluviumValueState<K, N, V> stored;
    private final N defaultNamespace;

    AsyncValueState(StateRequestHandler handler, AlluviumValueState<K, N, V> stored, N defaultNamespace) {
        super(handler, stored.valueSerializer);
        this.stored = stored;
        this.defaultNamespace = defaultNamespace;
    }

    @Override
    public AlluviumValueState<K, N, V> stored() {
        return stored;
    }

    @Override
    public N defaultNamespace() {
        return defaultNamespace;
    }

    @Override
    public Result add(StateRequest<K, N, ?, ?> request, Key key, Batch batch) throws IOException {
        switch (request.getRequestType()) {
            case VALUE_GET:
            case VALUE_UPDATE:
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
