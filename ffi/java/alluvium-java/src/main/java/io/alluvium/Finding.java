package io.alluvium;

import java.nio.file.Path;
import java.nio.file.Paths;

/** Something that {@link Store#verify} found. */
public final class Finding {
    private final boolean isFault;
    private final Path path;
    private final long offset;
    private final String problem;

    private Finding(boolean isFault, Path path, long offset, String problem) {
        this.isFault = isFault;
        this.path = path;
        this.offset = offset;
        this.problem = problem;
    }

    static Finding read(Scratch scratch) {
        boolean isFault = scratch.takeFlag();
        Path path = Paths.get(scratch.takeText());
        long offset = scratch.takeLong();
        return new Finding(isFault, path, offset, scratch.takeText());
    }

    /** Whether some checkpoint of the directory is not what it was. Else it is a note: a file that the store doesn't need. */
    public boolean isFault() {
        return isFault;
    }

    /** The file. */
    public Path path() {
        return path;
    }

    /** Where in the file, in bytes; 0 where no place can be told. */
    public long offset() {
        return offset;
    }

    /** What is wrong. */
    public String problem() {
        return problem;
    }

    @Override
    public String toString() {
        return (isFault ? "fault: " : "note: ") + path + " at " + offset + ": " + problem;
    }
}
