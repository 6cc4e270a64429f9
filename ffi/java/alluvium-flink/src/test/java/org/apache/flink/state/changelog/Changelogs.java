package org.apache.flink.state.changelog;

import org.apache.flink.runtime.state.ConfigurableStateBackend;
import org.apache.flink.runtime.state.StateBackend;

/** Flink's changelog, which can be made from its own package alone. */
public final class Changelogs {
    private Changelogs() {}

    /** The changelog around a backend. */
    public static ConfigurableStateBackend around(StateBackend backend) {
        return new ChangelogStateBackend(backend);
    }
}
