package io.alluvium.flink;

import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.state.AggregatingStateDescriptor;
import org.apache.flink.api.common.state.ReducingStateDescriptor;
import org.apache.flink.api.common.state.State;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.api.common.state.StateTtlConfig;

/** Makes the objects that operators use states by, one for each name, and brings them up to date when a state is registered anew. */
final class StateFactory<K> {
    /** Flink has one object that stands for it. */
    private static final StateTtlConfig.IncrementalCleanupStrategy CLEANED_BY_DEFAULT = StateTtlConfig.newBuilder(Duration.ofDays(1))
            .build()
            .getCleanupStrategies()
            .getIncrementalCleanupStrategy();

    private final AlluviumKeyedStateBackend<K> backend;
    private final Map<String, AbstractAlluviumState<K, ?, ?>> made = new HashMap<>();

    StateFactory(AlluviumKeyedStateBackend<K> backend) {
        this.backend = backend;
    }

    @SuppressWarnings("unchecked")
    <V, S extends State, IS extends S> IS createOrUpdate(StateDescriptor<S, V> descriptor, RegisteredState registered) {
        AbstractAlluviumState<K, ?, V> state = (AbstractAlluviumState<K, ?, V>) made.get(descriptor.getName());
        if (state == null) {
            state = create(descriptor, registered);
            made.put(descriptor.getName(), state);
        } else {
            state.update(registered, defaultValue(descriptor));
            setFunction(state, descriptor);
        }
        state.setVisitable(!isCleanedByDefault(descriptor.getTtlConfig()));
        return (IS) state;
    }

    /**
     * Whether a cleanup at each access is on only because Flink has it on for backends that can do it, and not because the job asks for it:
     * compaction does the same without a read.
     */
    private static boolean isCleanedByDefault(StateTtlConfig ttl) {
        return ttl.isEnabled() && ttl.getCleanupStrategies().getIncrementalCleanupStrategy() == CLEANED_BY_DEFAULT;
    }

    /** What stands for no value. It is deprecated for users, who still may set it. */
    private static <V> V defaultValue(StateDescriptor<?, V> descriptor) {
        return descriptor.getDefaultValue();
    }

    @SuppressWarnings("unchecked")
    private <V, E> AbstractAlluviumState<K, ?, V> create(StateDescriptor<?, V> descriptor, RegisteredState registered) {
        V usual = defaultValue(descriptor);
        switch (descriptor.getType()) {
            case VALUE:
                return new AlluviumValueState<>(backend, registered, usual);
            case LIST:
                return (AbstractAlluviumState<K, ?, V>)
                        new AlluviumListState<K, Object, E>(backend, registered, (List<E>) usual);
            case MAP:
                return (AbstractAlluviumState<K, ?, V>)
                        new AlluviumMapState<K, Object, Object, E>(backend, registered, (Map<Object, E>) usual);
            case REDUCING:
                return new AlluviumReducingState<>(
                        backend, registered, usual, ((ReducingStateDescriptor<V>) descriptor).getReduceFunction());
            case AGGREGATING:
                return new AlluviumAggregatingState<>(
                        backend,
                        registered,
                        usual,
                        ((AggregatingStateDescriptor<Object, V, Object>) descriptor).getAggregateFunction());
            default:
                throw new UnsupportedOperationException(
                        "the state " + descriptor.getName() + " is of a kind that isn't kept: " + descriptor.getType());
        }
    }

    @SuppressWarnings("unchecked")
    private static <V> void setFunction(AbstractAlluviumState<?, ?, V> state, StateDescriptor<?, V> descriptor) {
        if (state instanceof AlluviumReducingState) {
            ((AlluviumReducingState<?, ?, V>) state)
                    .setFunction(((ReducingStateDescriptor<V>) descriptor).getReduceFunction());
        } else if (state instanceof AlluviumAggregatingState) {
            ((AlluviumAggregatingState<?, ?, Object, V, Object>) state)
                    .setFunction(((AggregatingStateDescriptor<Object, V, Object>) descriptor).getAggregateFunction());
        }
    }
}
