package io.alluvium.flink;

import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.runtime.state.internal.InternalAggregatingState;

/** An accumulator that a function adds to. */
final class AlluviumAggregatingState<K, N, IN, ACC, OUT> extends AbstractAggregate<K, N, IN, ACC, OUT>
        implements InternalAggregatingState<K, N, IN, ACC, OUT> {
    private AggregateFunction<IN, ACC, OUT> function;

    AlluviumAggregatingState(
            AlluviumKeyedStateBackend<K> backend,
            RegisteredState registered,
            ACC defaultValue,
            AggregateFunction<IN, ACC, OUT> function) {
        super(backend, registered, defaultValue);
        this.function = function;
    }

    void setFunction(AggregateFunction<IN, ACC, OUT> function) {
        this.function = function;
    }

    @Override
    ACC merge(ACC one, ACC other) {
        return function.merge(one, other);
    }

    @Override
    public OUT get() throws Exception {
        ACC accumulator = getInternal();
        return accumulator == null ? null : function.getResult(accumulator);
    }

    @Override
    public void add(IN value) throws Exception {
        ACC accumulator = getInternal();
        updateInternal(function.add(value, accumulator == null ? function.createAccumulator() : accumulator));
    }
}
