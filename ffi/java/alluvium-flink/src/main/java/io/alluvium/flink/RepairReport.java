package io.alluvium.flink;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** What a {@link CheckpointRepair} did, or would do: for a person, and above all which input is lost unless it is replayed. */
public final class RepairReport {
    private final List<String> lines = new ArrayList<>();
    private final long files;
    private final long bytes;

    RepairReport(List<String> lines, long files, long bytes) {
        this.lines.addAll(lines);
        this.files = files;
        this.bytes = bytes;
    }

    /** The lines to be read. */
    public List<String> lines() {
        return Collections.unmodifiableList(lines);
    }

    /**
     * How many files the new checkpoint has; before they are written, how many there will be at most, but for what is written entry by entry.
     */
    public long files() {
        return files;
    }

    /** How long the new checkpoint's files are together, in bytes; as {@link #files}, before they are written. */
    public long bytes() {
        return bytes;
    }

    @Override
    public String toString() {
        return String.join(System.lineSeparator(), lines);
    }
}
