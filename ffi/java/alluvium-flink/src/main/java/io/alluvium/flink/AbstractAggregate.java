package io.alluvium.flink;

import io.alluvium.Key;
import java.io.IOException;
import java.util.Collection;
import org.apache.flink.runtime.state.internal.InternalMergingState;

/** One value for each key and namespace, which takes in what is added: read, changed here, and written back. */
abstract class AbstractAggregate<K, N, IN, V, OUT> extends AbstractAlluviumState<K, N, V>
        implements InternalMergingState<K, N, IN, V, OUT> {
    AbstractAggregate(AlluviumKeyedStateBackend<K> backend, RegisteredState registered, V defaultValue) {
        super(backend, registered, defaultValue);
    }

    /** What two values come to. */
    abstract V merge(V one, V other) throws Exception;

    @Override
    public V getInternal() throws IOException {
        return read(key());
    }

    @Override
    public void updateInternal(V value) throws IOException {
        if (value == null) {
            clear();
        } else {
            put(key(), value);
        }
    }

    @Override
    public void mergeNamespaces(N target, Collection<N> sources) throws Exception {
        if (sources == null) {
            return;
        }
        V merged = null;
        for (N source : sources) {
            if (source == null) {
                continue;
            }
            Key key = keyIn(source);
            V value = read(key);
            if (value != null) {
                delete(key);
                merged = merged == null ? value : merge(merged, value);
            }
        }
        if (merged != null) {
            V own = read(keyIn(target));
            // The function may have gone to another namespace.
            put(keyIn(target), own == null ? merged : merge(merged, own));
        }
    }
}
