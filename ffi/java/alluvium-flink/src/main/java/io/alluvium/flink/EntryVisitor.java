package io.alluvium.flink;

import io.alluvium.AlluviumException;
import io.alluvium.Cursor;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.NoSuchElementException;
import org.apache.flink.runtime.state.StateEntry;
import org.apache.flink.runtime.state.internal.InternalKvState.StateIncrementalVisitor;
import org.apache.flink.util.FlinkRuntimeException;

/**
 * Goes through all that a state holds, a few entries at a time, while the state changes: for cleanups that do a little at each access. It
 * opens nothing before it is used.
 */
final class EntryVisitor<K, N, V> implements StateIncrementalVisitor<K, N, V> {
    private static final int BATCH_BYTES = 64 << 10;

    private final AbstractAlluviumState<K, N, V> state;
    private final int entriesMax;
    private Cursor cursor;
    private boolean ended;
    private boolean isAtNext;

    EntryVisitor(AbstractAlluviumState<K, N, V> state, int entriesMax) {
        this.state = state;
        this.entriesMax = Math.max(1, entriesMax);
    }

    /** What a key holds in a namespace. */
    private static final class Visited<K, N, V> implements StateEntry<K, N, V> {
        private final AbstractAlluviumState<K, N, V> of;
        private final StoredKey key;
        private final V value;

        Visited(AbstractAlluviumState<K, N, V> of, StoredKey key, V value) {
            this.of = of;
            this.key = key;
            this.value = value;
        }

        @Override
        public K getKey() {
            return Bytes.object(key.key, of.getKeySerializer());
        }

        @Override
        public N getNamespace() {
            return CurrentKey.namespaceOf(key.namespace, of.getNamespaceSerializer());
        }

        @Override
        public V getState() {
            return value;
        }
    }

    @Override
    public boolean hasNext() {
        if (isAtNext || ended) {
            return isAtNext;
        }
        OpenStore store = state.backend.openStore();
        try {
            if (cursor == null) {
                cursor = store.watch(store.writer.keysAndNamespaces(state.state, store.range));
                cursor.setBatch(entriesMax, BATCH_BYTES);
            }
            isAtNext = cursor.next();
            if (!isAtNext) {
                ended = true;
                store.done(cursor);
            }
        } catch (AlluviumException e) {
            throw state.failure(e);
        }
        return isAtNext;
    }

    @Override
    public Collection<StateEntry<K, N, V>> nextEntries() {
        if (!hasNext()) {
            throw new NoSuchElementException();
        }
        List<StateEntry<K, N, V>> entries = new ArrayList<>();
        try {
            while (entries.size() < entriesMax && hasNext()) {
                isAtNext = false;
                StoredKey key = StoredKey.of(cursor);
                V value = state.visit(key);
                if (value != null) {
                    entries.add(new Visited<>(state, key, value));
                }
            }
        } catch (IOException e) {
            throw new FlinkRuntimeException("the state " + state.state.name() + " could not be gone through", e);
        } catch (AlluviumException e) {
            throw state.failure(e);
        }
        return entries;
    }

    @Override
    public void remove(StateEntry<K, N, V> entry) {
        update(entry, null);
    }

    @Override
    public void update(StateEntry<K, N, V> entry, V newValue) {
        Visited<K, N, V> visited = (Visited<K, N, V>) entry;
        try {
            state.revise(visited.key, visited.value, newValue);
        } catch (IOException e) {
            throw new FlinkRuntimeException("the state " + state.state.name() + " could not be changed", e);
        } catch (AlluviumException e) {
            throw state.failure(e);
        }
    }
}
