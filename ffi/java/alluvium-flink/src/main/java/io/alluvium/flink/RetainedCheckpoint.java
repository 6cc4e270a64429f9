package io.alluvium.flink;

import java.io.DataInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.checkpoint.OperatorState;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;
import org.apache.flink.runtime.jobgraph.OperatorID;
import org.apache.flink.runtime.state.CompletedCheckpointStorageLocation;
import org.apache.flink.runtime.state.filesystem.AbstractFsCheckpointStorageAccess;

/** A checkpoint that Flink kept, or a savepoint in the native format: what its metadata say. No state is read. */
final class RetainedCheckpoint {
    final CheckpointMetadata metadata;
    private final String directory;
    private final Instant written;

    private RetainedCheckpoint(CheckpointMetadata metadata, String directory, Instant written) {
        this.metadata = metadata;
        this.directory = directory;
        this.written = written;
    }

    /** The checkpoint of a directory, or of the metadata in it. One with records in flight is refused. */
    static RetainedCheckpoint load(String pointer, ClassLoader classLoader) throws IOException {
        CompletedCheckpointStorageLocation location = AbstractFsCheckpointStorageAccess.resolveCheckpointPointer(pointer);
        String directory = location.getExternalPointer();
        CheckpointMetadata metadata;
        try (InputStream in = location.getMetadataHandle().openInputStream()) {
            metadata = org.apache.flink.runtime.checkpoint.Checkpoints.loadCheckpointMetadata(
                    new DataInputStream(in), classLoader, directory);
        }
        Path file = new Path(directory, AbstractFsCheckpointStorageAccess.METADATA_FILE_NAME);
        Instant written = file.getFileSystem().exists(file)
                ? Instant.ofEpochMilli(file.getFileSystem().getFileStatus(file).getModificationTime())
                : null;
        RetainedCheckpoint checkpoint = new RetainedCheckpoint(metadata, directory, written);
        checkpoint.refuseInFlight();
        return checkpoint;
    }

    private void refuseInFlight() throws RepairRefusedException {
        for (OperatorState operator : metadata.getOperatorStates()) {
            for (OperatorSubtaskState subtask : operator.getStates()) {
                if (!subtask.getInputChannelState().isEmpty() || !subtask.getResultSubpartitionState().isEmpty()) {
                    throw new RepairRefusedException(this + " is unaligned and has records in flight, at " + told(operator)
                            + ": they were made before, and would be put into what is repaired. Savepoints in the native format,"
                            + " and checkpoints with execution.checkpointing.unaligned.enabled: false, have none");
                }
            }
        }
    }

    long id() {
        return metadata.getCheckpointId();
    }

    /** The operator of this id; null where there is none. */
    OperatorState operator(OperatorID id) {
        return metadata.getOperatorStates().stream()
                .filter(operator -> operator.getOperatorID().equals(id))
                .findAny()
                .orElse(null);
    }

    /** The operator that a user means. */
    OperatorState operator(String named) throws RepairRefusedException {
        List<OperatorState> found = new ArrayList<>();
        for (OperatorState operator : metadata.getOperatorStates()) {
            if (named.equalsIgnoreCase(operator.getOperatorID().toHexString())
                    || named.equals(operator.getOperatorUid().orElse(null))) {
                return operator;
            }
            if (named.equals(operator.getOperatorName().orElse(null))) {
                found.add(operator);
            }
        }
        if (found.size() == 1) {
            return found.get(0);
        }
        String all = metadata.getOperatorStates().stream().map(RetainedCheckpoint::told).collect(Collectors.joining("; "));
        throw new RepairRefusedException(
                (found.isEmpty() ? "no operator of " + this + " is " : "several operators of " + this + " are named ")
                        + named + ": there are " + all);
    }

    /** An operator, for a person. */
    static String told(OperatorState operator) {
        String name = operator.getOperatorName().map(text -> "'" + text + "'").orElse("the operator");
        String uid = operator.getOperatorUid().map(text -> "uid " + text + ", ").orElse("");
        return name + " (" + uid + "id " + operator.getOperatorID().toHexString() + ")";
    }

    @Override
    public String toString() {
        return "checkpoint " + id() + " (" + directory + (written == null ? "" : ", written " + written) + ")";
    }
}
