package io.alluvium.flink;

import io.alluvium.AlluviumException;
import io.alluvium.Key;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.ListSerializer;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.runtime.state.internal.InternalListState;
import org.apache.flink.util.Preconditions;

/** A list for each key and namespace, appended to without being read. Each element is an element of the store's list. */
final class AlluviumListState<K, N, V> extends AbstractAlluviumState<K, N, List<V>> implements InternalListState<K, N, V> {
    TypeSerializer<V> elementSerializer;

    AlluviumListState(AlluviumKeyedStateBackend<K> backend, RegisteredState registered, List<V> defaultValue) {
        super(backend, registered, defaultValue);
    }

    @Override
    void update(RegisteredState registered, List<V> newDefault) {
        super.update(registered, newDefault);
        elementSerializer = ((ListSerializer<V>) valueSerializer).getElementSerializer();
    }

    @Override
    public Iterable<V> get() throws IOException {
        return getInternal();
    }

    @Override
    public List<V> getInternal() throws IOException {
        return elements(key());
    }

    @Override
    List<V> visit(StoredKey key) throws IOException {
        return elements(key.in(other));
    }

    private List<V> elements(Key key) throws IOException {
        List<byte[]> stored;
        try {
            OpenStore store = backend.openStore();
            stored = store.isOwner() ? writer.list(state, key) : store.reader().list(state, key);
        } catch (AlluviumException e) {
            throw failure(e);
        }
        if (stored.isEmpty()) {
            return null;
        }
        List<V> elements = new ArrayList<>(stored.size());
        for (byte[] element : stored) {
            in.setBuffer(element);
            elements.add(elementSerializer.deserialize(in));
        }
        return elements;
    }

    byte[] bytes(V element) throws IOException {
        Preconditions.checkNotNull(element, "You cannot add null to a ListState.");
        DataOutputSerializer out = out();
        elementSerializer.serialize(element, out);
        return out.getCopyOfBuffer();
    }

    @Override
    public void add(V value) throws IOException {
        byte[] element = bytes(value);
        try {
            writer.append(state, key(), element);
        } catch (AlluviumException e) {
            throw failure(e);
        }
    }

    List<byte[]> bytes(List<V> values) throws IOException {
        Preconditions.checkNotNull(values, "List of values to add cannot be null.");
        List<byte[]> elements = new ArrayList<>(values.size());
        for (V value : values) {
            elements.add(bytes(value));
        }
        return elements;
    }

    @Override
    public void addAll(List<V> values) throws IOException {
        // All of them first: nothing is added where one can't be.
        List<byte[]> elements = bytes(values);
        try {
            writer.appendAll(state, key(), elements);
        } catch (AlluviumException e) {
            throw failure(e);
        }
    }

    @Override
    public void update(List<V> values) throws IOException {
        updateInternal(values);
    }

    @Override
    public void updateInternal(List<V> values) throws IOException {
        List<byte[]> elements = bytes(values);
        try {
            writer.putList(state, key(), elements);
        } catch (AlluviumException e) {
            throw failure(e);
        }
    }

    @Override
    void revise(StoredKey key, List<V> before, List<V> after) throws IOException {
        if (after == null) {
            delete(key.in(other));
        } else {
            writer.putList(state, key.in(other), bytes(after));
        }
    }

    @Override
    public void mergeNamespaces(N target, Collection<N> sources) {
        if (sources == null) {
            return;
        }
        List<byte[]> namespaces = new ArrayList<>(sources.size());
        for (N source : sources) {
            if (source != null && !source.equals(target)) {
                namespaces.add(CurrentKey.namespace(source, namespaceSerializer));
            }
        }
        try {
            writer.mergeNamespaces(state, keyIn(target), namespaces);
        } catch (AlluviumException e) {
            throw failure(e);
        }
    }

    @Override
    byte[] serialized(Key key, TypeSerializer<List<V>> safeValueSerializer) {
        List<byte[]> elements = backend.openStore().reader().list(state, key);
        return elements.isEmpty() ? null : CanonicalFormat.join(elements);
    }
}
