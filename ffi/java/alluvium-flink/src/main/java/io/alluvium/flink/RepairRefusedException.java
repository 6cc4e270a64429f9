package io.alluvium.flink;

import java.io.IOException;

/** A {@link CheckpointRepair} that can't be done, and why. Nothing was written. */
public final class RepairRefusedException extends IOException {
    private static final long serialVersionUID = 1;

    RepairRefusedException(String why) {
        super(why);
    }

    RepairRefusedException(String why, Throwable cause) {
        super(why, cause);
    }
}
