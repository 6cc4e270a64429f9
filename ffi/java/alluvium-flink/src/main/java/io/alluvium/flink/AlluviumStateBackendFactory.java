package io.alluvium.flink;

import org.apache.flink.configuration.IllegalConfigurationException;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.runtime.state.StateBackendFactory;

/** What {@code state.backend.type} names. */
public final class AlluviumStateBackendFactory implements StateBackendFactory<AlluviumStateBackend> {
    /** For Flink, which makes it by reflection. */
    public AlluviumStateBackendFactory() {}

    @Override
    public AlluviumStateBackend createFromConfig(ReadableConfig config, ClassLoader classLoader)
            throws IllegalConfigurationException {
        return new AlluviumStateBackend().configure(config, classLoader);
    }
}
