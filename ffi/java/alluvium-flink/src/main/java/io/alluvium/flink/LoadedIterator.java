package io.alluvium.flink;

import java.util.Collection;
import org.apache.flink.api.common.state.v2.State;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.runtime.asyncprocessing.AbstractStateIterator;
import org.apache.flink.runtime.asyncprocessing.StateRequestHandler;
import org.apache.flink.runtime.asyncprocessing.StateRequestType;

/** What a request found, with a request for what comes behind it. */
final class LoadedIterator<T> extends AbstractStateIterator<T> {
    /** The user key that comes before the rest; null where there is no rest. */
    private final byte[] last;

    private final StateRequestType type;

    LoadedIterator(State state, StateRequestType type, StateRequestHandler handler, Collection<T> loaded, byte[] last) {
        super(state, type, handler, loaded);
        this.last = last;
        this.type = type;
    }

    @Override
    public boolean hasNextLoading() {
        return last != null;
    }

    /** What was asked for, and from where on. */
    @Override
    protected Object nextPayloadForContinuousLoading() {
        return Tuple2.of(type, last);
    }
}
