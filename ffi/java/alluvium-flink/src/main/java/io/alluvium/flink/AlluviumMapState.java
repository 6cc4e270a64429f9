package io.alluvium.flink;

import io.alluvium.AlluviumException;
import io.alluvium.Cursor;
import io.alluvium.Key;
import io.alluvium.MapRange;
import io.alluvium.Reader;
import java.io.IOException;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.MapSerializer;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.queryablestate.client.state.serialization.KvStateSerializer;
import org.apache.flink.runtime.state.internal.InternalMapState;
import org.apache.flink.runtime.state.ttl.TtlAwareSerializer;
import org.apache.flink.util.FlinkRuntimeException;

/**
 * A map for each key and namespace, whose entries are found and changed singly, in the order of their keys' bytes. A value begins with a byte
 * that says whether it is null.
 */
final class AlluviumMapState<K, N, UK, UV> extends AbstractAlluviumState<K, N, Map<UK, UV>>
        implements InternalMapState<K, N, UK, UV> {
    /** A cleanup that does a little at each access doesn't go through more of one map. */
    private static final int VISITED_MAX = 1024;

    TypeSerializer<UK> userKeySerializer;
    TypeSerializer<UV> userValueSerializer;
    private byte[] entry = new byte[128];

    AlluviumMapState(AlluviumKeyedStateBackend<K> backend, RegisteredState registered, Map<UK, UV> defaultValue) {
        super(backend, registered, defaultValue);
    }

    @Override
    void update(RegisteredState registered, Map<UK, UV> newDefault) {
        super.update(registered, newDefault);
        MapSerializer<UK, UV> serializer = (MapSerializer<UK, UV>) valueSerializer;
        userKeySerializer = serializer.getKeySerializer();
        userValueSerializer = serializer.getValueSerializer();
    }

    byte[] userKey(UK userKey) throws IOException {
        DataOutputSerializer out = out();
        userKeySerializer.serialize(userKey, out);
        return out.getCopyOfBuffer();
    }

    byte[] userValue(UV value) throws IOException {
        DataOutputSerializer out = out();
        out.writeBoolean(value == null);
        if (value != null) {
            userValueSerializer.serialize(value, out);
        }
        return out.getCopyOfBuffer();
    }

    static <UV> UV userValue(DataInputDeserializer in, TypeSerializer<UV> serializer) throws IOException {
        return in.readBoolean() ? null : serializer.deserialize(in);
    }

    @Override
    public UV get(UK userKey) throws IOException {
        byte[] userKeyBytes = userKey(userKey);
        try {
            Key key = key();
            int len = writer.mapGet(state, key, userKeyBytes, entry);
            if (len < 0) {
                return null;
            }
            if (len > entry.length) {
                byte[] value = writer.mapGet(state, key, userKeyBytes);
                if (value == null) {
                    // Compaction removed it meanwhile, as it is expired.
                    return null;
                }
                in.setBuffer(value);
                entry = new byte[Math.max(entry.length, Math.min(2 * len, 1 << 20))];
            } else {
                in.setBuffer(entry, 0, len);
            }
        } catch (AlluviumException e) {
            throw failure(e);
        }
        return userValue(in, userValueSerializer);
    }

    @Override
    public void put(UK userKey, UV value) throws IOException {
        byte[] userKeyBytes = userKey(userKey);
        put(key(), userKeyBytes, userValue(value));
    }

    private void put(Key key, byte[] userKeyBytes, byte[] value) {
        try {
            writer.mapPut(state, key, userKeyBytes, value);
        } catch (AlluviumException e) {
            throw failure(e);
        }
    }

    @Override
    public void putAll(Map<UK, UV> map) throws IOException {
        if (map != null) {
            for (Map.Entry<UK, UV> each : map.entrySet()) {
                put(each.getKey(), each.getValue());
            }
        }
    }

    @Override
    public void remove(UK userKey) throws IOException {
        byte[] userKeyBytes = userKey(userKey);
        remove(key(), userKeyBytes);
    }

    private void remove(Key key, byte[] userKeyBytes) {
        try {
            writer.mapDelete(state, key, userKeyBytes);
        } catch (AlluviumException e) {
            throw failure(e);
        }
    }

    @Override
    public boolean contains(UK userKey) throws IOException {
        byte[] userKeyBytes = userKey(userKey);
        try {
            return writer.mapContains(state, key(), userKeyBytes);
        } catch (AlluviumException e) {
            throw failure(e);
        }
    }

    @Override
    public boolean isEmpty() {
        try {
            return writer.mapIsEmpty(state, key());
        } catch (AlluviumException e) {
            throw failure(e);
        }
    }

    @Override
    public void clear() {
        try {
            writer.mapClear(state, key());
        } catch (AlluviumException e) {
            throw failure(e);
        }
    }

    private <T> Iterator<T> iterator(StoredKey container, Function<StoredEntry, T> what) {
        EntryPages pages = new EntryPages(writer, state, () -> container.in(other));
        return new Iterator<T>() {
            private StoredEntry last;

            @Override
            public boolean hasNext() {
                try {
                    return pages.hasNext();
                } catch (AlluviumException e) {
                    throw failure(e);
                }
            }

            @Override
            public T next() {
                // What comes next is read first, so that it fails as an operation of the state.
                hasNext();
                last = new StoredEntry(container, pages.next());
                return what.apply(last);
            }

            @Override
            public void remove() {
                if (last == null || last.removed) {
                    throw new IllegalStateException("no entry to be removed: next comes first");
                }
                last.removed = true;
                AlluviumMapState.this.remove(container.in(other), last.userKeyBytes);
            }
        };
    }

    /** The current map's entries above a user key, null: all of them, up to a page of them. */
    EntryPages.Page page(byte[] above) {
        try {
            return EntryPages.page(writer, state, key(), above);
        } catch (AlluviumException e) {
            throw failure(e);
        }
    }

    /** The container as it is now, as the current key moves on. */
    private StoredKey container() {
        return StoredKey.of(key());
    }

    @Override
    public Iterator<Map.Entry<UK, UV>> iterator() {
        return iterator(container(), stored -> stored);
    }

    @Override
    public Iterable<Map.Entry<UK, UV>> entries() {
        return this::iterator;
    }

    @Override
    public Iterable<UK> keys() {
        StoredKey container = container();
        return () -> iterator(container, StoredEntry::getKey);
    }

    @Override
    public Iterable<UV> values() {
        StoredKey container = container();
        return () -> iterator(container, StoredEntry::getValue);
    }

    /** Without entries that have null where a value with its time belongs: such a value can't expire, and Flink's cleanups fail at it. */
    @Override
    Map<UK, UV> visit(StoredKey key) throws IOException {
        boolean isTimed = TtlAwareSerializer.isSerializerTtlEnabled(userValueSerializer);
        Map<UK, UV> visited = new LinkedHashMap<>();
        EntryPages pages = new EntryPages(writer, state, () -> key.in(other));
        for (int seen = 0; seen < VISITED_MAX && pages.hasNext(); seen++) {
            StoredEntry stored = new StoredEntry(key, pages.next());
            if (!isTimed || stored.getValue() != null) {
                visited.put(stored.getKey(), stored.getValue());
            }
        }
        return visited.isEmpty() ? null : visited;
    }

    /** Entries go or stay; none is changed. */
    @Override
    void revise(StoredKey key, Map<UK, UV> before, Map<UK, UV> after) throws IOException {
        for (UK userKey : before.keySet()) {
            if (after == null || !after.containsKey(userKey)) {
                remove(key.in(other), userKey(userKey));
            }
        }
    }

    @Override
    byte[] serialized(Key key, TypeSerializer<Map<UK, UV>> safeValueSerializer) throws IOException {
        MapSerializer<UK, UV> serializer = (MapSerializer<UK, UV>) safeValueSerializer;
        DataInputDeserializer input = new DataInputDeserializer();
        Map<UK, UV> map = new LinkedHashMap<>();
        Reader reader = backend.openStore().reader();
        try (Cursor cursor = reader.entries(state, key, MapRange.all())) {
            while (cursor.next()) {
                input.setBuffer(cursor.userKey());
                UK userKey = serializer.getKeySerializer().deserialize(input);
                input.setBuffer(cursor.value());
                map.put(userKey, userValue(input, serializer.getValueSerializer()));
            }
        }
        return map.isEmpty()
                ? null
                : KvStateSerializer.serializeMap(
                        map.entrySet(),
                        serializer.getKeySerializer(),
                        serializer.getValueSerializer());
    }

    /** An entry that an iterator gave, read from its bytes when it is asked for. Setting its value changes the map. */
    private final class StoredEntry implements Map.Entry<UK, UV> {
        private final StoredKey container;
        private final byte[] userKeyBytes;
        private byte[] valueBytes;
        private UK userKey;
        private UV value;
        private boolean removed;

        StoredEntry(StoredKey container, EntryPages.Stored stored) {
            this.container = container;
            userKeyBytes = stored.userKey;
            valueBytes = stored.value;
        }

        @Override
        public UK getKey() {
            if (userKey == null) {
                in.setBuffer(userKeyBytes);
                try {
                    userKey = userKeySerializer.deserialize(in);
                } catch (IOException e) {
                    throw new FlinkRuntimeException("a user key of the state " + state.name(), e);
                }
            }
            return userKey;
        }

        @Override
        public UV getValue() {
            if (valueBytes != null) {
                in.setBuffer(valueBytes);
                try {
                    value = userValue(in, userValueSerializer);
                } catch (IOException e) {
                    throw new FlinkRuntimeException("a user value of the state " + state.name(), e);
                }
                valueBytes = null;
            }
            return value;
        }

        @Override
        public UV setValue(UV newValue) {
            if (removed) {
                throw new IllegalStateException("the entry was removed");
            }
            UV old = getValue();
            try {
                put(container.in(other), userKeyBytes, userValue(newValue));
            } catch (IOException e) {
                throw new FlinkRuntimeException("a user value of the state " + state.name(), e);
            }
            value = newValue;
            return old;
        }

        @Override
        public boolean equals(Object other) {
            return other instanceof Map.Entry
                    && Objects.equals(getKey(), ((Map.Entry<?, ?>) other).getKey())
                    && Objects.equals(getValue(), ((Map.Entry<?, ?>) other).getValue());
        }

        @Override
        public int hashCode() {
            return Objects.hashCode(getKey()) ^ Objects.hashCode(getValue());
        }

        @Override
        public String toString() {
            return getKey() + "=" + getValue();
        }
    }
}
