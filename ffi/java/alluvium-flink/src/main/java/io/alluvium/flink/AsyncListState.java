package io.alluvium.flink;

import io.alluvium.Answer;
import io.alluvium.Batch;
import io.alluvium.Key;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.apache.flink.api.common.state.v2.StateFuture;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.core.state.StateFutureUtils;
import org.apache.flink.runtime.asyncprocessing.StateRequest;
import org.apache.flink.runtime.asyncprocessing.StateRequestHandler;
import org.apache.flink.runtime.asyncprocessing.StateRequestType;
import org.apache.flink.runtime.state.v2.AbstractListState;
import org.apache.flink.runtime.state.v2.ttl.TtlStateFactory;

/** A list for each key and namespace, by requests. */
final class AsyncListState<K, N, V> extends AbstractListState<K, N, V> implements AsyncState<K, N> {
    private final AlluviumListState<K, N, V> stored;
    private final N defaultNamespace;
    /** Whether a wrapper of Flink's, which takes no null, is around this. */
    private final boolean isWrapped;

    AsyncListState(StateRequestHandler handler, AlluviumListState<K, N, V> stored, N defaultNamespace) {
        super(handler, stored.elementSerializer);
        this.stored = stored;
        this.defaultNamespace = defaultNamespace;
        isWrapped = TtlStateFactory.isTtlStateSerializer(stored.elementSerializer);
    }

    @Override
    public AlluviumListState<K, N, V> stored() {
        return stored;
    }

    @Override
    public N defaultNamespace() {
        return defaultNamespace;
    }

    @Override
    @SuppressWarnings("unchecked")
    public Result add(StateRequest<K, N, ?, ?> request, Key key, Batch batch) throws IOException {
        switch (request.getRequestType()) {
            case LIST_GET:
                batch.list(stored.state, key);
                return this::list;
            case LIST_ADD:
                batch.append(stored.state, key, stored.bytes((V) request.getPayload()));
                return WRITTEN;
            case LIST_ADD_ALL:
                append(batch, key, stored.bytes((List<V>) request.getPayload()));
                return WRITTEN;
            case LIST_UPDATE:
                List<byte[]> elements = stored.bytes((List<V>) request.getPayload());
                batch.delete(stored.state, key);
                append(batch, key, elements);
                return WRITTEN;
            case CLEAR:
                batch.delete(stored.state, key);
                return WRITTEN;
            case CUSTOMIZED:
                return null;
            default:
                throw AsyncState.unknown(request);
        }
    }

    private void append(Batch batch, Key key, List<byte[]> elements) {
        elements.forEach(element -> batch.append(stored.state, key, element));
    }

    private Object list(Answer answer) throws IOException {
        List<V> elements = new ArrayList<>();
        DataInputDeserializer input = new DataInputDeserializer();
        for (byte[] element : answer.elements()) {
            input.setBuffer(element);
            elements.add(getValueSerializer().deserialize(input));
        }
        return iterator(elements);
    }

    /** None where there are no elements, as window operators want to know. */
    private Object iterator(List<V> elements) {
        if (!isWrapped && (elements == null || elements.isEmpty())) {
            return null;
        }
        return new LoadedIterator<>(
                this,
                StateRequestType.LIST_GET,
                getStateRequestHandler(),
                elements == null ? new ArrayList<>() : elements,
                null);
    }

    @Override
    @SuppressWarnings("unchecked")
    public Object run(StateRequest<K, N, ?, ?> request) throws Exception {
        switch (request.getRequestType()) {
            case LIST_GET:
                return iterator(stored.getInternal());
            case LIST_ADD:
                stored.add((V) request.getPayload());
                return null;
            case LIST_ADD_ALL:
                stored.addAll((List<V>) request.getPayload());
                return null;
            case LIST_UPDATE:
                stored.update((List<V>) request.getPayload());
                return null;
            case CLEAR:
                stored.clear();
                return null;
            case CUSTOMIZED:
                stored.mergeNamespaces(stored.currentNamespace(), (Collection<N>) request.getPayload());
                return null;
            default:
                throw AsyncState.unknown(request);
        }
    }

    /** One request, whose elements nobody decodes. */
    @Override
    public StateFuture<Void> asyncMergeNamespaces(N target, Collection<N> sources) {
        if (sources == null || sources.isEmpty()) {
            return StateFutureUtils.completedVoidFuture();
        }
        setCurrentNamespace(target);
        return handleRequest(StateRequestType.CUSTOMIZED, sources);
    }

    @Override
    public void mergeNamespaces(N target, Collection<N> sources) {
        if (sources != null && !sources.isEmpty()) {
            setCurrentNamespace(target);
            handleRequestSync(StateRequestType.CUSTOMIZED, sources);
        }
    }
}
