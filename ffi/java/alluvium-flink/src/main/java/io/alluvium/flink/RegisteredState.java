package io.alluvium.flink;

import io.alluvium.Key;
import io.alluvium.State;
import io.alluvium.StateOptions;
import io.alluvium.Store;
import io.alluvium.Writer;
import org.apache.flink.api.common.state.StateDescriptor;
import org.apache.flink.runtime.state.RegisteredKeyValueStateBackendMetaInfo;
import org.apache.flink.runtime.state.RegisteredStateMetaInfoBase;

/** A state of the backend: what Flink knows of it, and what it is in the store. */
final class RegisteredState {
    final RegisteredStateMetaInfoBase metaInfo;
    final State state;

    RegisteredState(RegisteredStateMetaInfoBase metaInfo, State state) {
        this.metaInfo = metaInfo;
        this.state = state;
    }

    /** Finds or makes the store's state for what Flink knows. */
    static RegisteredState register(Store store, RegisteredStateMetaInfoBase metaInfo) {
        return new RegisteredState(metaInfo, store.state(options(metaInfo)));
    }

    /** The same, for values that begin with their time, of which compaction may drop those that are so old. */
    static RegisteredState register(Store store, RegisteredStateMetaInfoBase metaInfo, long timeToLiveMs) {
        // In a map a byte comes before, which says whether the value is null.
        boolean isMap = ((RegisteredKeyValueStateBackendMetaInfo<?, ?>) metaInfo).getStateType() == StateDescriptor.Type.MAP;
        return new RegisteredState(metaInfo, store.state(options(metaInfo).purge(timeToLiveMs, isMap ? 1 : 0)));
    }

    private static StateOptions options(RegisteredStateMetaInfoBase metaInfo) {
        String name = metaInfo.getName();
        if (!(metaInfo instanceof RegisteredKeyValueStateBackendMetaInfo)) {
            return StateOptions.map(name); // Timers.
        }
        StateDescriptor.Type type = ((RegisteredKeyValueStateBackendMetaInfo<?, ?>) metaInfo).getStateType();
        switch (type) {
            case VALUE:
            case REDUCING:
            case AGGREGATING:
                return StateOptions.value(name);
            case LIST:
                return StateOptions.list(name);
            case MAP:
                return StateOptions.map(name);
            default:
                throw new UnsupportedOperationException("the state " + name + " is of a kind that isn't kept: " + type);
        }
    }

    /** Whether it has keys and namespaces, as timers have not. */
    boolean isKeyed() {
        return metaInfo instanceof RegisteredKeyValueStateBackendMetaInfo;
    }

    /** What Flink knows of a state that {@linkplain #isKeyed is keyed}. */
    @SuppressWarnings("unchecked")
    <N, V> RegisteredKeyValueStateBackendMetaInfo<N, V> keyed() {
        return (RegisteredKeyValueStateBackendMetaInfo<N, V>) metaInfo;
    }

    /** The same state, of which Flink knows something else now. */
    RegisteredState with(RegisteredStateMetaInfoBase changed) {
        return new RegisteredState(changed, state);
    }

    /** Whether it holds anything for a key in a namespace. */
    boolean has(Writer writer, Key key) {
        switch (state.kind()) {
            case MAP:
                return !writer.mapIsEmpty(state, key);
            case LIST:
                return !writer.list(state, key).isEmpty();
            default:
                return writer.get(state, key, Bytes.NONE) >= 0;
        }
    }

    /** Whether it is a map in the store. */
    boolean isMap() {
        return state.kind() == State.Kind.MAP;
    }
}
