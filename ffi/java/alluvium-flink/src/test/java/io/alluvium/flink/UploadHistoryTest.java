package io.alluvium.flink;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.runtime.state.IncrementalKeyedStateHandle.HandleAndLocalPath;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.PhysicalStateHandleID;
import org.apache.flink.runtime.state.SharedStateRegistry;
import org.apache.flink.runtime.state.SharedStateRegistryImpl;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.memory.ByteStreamStateHandle;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import static org.assertj.core.api.Assertions.assertThat;

/**
 * Random sequences of checkpoints that overlap, fail, are given up and completed, of notifications that come late or never, and of restores with
 * another parallelism, against Flink's registry of shared files: each placeholder stands for a file that is there, and no file of a checkpoint
 * that is kept is deleted.
 */
class UploadHistoryTest {
    private static final int STEPS = 400;
    private static final int PENDING_MAX = 4;

    /** A file where checkpoints are kept. */
    private static final class Uploaded implements StreamStateHandle {
        private static final long serialVersionUID = 1;
        private final String id;
        private boolean discarded;

        Uploaded(String id) {
            this.id = id;
        }

        @Override
        public FSDataInputStream openInputStream() {
            throw new UnsupportedOperationException("nobody reads here");
        }

        @Override
        public Optional<byte[]> asBytesIfInMemory() {
            return Optional.empty();
        }

        @Override
        public PhysicalStateHandleID getStreamStateHandleID() {
            return new PhysicalStateHandleID(id);
        }

        @Override
        public void discardState() {
            discarded = true;
        }

        @Override
        public long getStateSize() {
            return 1;
        }
    }

    /** A subtask: its files, and what it knows of the job manager. */
    private static final class Subtask {
        final UploadHistory history = new UploadHistory();
        final Set<String> files = new TreeSet<>();
        final KeyGroupRange range;

        Subtask(KeyGroupRange range) {
            this.range = range;
        }
    }

    /** A checkpoint of one subtask that is under way. */
    private static final class Part {
        final Subtask of;
        final List<String> files;
        final Map<String, StreamStateHandle> base;
        IncrementalRemoteKeyedStateHandle handle;

        Part(Subtask of, Map<String, StreamStateHandle> base) {
            this.of = of;
            this.base = base;
            files = new ArrayList<>(of.files);
        }
    }

    /** What is said to a subtask, sooner or later. */
    private static final class Word {
        final Subtask to;
        final long checkpoint;
        final boolean completed;

        Word(Subtask to, long checkpoint, boolean completed) {
            this.to = to;
            this.checkpoint = checkpoint;
            this.completed = completed;
        }
    }

    private final TreeMap<Long, List<Part>> pending = new TreeMap<>();
    private final TreeMap<Long, List<IncrementalRemoteKeyedStateHandle>> completed = new TreeMap<>();
    private final List<Word> words = new ArrayList<>();
    private final List<Subtask> subtasks = new ArrayList<>();
    private SharedStateRegistry registry = new SharedStateRegistryImpl();
    private Random random;
    private int retained;
    private long lastCheckpoint;
    private int names;
    private int placeholders;

    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
    void everyPlaceholderResolvesAndNoLiveFileIsDeleted(long seed) throws Exception {
        random = new Random(seed);
        retained = 1 + random.nextInt(2);
        subtasks.add(new Subtask(new KeyGroupRange(0, 15)));
        for (int step = 0; step < STEPS; step++) {
            step();
            check();
        }
        assertThat(placeholders).isPositive();
    }

    private void step() {
        switch (random.nextInt(12)) {
            case 0:
            case 1:
            case 2:
                change(subtasks.get(random.nextInt(subtasks.size())));
                break;
            case 3:
            case 4:
                cut();
                break;
            case 5:
            case 6:
            case 7:
                write();
                break;
            case 8:
                complete();
                break;
            case 9:
                abort();
                break;
            case 10:
                hear();
                break;
            default:
                if (random.nextInt(10) == 0) {
                    restore();
                }
        }
    }

    /** The store makes a file, or merges some. */
    private void change(Subtask subtask) {
        if (random.nextBoolean()) {
            subtask.files.removeIf(file -> random.nextInt(3) == 0);
        }
        subtask.files.add("segment " + names++);
    }

    private void cut() {
        if (pending.size() == PENDING_MAX) {
            return;
        }
        long checkpoint = ++lastCheckpoint;
        boolean reuses = random.nextInt(5) != 0;
        List<Part> parts = new ArrayList<>();
        for (Subtask subtask : subtasks) {
            parts.add(new Part(subtask, subtask.history.cut(checkpoint, reuses)));
        }
        pending.put(checkpoint, parts);
    }

    private Long anyPending() {
        return pending.isEmpty() ? null : new ArrayList<>(pending.keySet()).get(random.nextInt(pending.size()));
    }

    /** One subtask writes its part, or fails to. */
    private void write() {
        Long checkpoint = anyPending();
        if (checkpoint == null) {
            return;
        }
        for (Part part : pending.get(checkpoint)) {
            if (part.handle != null) {
                continue;
            }
            if (random.nextInt(8) == 0) {
                part.of.history.ended(checkpoint);
                giveUp(checkpoint);
                return;
            }
            Map<String, StreamStateHandle> known = new HashMap<>();
            List<HandleAndLocalPath> files = new ArrayList<>();
            for (String file : part.files) {
                StreamStateHandle handle = part.base.get(file);
                placeholders += handle == null ? 0 : 1;
                known.put(file, handle == null ? new Uploaded("upload " + names++) : handle);
                files.add(HandleAndLocalPath.of(known.get(file), file));
            }
            part.of.history.written(checkpoint, known);
            part.of.history.ended(checkpoint);
            part.handle = new IncrementalRemoteKeyedStateHandle(
                    UUID.randomUUID(),
                    part.of.range,
                    checkpoint,
                    files,
                    new ArrayList<>(),
                    new ByteStreamStateHandle("meta " + names++, new byte[0]),
                    1);
            // The job manager does so when it hears of it. It fails where a placeholder stands for nothing.
            part.handle.registerSharedStates(registry, checkpoint);
            return;
        }
    }

    private void complete() {
        Long checkpoint = anyPending();
        if (checkpoint == null || pending.get(checkpoint).stream().anyMatch(part -> part.handle == null)) {
            return;
        }
        List<IncrementalRemoteKeyedStateHandle> handles = new ArrayList<>();
        pending.remove(checkpoint).forEach(part -> handles.add(part.handle));
        completed.put(checkpoint, handles);
        while (completed.size() > retained) {
            completed.pollFirstEntry();
        }
        new ArrayList<>(pending.headMap(checkpoint).keySet()).forEach(this::giveUp);
        registry.unregisterUnusedState(completed.firstKey());
        subtasks.forEach(subtask -> say(new Word(subtask, checkpoint, true)));
    }

    private void abort() {
        Long checkpoint = anyPending();
        if (checkpoint != null) {
            giveUp(checkpoint);
        }
    }

    private void giveUp(long checkpoint) {
        for (Part part : pending.remove(checkpoint)) {
            if (part.handle == null) {
                part.of.history.ended(checkpoint);
            }
            say(new Word(part.of, checkpoint, false));
        }
    }

    /** Sooner, later or never. */
    private void say(Word word) {
        if (random.nextInt(6) != 0) {
            words.add(word);
        }
        if (random.nextInt(3) != 0) {
            hear();
        }
    }

    private void hear() {
        if (words.isEmpty()) {
            return;
        }
        Word word = words.remove(random.nextInt(words.size()));
        if (word.completed) {
            word.to.history.completed(word.checkpoint);
        } else {
            word.to.history.aborted(word.checkpoint);
        }
    }

    /** The job fails and comes back with one subtask or two, which begin with the last checkpoint. */
    private void restore() {
        if (completed.isEmpty()) {
            return;
        }
        pending.clear();
        words.clear();
        registry = new SharedStateRegistryImpl();
        completed.forEach((checkpoint, handles) -> handles.forEach(handle -> handle.registerSharedStates(registry, checkpoint)));
        subtasks.clear();
        if (random.nextBoolean()) {
            subtasks.add(new Subtask(new KeyGroupRange(0, 15)));
        } else {
            subtasks.add(new Subtask(new KeyGroupRange(0, 7)));
            subtasks.add(new Subtask(new KeyGroupRange(8, 15)));
        }
        for (Subtask subtask : subtasks) {
            for (IncrementalRemoteKeyedStateHandle handle : completed.lastEntry().getValue()) {
                if (handle.getKeyGroupRange().getIntersection(subtask.range).getNumberOfKeyGroups() == 0) {
                    continue;
                }
                Map<String, StreamStateHandle> files = new HashMap<>();
                handle.getSharedState().forEach(file -> files.put(file.getLocalPath(), file.getHandle()));
                subtask.files.addAll(files.keySet());
                subtask.history.restored(handle.getCheckpointId(), files);
            }
        }
    }

    /** Registering has put the files themselves in the place of placeholders. */
    private void check() {
        completed.forEach((checkpoint, handles) -> handles.forEach(handle -> {
            for (HandleAndLocalPath file : handle.getSharedState()) {
                assertThat(file.getHandle()).isInstanceOf(Uploaded.class);
                assertThat(((Uploaded) file.getHandle()).discarded)
                        .as("%s of the checkpoint %s was deleted", file.getLocalPath(), checkpoint)
                        .isFalse();
            }
        }));
    }
}
