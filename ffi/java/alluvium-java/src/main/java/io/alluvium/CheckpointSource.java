package io.alluvium;

import java.nio.file.Path;

/** A checkpoint to restore from: in a store's directory, or in one that it was exported to. */
public final class CheckpointSource {
    private final Path directory;
    private final boolean hasLabel;
    private final long label;

    private CheckpointSource(Path directory, boolean hasLabel, long label) {
        this.directory = directory;
        this.hasLabel = hasLabel;
        this.label = label;
    }

    /** The newest checkpoint of a directory. */
    public static CheckpointSource newest(Path directory) {
        return new CheckpointSource(directory, false, 0);
    }

    /** The checkpoint of this label. */
    public static CheckpointSource labelled(Path directory, long label) {
        return new CheckpointSource(directory, true, label);
    }

    void write(Scratch scratch) {
        scratch.putText(directory.toString()).putFlag(hasLabel).putLong(label);
    }
}
