package io.alluvium.flink;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.filemerging.EmptySegmentFileStateHandle;
import org.apache.flink.runtime.state.filesystem.AbstractFsCheckpointStorageAccess;
import org.apache.flink.runtime.state.filesystem.RelativeFileStateHandle;
import org.apache.flink.runtime.state.memory.ByteStreamStateHandle;

/**
 * The directory of a checkpoint that is written: all files of it and, last, the metadata that name them, by their place beside these. So it can
 * be moved, and needs nothing from elsewhere. In a dry run nothing is written; it is only counted what would be.
 */
final class NewCheckpoint {
    private final FileSystem fileSystem;
    private final Path directory;
    private final boolean isDry;
    /** What was copied already, by where it was: handles that are equal are of the same bytes. */
    private final Map<Object, StreamStateHandle> copies = new HashMap<>();

    private boolean begun;
    private long files;
    private long bytes;

    private NewCheckpoint(FileSystem fileSystem, Path directory, boolean isDry) {
        this.fileSystem = fileSystem;
        this.directory = directory;
        this.isDry = isDry;
    }

    /** Of a directory that isn't there. */
    static NewCheckpoint in(String directory, boolean isDry) throws IOException {
        Path path = new Path(directory);
        FileSystem fileSystem = path.getFileSystem();
        if (fileSystem.exists(path)) {
            throw new RepairRefusedException(directory + " is there already");
        }
        return new NewCheckpoint(fileSystem, path.makeQualified(fileSystem), isDry);
    }

    long files() {
        return files;
    }

    long bytes() {
        return bytes;
    }

    Path directory() {
        return directory;
    }

    /** Makes the directory. */
    void begin() throws IOException {
        if (!fileSystem.mkdirs(directory)) {
            throw new IOException(directory + " could not be made");
        }
        begun = true;
    }

    /** Copies what a handle refers to, unless that is in the metadata themselves. */
    StreamStateHandle copy(StreamStateHandle handle) throws IOException {
        if (handle == null || handle instanceof ByteStreamStateHandle || handle instanceof EmptySegmentFileStateHandle) {
            return handle;
        }
        StreamStateHandle known = copies.get(handle);
        if (known != null) {
            return known;
        }
        StreamStateHandle copy;
        if (isDry) {
            count(handle.getStateSize());
            copy = handle;
        } else {
            try (InputStream in = handle.openInputStream()) {
                copy = write(in);
            } catch (IOException e) {
                throw new IOException("not copied: " + handle, e);
            }
            if (copy.getStateSize() != handle.getStateSize()) {
                throw new IOException("of " + handle.getStateSize() + " bytes " + copy.getStateSize() + " were there: " + handle);
            }
        }
        copies.put(handle, copy);
        return copy;
    }

    /** Copies a file of this machine, whose name stands for its content wherever it comes from. */
    StreamStateHandle copy(java.nio.file.Path file) throws IOException {
        String name = file.getFileName().toString();
        StreamStateHandle known = copies.get(name);
        if (known != null) {
            return known;
        }
        try (InputStream in = Files.newInputStream(file)) {
            StreamStateHandle copy = write(in);
            copies.put(name, copy);
            return copy;
        }
    }

    /** Writes a file of these bytes. */
    StreamStateHandle write(byte[] content) throws IOException {
        return write(new ByteArrayInputStream(content));
    }

    private StreamStateHandle write(InputStream in) throws IOException {
        String name = "state-" + (files + 1);
        Path file = new Path(directory, name);
        long size;
        try (OutputStream out = fileSystem.create(file, FileSystem.WriteMode.NO_OVERWRITE)) {
            size = in.transferTo(out);
        }
        count(size);
        return new RelativeFileStateHandle(file, name, size);
    }

    /** In a dry run: counts a file, unless it was before. */
    void count(Object what, long size) {
        if (copies.putIfAbsent(what, new ByteStreamStateHandle("counted", new byte[0])) == null) {
            count(size);
        }
    }

    private void count(long size) {
        files++;
        bytes += size;
    }

    /** Writes the metadata, by which it is a checkpoint. */
    void complete(CheckpointMetadata metadata) throws IOException {
        Path file = new Path(directory, AbstractFsCheckpointStorageAccess.METADATA_FILE_NAME);
        try (OutputStream out = fileSystem.create(file, FileSystem.WriteMode.NO_OVERWRITE)) {
            org.apache.flink.runtime.checkpoint.Checkpoints.storeCheckpointMetadata(metadata, out);
        }
        count(fileSystem.getFileStatus(file).getLen());
    }

    /** Deletes what was written, because of a failure. */
    void discard(Throwable why) {
        if (!begun) {
            return;
        }
        try {
            fileSystem.delete(directory, true);
        } catch (IOException e) {
            why.addSuppressed(e);
        }
    }
}
