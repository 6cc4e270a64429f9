package io.alluvium.flink;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.runtime.state.CheckpointStorage;
import org.apache.flink.runtime.state.storage.FileSystemCheckpointStorage;
import org.apache.flink.runtime.state.storage.JobManagerCheckpointStorage;

/** Where tests keep checkpoints. */
enum Storages {
    JOB_MANAGER,
    FILES;

    CheckpointStorage make(Path directory) {
        return this == JOB_MANAGER
                ? new JobManagerCheckpointStorage()
                : new FileSystemCheckpointStorage(new org.apache.flink.core.fs.Path(directory(directory).toUri()), 0, -1);
    }

    /** A new directory in another. */
    static Path directory(Path in) {
        try {
            return Files.createTempDirectory(in, "test");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
