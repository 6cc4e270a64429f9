package io.alluvium.flink;

import io.alluvium.Answer;
import io.alluvium.Batch;
import io.alluvium.Key;
import java.io.IOException;
import java.util.AbstractMap.SimpleImmutableEntry;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.runtime.asyncprocessing.StateRequest;
import org.apache.flink.runtime.asyncprocessing.StateRequestHandler;
import org.apache.flink.runtime.asyncprocessing.StateRequestType;
import org.apache.flink.runtime.state.v2.AbstractMapState;

/** A map for each key and namespace, by requests. Iterators load a page at a time. */
final class AsyncMapState<K, N, UK, V> extends AbstractMapState<K, N, UK, V> implements AsyncState<K, N> {
    private final AlluviumMapState<K, N, UK, V> stored;
    private final N defaultNamespace;

    AsyncMapState(StateRequestHandler handler, AlluviumMapState<K, N, UK, V> stored, N defaultNamespace) {
        super(handler, stored.userValueSerializer);
        this.stored = stored;
        this.defaultNamespace = defaultNamespace;
    }

    @Override
    public AlluviumMapState<K, N, UK, V> stored() {
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
            case MAP_GET:
                batch.mapGet(stored.state, key, stored.userKey((UK) request.getPayload()));
                return this::value;
            case MAP_CONTAINS:
                batch.mapGet(stored.state, key, stored.userKey((UK) request.getPayload()));
                return Answer::isFound;
            case MAP_PUT:
                Tuple2<UK, V> put = (Tuple2<UK, V>) request.getPayload();
                batch.mapPut(stored.state, key, stored.userKey(put.f0), stored.userValue(put.f1));
                return WRITTEN;
            case MAP_PUT_ALL:
                putAll((Map<UK, V>) request.getPayload(), key, batch);
                return WRITTEN;
            case MAP_REMOVE:
                batch.mapDelete(stored.state, key, stored.userKey((UK) request.getPayload()));
                return WRITTEN;
            case CLEAR:
                batch.mapClear(stored.state, key);
                return WRITTEN;
            case MAP_ITER:
            case MAP_ITER_KEY:
            case MAP_ITER_VALUE:
            case ITERATOR_LOADING:
            case MAP_IS_EMPTY:
                return null;
            default:
                throw AsyncState.unknown(request);
        }
    }

    /** All of them are serialized first: nothing is put where one can't be. */
    private void putAll(Map<UK, V> map, Key key, Batch batch) throws IOException {
        Map<byte[], byte[]> bytes = new LinkedHashMap<>();
        if (map != null) {
            for (Map.Entry<UK, V> entry : map.entrySet()) {
                bytes.put(stored.userKey(entry.getKey()), stored.userValue(entry.getValue()));
            }
        }
        bytes.forEach((userKey, value) -> batch.mapPut(stored.state, key, userKey, value));
    }

    private V value(Answer answer) throws IOException {
        byte[] bytes = answer.value();
        return bytes == null ? null : AlluviumMapState.userValue(new DataInputDeserializer(bytes), getValueSerializer());
    }

    @Override
    @SuppressWarnings("unchecked")
    public Object run(StateRequest<K, N, ?, ?> request) throws Exception {
        switch (request.getRequestType()) {
            case MAP_GET:
                return stored.get((UK) request.getPayload());
            case MAP_CONTAINS:
                return stored.contains((UK) request.getPayload());
            case MAP_PUT:
                Tuple2<UK, V> put = (Tuple2<UK, V>) request.getPayload();
                stored.put(put.f0, put.f1);
                return null;
            case MAP_PUT_ALL:
                stored.putAll((Map<UK, V>) request.getPayload());
                return null;
            case MAP_REMOVE:
                stored.remove((UK) request.getPayload());
                return null;
            case CLEAR:
                stored.clear();
                return null;
            case MAP_IS_EMPTY:
                return stored.isEmpty();
            case ITERATOR_LOADING:
                Tuple2<StateRequestType, byte[]> rest = (Tuple2<StateRequestType, byte[]>) request.getPayload();
                return iterator(rest.f0, rest.f1);
            case MAP_ITER:
            case MAP_ITER_KEY:
            case MAP_ITER_VALUE:
                return iterator(request.getRequestType(), null);
            default:
                throw AsyncState.unknown(request);
        }
    }

    private Object iterator(StateRequestType type, byte[] above) throws IOException {
        EntryPages.Page page = stored.page(above);
        List<Object> loaded = new ArrayList<>(page.entries.size());
        DataInputDeserializer input = new DataInputDeserializer();
        byte[] last = null;
        for (EntryPages.Stored entry : page.entries) {
            last = entry.userKey;
            UK userKey = null;
            if (type != StateRequestType.MAP_ITER_VALUE) {
                input.setBuffer(entry.userKey);
                userKey = stored.userKeySerializer.deserialize(input);
            }
            V value = null;
            if (type != StateRequestType.MAP_ITER_KEY) {
                input.setBuffer(entry.value);
                value = AlluviumMapState.userValue(input, getValueSerializer());
            }
            loaded.add(of(type, userKey, value));
        }
        return new LoadedIterator<>(this, type, getStateRequestHandler(), loaded, page.isLast ? null : last);
    }

    private static <UK, V> Object of(StateRequestType type, UK userKey, V value) {
        switch (type) {
            case MAP_ITER_KEY:
                return userKey;
            case MAP_ITER_VALUE:
                return value;
            default:
                return new SimpleImmutableEntry<>(userKey, value);
        }
    }
}
