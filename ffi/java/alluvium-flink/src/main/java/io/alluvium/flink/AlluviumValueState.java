package io.alluvium.flink;

import java.io.IOException;
import org.apache.flink.runtime.state.internal.InternalValueState;

/** One value for each key and namespace. */
final class AlluviumValueState<K, N, V> extends AbstractAlluviumState<K, N, V> implements InternalValueState<K, N, V> {
    AlluviumValueState(AlluviumKeyedStateBackend<K> backend, RegisteredState registered, V defaultValue) {
        super(backend, registered, defaultValue);
    }

    @Override
    public V value() throws IOException {
        V value = read(key());
        return value == null ? defaultValue() : value;
    }

    @Override
    public void update(V value) throws IOException {
        if (value == null) {
            clear();
        } else {
            put(key(), value);
        }
    }
}
