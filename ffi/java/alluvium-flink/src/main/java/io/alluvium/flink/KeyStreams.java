package io.alluvium.flink;

import io.alluvium.AlluviumException;
import io.alluvium.Cursor;
import io.alluvium.Key;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;

/** The keys of states as Java's streams, which close their cursor at the end, when they are closed, or with the store. */
final class KeyStreams<K> {
    private final OpenStore store;
    private final TypeSerializer<K> keySerializer;

    KeyStreams(OpenStore store, TypeSerializer<K> keySerializer) {
        this.store = store;
        this.keySerializer = keySerializer;
    }

    /** The keys that a state has in a namespace. */
    <N> Stream<K> keys(RegisteredState registered, N namespace) {
        byte[] bytes = namespace(registered, namespace);
        return stream(registered, keysIn(registered, bytes), at -> true, this::key);
    }

    /** The keys that any of some states has in a namespace, each once. */
    <N> Stream<K> keys(List<RegisteredState> states, N namespace) {
        Stream<K> all = Stream.empty();
        for (int place = 0; place < states.size(); place++) {
            RegisteredState registered = states.get(place);
            List<RegisteredState> before = states.subList(0, place);
            byte[] bytes = namespace(registered, namespace);
            Key key = new Key();
            Predicate<Cursor> isNew = cursor -> {
                key.set(cursor.key()).namespace(bytes).group(cursor.group());
                return before.stream().noneMatch(other -> other.has(store.writer, key));
            };
            all = Stream.concat(all, stream(registered, keysIn(registered, bytes), isNew, this::key));
        }
        return all;
    }

    /** The pairs of key and namespace that a state has. */
    <N> Stream<Tuple2<K, N>> keysAndNamespaces(RegisteredState registered) {
        TypeSerializer<N> serializer = registered.<N, Object>keyed().getNamespaceSerializer();
        return stream(
                registered,
                store.writer.keysAndNamespaces(registered.state, store.range),
                at -> true,
                cursor -> Tuple2.of(key(cursor), CurrentKey.namespaceOf(cursor.namespace(), serializer)));
    }

    private K key(Cursor cursor) {
        return Bytes.object(cursor.key(), keySerializer);
    }

    private static <N> byte[] namespace(RegisteredState registered, N namespace) {
        RegisteredKeyValueStateBackendMetaInfo<N, ?> metaInfo = registered.keyed();
        return CurrentKey.namespace(namespace, metaInfo.getNamespaceSerializer());
    }

    private Cursor keysIn(RegisteredState registered, byte[] namespace) {
        return store.writer.keys(registered.state, store.range, namespace);
    }

    private <T> Stream<T> stream(
            RegisteredState registered, Cursor cursor, Predicate<Cursor> isWanted, Function<Cursor, T> what) {
        store.watch(cursor);
        Iterator<T> iterator = new Iterator<T>() {
            private T next;

            @Override
            public boolean hasNext() {
                try {
                    while (next == null && !cursor.isClosed()) {
                        if (!cursor.next()) {
                            store.done(cursor);
                        } else if (isWanted.test(cursor)) {
                            next = what.apply(cursor);
                        }
                    }
                } catch (AlluviumException e) {
                    throw Failure.of(registered.metaInfo.getName(), e);
                }
                return next != null;
            }

            @Override
            public T next() {
                if (!hasNext()) {
                    throw new NoSuchElementException();
                }
                T taken = next;
                next = null;
                return taken;
            }
        };
        Spliterator<T> spliterator = Spliterators.spliteratorUnknownSize(iterator, Spliterator.ORDERED);
        return StreamSupport.stream(spliterator, false).onClose(() -> store.done(cursor));
    }
}
