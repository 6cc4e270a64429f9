package io.alluvium.flink;

import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.runtime.checkpoint.filemerging.FileMergingSnapshotManager;
import org.apache.flink.runtime.state.PlaceholderStreamStateHandle;
import org.apache.flink.runtime.state.StreamStateHandle;

/**
 * Which files of the store lie in which handles: of the last checkpoint that the job manager completed, of those written since, and of those
 * under way.
 *
 * <p>A checkpoint may name a file of the last completed one by a placeholder instead of uploading it. Not of one that isn't completed: its files
 * are deleted if it fails. And only as long as every checkpoint that may complete in between names the file by the same handle. One that was
 * cut before the completion was known here may upload it again; once that one completes, the job manager drops the older handle. Files have
 * names that no two ever share, so one that was restored from several checkpoints, or by several tasks, can be named just as well.
 *
 * <p>Threads that write checkpoints add to it, the task's thread does the rest.
 */
final class UploadHistory {
    private final TreeMap<Long, Map<String, StreamStateHandle>> uploads = new TreeMap<>();
    /** What those that are under way won't upload again. */
    private final TreeMap<Long, Map<String, StreamStateHandle>> underWay = new TreeMap<>();

    private long completed = -1;

    /** A checkpoint that the store was restored from. */
    synchronized void restored(long checkpoint, Map<String, StreamStateHandle> files) {
        uploads.computeIfAbsent(checkpoint, id -> new HashMap<>()).putAll(files);
        completed = Math.max(completed, checkpoint);
    }

    /** A checkpoint was written, of these files. */
    synchronized void written(long checkpoint, Map<String, StreamStateHandle> files) {
        uploads.put(checkpoint, files);
    }

    /** The job manager completed a checkpoint. One that is not here is a savepoint, whose files aren't shared. */
    synchronized void completed(long checkpoint) {
        if (checkpoint > completed && uploads.containsKey(checkpoint)) {
            uploads.headMap(checkpoint).clear();
            completed = checkpoint;
        }
    }

    /** The job manager gave a checkpoint up. */
    synchronized void aborted(long checkpoint) {
        if (checkpoint != completed) {
            uploads.remove(checkpoint);
        }
    }

    /**
     * What a checkpoint that is cut now may name, by placeholders: nothing if it is to upload everything. It is under way until it
     * {@linkplain #ended ends}.
     */
    synchronized Map<String, StreamStateHandle> cut(long checkpoint, boolean reuses) {
        Map<String, StreamStateHandle> base = new HashMap<>();
        if (reuses) {
            base.putAll(uploads.getOrDefault(completed, Collections.emptyMap()));
            uploads.tailMap(completed, false).values().forEach(other -> keepSame(base, other));
            underWay.values().forEach(other -> keepSame(base, other));
            base.replaceAll((file, handle) -> placeholder(handle));
        }
        underWay.put(checkpoint, base);
        return base;
    }

    /** Keeps the files that the other checkpoint has, too, in the same handles. */
    private static void keepSame(Map<String, StreamStateHandle> base, Map<String, StreamStateHandle> other) {
        base.entrySet().removeIf(file -> {
            StreamStateHandle handle = other.get(file.getKey());
            return handle == null || !handle.getStreamStateHandleID().equals(file.getValue().getStreamStateHandleID());
        });
    }

    /** A checkpoint that was {@linkplain #cut cut} was written, or given up. */
    synchronized void ended(long checkpoint) {
        underWay.remove(checkpoint);
    }

    private static StreamStateHandle placeholder(StreamStateHandle handle) {
        return new PlaceholderStreamStateHandle(
                handle.getStreamStateHandleID(),
                handle.getStateSize(),
                FileMergingSnapshotManager.isFileMergingHandle(handle));
    }
}
