package io.alluvium.flink;

import org.apache.flink.api.common.functions.ReduceFunction;
import org.apache.flink.runtime.state.internal.InternalReducingState;

/** A value that a function reduces with each that is added. */
final class AlluviumReducingState<K, N, V> extends AbstractAggregate<K, N, V, V, V> implements InternalReducingState<K, N, V> {
    private ReduceFunction<V> function;

    AlluviumReducingState(
            AlluviumKeyedStateBackend<K> backend, RegisteredState registered, V defaultValue, ReduceFunction<V> function) {
        super(backend, registered, defaultValue);
        this.function = function;
    }

    void setFunction(ReduceFunction<V> function) {
        this.function = function;
    }

    @Override
    V merge(V one, V other) throws Exception {
        return function.reduce(one, other);
    }

    @Override
    public V get() throws Exception {
        return getInternal();
    }

    @Override
    public void add(V value) throws Exception {
        V old = getInternal();
        updateInternal(old == null ? value : function.reduce(old, value));
    }
}
