package io.alluvium.flink;

import io.alluvium.AlluviumException;
import io.alluvium.ErrorClass;
import java.io.IOException;
import org.apache.flink.util.FlinkRuntimeException;

/** What an engine's failure is to Flink. */
final class Failure {
    private Failure() {}

    /** A failure of a state's operation: it fails the task, which recovers from its last checkpoint. */
    static FlinkRuntimeException of(String state, AlluviumException cause) {
        return new FlinkRuntimeException("the state " + state + ": " + told(cause), cause);
    }

    /** A failure of checkpoints and restoring. */
    static IOException io(String what, AlluviumException cause) {
        return new IOException(what + ": " + told(cause), cause);
    }

    private static String told(AlluviumException cause) {
        String what = cause.errorClass() == ErrorClass.CORRUPT ? "a file is damaged: " : "";
        return what + cause.status() + ": " + cause.getMessage();
    }
}
