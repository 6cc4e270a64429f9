package io.alluvium.flink;

import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.runtime.checkpoint.filemerging.FileMergingSnapshotManager;
import org.apache.flink.runtime.state.PlaceholderStreamStateHandle;
import org.apache.flink.runtime.state.StreamStateHandle;

/**
 * Which files of the store lie in which handles, of the last checkpoint that the job manager completed and of those since.
 *
 * <p>A checkpoint may name a file of the last completed one by a placeholder instead of uploading it. Not of one that isn't completed: its files
 * are deleted if it fails. And not a file that a later checkpoint uploaded again, because it was cut before the completion was known here: the
 * job manager drops the older handle once it completes that one. Files have names that no two ever share, so one that was restored from several
 * checkpoints, or by several tasks, can be named just as well.
 *
 * <p>Threads that write checkpoints add to it, the task's thread does the rest.
 */
final class UploadHistory {
    private final TreeMap<Long, Map<String, StreamStateHandle>> uploads = new TreeMap<>();
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

    /** What a checkpoint that is cut now may name, by placeholders. */
    synchronized Map<String, StreamStateHandle> base() {
        Map<String, StreamStateHandle> last = uploads.get(completed);
        if (last == null) {
            return Collections.emptyMap();
        }
        Map<String, StreamStateHandle> base = new HashMap<>(last);
        uploads.tailMap(completed, false).values().forEach(later -> later.forEach((file, handle) -> {
            if (!(handle instanceof PlaceholderStreamStateHandle)) {
                base.remove(file);
            }
        }));
        base.replaceAll((file, handle) -> placeholder(handle));
        return base;
    }

    private static StreamStateHandle placeholder(StreamStateHandle handle) {
        return new PlaceholderStreamStateHandle(
                handle.getStreamStateHandleID(),
                handle.getStateSize(),
                FileMergingSnapshotManager.isFileMergingHandle(handle));
    }
}
