package io.alluvium.flink;

import io.alluvium.AlluviumException;
import io.alluvium.Checkpoint;
import io.alluvium.CheckpointFiles;
import io.alluvium.CheckpointInfo;
import io.alluvium.CheckpointSource;
import io.alluvium.Engine;
import io.alluvium.KeyGroupRange;
import io.alluvium.PendingCheckpoint;
import io.alluvium.Store;
import io.alluvium.StoreOptions;
import io.alluvium.Writer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.runtime.state.IncrementalKeyedStateHandle.HandleAndLocalPath;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot;

/**
 * The keyed state of one subtask, put together anew from two checkpoints in a directory of this machine. Each key group is of either of them:
 * stores are restored of the runs of key groups that are of one, and one store from all of these, which links segments and rewrites nothing.
 * What isn't whole key groups is then copied entry by entry.
 */
final class SubtaskRepair {
    private final Engine engine;
    private final Transfer transfer;
    private final OperatorRepair repair;
    private final SubtaskPlan plan;
    private final Path directory;
    private final List<CheckpointSource> newer = new ArrayList<>();
    private final List<CheckpointSource> older = new ArrayList<>();
    private int stores;

    /** Uses a directory that isn't there yet, and deletes it. */
    SubtaskRepair(Engine engine, Transfer transfer, OperatorRepair repair, SubtaskPlan plan, Path directory) {
        this.engine = engine;
        this.transfer = transfer;
        this.repair = repair;
        this.plan = plan;
        this.directory = directory;
    }

    /** Does it, writes the files, and says what is then the subtask's keyed state in the checkpoint of this id. */
    KeyedStateHandle run(NewCheckpoint into, long checkpoint) throws Exception {
        try {
            bring();
            Path path = path();
            try (Store store = Store.restore(engine, path, pieces(), options(range()));
                    Writer writer = store.writer()) {
                if (!repair.isWhole()) {
                    edit(store, writer);
                }
                long label = store.checkpoints().stream().mapToLong(CheckpointInfo::label).max().orElse(0) + 1;
                try (PendingCheckpoint pending = writer.checkpoint(Checkpoint.of(label))) {
                    pending.await();
                }
                return write(store, path, label, into, checkpoint);
            }
        } catch (AlluviumException e) {
            throw Failure.io("the keyed state of subtask " + plan.index + " of " + repair.operator, e);
        } finally {
            if (Files.exists(directory)) {
                OpenStore.delete(directory);
            }
        }
    }

    private KeyGroupRange range() {
        return KeyGroupRange.of(plan.range.getStartKeyGroup(), plan.range.getEndKeyGroup());
    }

    private static StoreOptions options(KeyGroupRange range) {
        return Restored.options(range, true);
    }

    private Path path() {
        return directory.resolve("store-" + stores++);
    }

    /** Downloads what is needed: of the newer checkpoint nothing where all key groups go back. */
    private void bring() throws Exception {
        Files.createDirectories(directory);
        boolean isAll = repair.isWhole() && plan.groups.cardinality() == plan.range.getNumberOfKeyGroups();
        List<Transfer.Download> downloads = new ArrayList<>();
        bring(isAll ? List.of() : plan.newer, "newer-", newer, downloads);
        bring(plan.older, "older-", older, downloads);
        try (CloseableRegistry registry = new CloseableRegistry()) {
            transfer.download(downloads, registry);
        }
    }

    private void bring(
            List<StoredHandle> handles, String name, List<CheckpointSource> sources, List<Transfer.Download> downloads)
            throws IOException {
        for (StoredHandle handle : handles) {
            Path to = directory.resolve(name + sources.size());
            downloads.addAll(handle.bringTo(to));
            sources.add(CheckpointSource.newest(to));
        }
    }

    /** The stores of the runs of key groups that are of one checkpoint. */
    private List<CheckpointSource> pieces() {
        BitSet others = repair.isWhole() ? plan.groups : new BitSet();
        List<CheckpointSource> pieces = new ArrayList<>();
        int last = plan.range.getEndKeyGroup();
        for (int first = plan.range.getStartKeyGroup(); first <= last; ) {
            boolean isOther = others.get(first);
            int end = isOther ? others.nextClearBit(first) : others.nextSetBit(first);
            end = end < 0 ? last + 1 : Math.min(end, last + 1);
            KeyGroupRange run = KeyGroupRange.of(first, end - 1);
            // Of what is removed there is nothing in `older`.
            Path piece = isOther ? restore(run, plan.older, older) : restore(run, plan.newer, newer);
            pieces.add(CheckpointSource.newest(piece));
            first = end;
        }
        return pieces;
    }

    /** A store of key groups of some checkpoints, and with nothing in those that none of them has; closed again. Returns its directory. */
    private Path restore(KeyGroupRange run, List<StoredHandle> handles, List<CheckpointSource> sources) {
        List<CheckpointSource> all = new ArrayList<>();
        List<KeyGroupRange> covered = new ArrayList<>();
        for (int place = 0; place < sources.size(); place++) {
            org.apache.flink.runtime.state.KeyGroupRange has = handles.get(place).range();
            int first = Math.max(run.first(), has.getStartKeyGroup());
            int last = Math.min(run.last(), has.getEndKeyGroup());
            if (first <= last) {
                covered.add(KeyGroupRange.of(first, last));
                all.add(sources.get(place));
            }
        }
        covered.sort(Comparator.comparingInt(KeyGroupRange::first));
        int next = run.first();
        for (KeyGroupRange each : covered) {
            if (next < each.first()) {
                all.add(empty(KeyGroupRange.of(next, each.first() - 1)));
            }
            next = each.last() + 1;
        }
        if (next <= run.last()) {
            all.add(empty(KeyGroupRange.of(next, run.last())));
        }
        Path path = path();
        Store.restore(engine, path, all, options(run)).close();
        return path;
    }

    private CheckpointSource empty(KeyGroupRange groups) {
        Path path = path();
        try (Store store = Store.create(engine, path, options(groups));
                PendingCheckpoint pending = store.checkpoint(Checkpoint.of(1))) {
            pending.await();
        }
        return CheckpointSource.newest(path);
    }

    private void edit(Store store, Writer writer) {
        if (repair.removes()) {
            new EntryRepair(repair, plan, store, writer).remove();
            return;
        }
        Path path = restore(range(), plan.older, older);
        try (Store before = Store.open(engine, path, options(range()));
                Writer reading = before.writer()) {
            EntryRepair entries = new EntryRepair(repair, plan, store, writer);
            entries.remove();
            entries.copy(before, reading);
        }
    }

    private KeyedStateHandle write(Store store, Path path, long label, NewCheckpoint into, long checkpoint) throws IOException {
        List<HandleAndLocalPath> segments = new ArrayList<>();
        StreamStateHandle meta;
        long size = 0;
        try (CheckpointFiles of = store.files(label)) {
            List<CheckpointFiles.File> all = of.list();
            for (CheckpointFiles.File segment : all.subList(0, all.size() - 1)) {
                StreamStateHandle copy = into.copy(path.resolve(segment.name()));
                size += copy.getStateSize();
                segments.add(HandleAndLocalPath.of(copy, segment.name()));
            }
            meta = into.write(meta(all.get(all.size() - 1).name(), of.manifest()));
        }
        return new IncrementalRemoteKeyedStateHandle(
                UUID.randomUUID(), plan.range, checkpoint, new ArrayList<>(), segments, meta, size + meta.getStateSize());
    }

    /** What Flink keeps is that of the newer checkpoint, as it is, unless the older one has states that it doesn't know of. */
    private byte[] meta(String name, byte[] manifest) throws IOException {
        Map<String, StateMetaInfoSnapshot> states = new LinkedHashMap<>();
        List<StoredHandle> all = new ArrayList<>(plan.newer);
        all.addAll(plan.older);
        for (StoredHandle handle : all) {
            handle.meta.states.stream()
                    .filter(state -> plan.newer.contains(handle) || repair.has(state.getName()))
                    .forEach(state -> states.putIfAbsent(state.getName(), state));
        }
        MetaStream first = all.get(0).meta;
        DataOutputSerializer out = new DataOutputSerializer(manifest.length + 1024);
        if (states.size() == first.states.size()) {
            first.write(out, name, manifest);
        } else {
            MetaStream.write(out, first.keySerializer.restoreSerializer(), new ArrayList<>(states.values()), name, manifest);
        }
        return out.getCopyOfBuffer();
    }
}
