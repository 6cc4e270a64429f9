package io.alluvium.flink.suites;

import io.alluvium.flink.AlluviumStateBackend;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.state.api.SavepointReaderKeyedStateITCase;

/** The State Processor API's suite for reading keyed state. */
public class StateReaderITCase extends SavepointReaderKeyedStateITCase<AlluviumStateBackend> {
    @Override
    protected Tuple2<Configuration, AlluviumStateBackend> getStateBackendTuple() {
        return Tuple2.of(
                new Configuration().set(StateBackendOptions.STATE_BACKEND, "rocksdb"), new AlluviumStateBackend());
    }
}
