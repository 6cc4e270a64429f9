package io.alluvium.flink;

import io.alluvium.AlluviumException;
import io.alluvium.Checkpoint;
import io.alluvium.CheckpointFiles;
import io.alluvium.CheckpointSource;
import io.alluvium.Engine;
import io.alluvium.Fetches;
import io.alluvium.KeyGroupRange;
import io.alluvium.PendingCheckpoint;
import io.alluvium.Store;
import io.alluvium.StoreOptions;
import io.alluvium.Writer;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.LongConsumer;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.core.memory.DataInputViewStreamWrapper;
import org.apache.flink.runtime.state.IncrementalKeyedStateHandle;
import org.apache.flink.runtime.state.IncrementalKeyedStateHandle.HandleAndLocalPath;
import org.apache.flink.runtime.state.IncrementalLocalKeyedStateHandle;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.StateSerializerProvider;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.filesystem.FileStateHandle;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot;
import org.apache.flink.util.FileUtils;

/**
 * Opens a store from native checkpoints, of whatever key groups: their files are downloaded, or found on this machine, and linked into one
 * store, which sees its own key groups of them alone. No data is read or rewritten, rescaled or not.
 */
final class NativeRestore<K> {
    private final Restored restored;
    private final StateSerializerProvider<K> keySerializer;
    private final ClassLoader classLoader;
    private final Transfer transfer;
    private final int onDemandThreads;
    private final CloseableRegistry registry;
    private final List<byte[]> manifests = new ArrayList<>();
    private final Map<String, StreamStateHandle> elsewhere = new HashMap<>();
    /** The files whose place elsewhere is on this machine. */
    private final Set<String> local = new HashSet<>();
    private final List<CheckpointSource> sources = new ArrayList<>();
    private final List<StateMetaInfoSnapshot> states = new ArrayList<>();
    private final List<Transfer.Download> downloads = new ArrayList<>();
    private final List<KeyGroupRange> covered = new ArrayList<>();

    /** {@code onDemandThreads} bring files while the task runs already; 0: all files are downloaded first. */
    NativeRestore(
            Restored restored,
            StateSerializerProvider<K> keySerializer,
            ClassLoader classLoader,
            Transfer transfer,
            int onDemandThreads,
            CloseableRegistry registry) {
        this.restored = restored;
        this.keySerializer = keySerializer;
        this.classLoader = classLoader;
        this.transfer = transfer;
        this.onDemandThreads = onDemandThreads;
        this.registry = registry;
    }

    /** Restores from these handles, and leaves the store open. Tells how long the download took, in ns, unless files are brought later. */
    void run(Collection<KeyedStateHandle> handles, LongConsumer downloadNs) throws Exception {
        Path brought = restored.directory.resolve("restore");
        Files.createDirectories(brought);
        try {
            int number = 0;
            for (KeyedStateHandle handle : handles) {
                if (handle instanceof IncrementalLocalKeyedStateHandle) {
                    local((IncrementalLocalKeyedStateHandle) handle);
                } else if (handle instanceof IncrementalRemoteKeyedStateHandle) {
                    remote((IncrementalRemoteKeyedStateHandle) handle, brought.resolve("checkpoint-" + number++));
                } else {
                    throw new IOException("no native checkpoint among others that are: " + handle.getClass());
                }
            }
            boolean onDemand = onDemandThreads > 0 && !downloads.isEmpty();
            if (!onDemand) {
                long begin = System.nanoTime();
                transfer.download(downloads, registry);
                downloadNs.accept(System.nanoTime() - begin);
            }
            fillGaps(brought);
            open(onDemand);
        } finally {
            OpenStore.delete(brought);
        }
    }

    private void open(boolean onDemand) throws IOException {
        Engine engine = restored.engine();
        Path path = restored.storeDirectory();
        StoreOptions options = restored.options(restored.range).fetch(onDemand);
        try {
            Store store = onDemand
                    ? Store.restoreAbsent(engine, path, manifests, options)
                    : Store.restore(engine, path, sources, options);
            restored.store = new OpenStore(store, path, restored.directory, restored.engine);
            Optional<Fetches> fetches = store.fetches();
            if (fetches.isPresent()) {
                Bringing bringing = new Bringing(fetches.get(), path, elsewhere, local, onDemandThreads);
                restored.store.bringing(bringing);
            }
            states.forEach(restored::register);
        } catch (AlluviumException e) {
            throw Failure.io("the store in " + restored.storeDirectory() + " was not restored", e);
        }
    }

    private MetaStream meta(IncrementalKeyedStateHandle handle) throws Exception {
        try (InputStream in = handle.getMetaDataStateHandle().openInputStream();
                Closeable ignored = registry.registerCloseableTemporarily(in)) {
            // All checkpoints of a job have the same key serializer.
            StateSerializerProvider<K> unchecked = covered.isEmpty() ? keySerializer : null;
            MetaStream meta = MetaStream.read(new DataInputViewStreamWrapper(in), classLoader, unchecked);
            states.addAll(meta.states);
            manifests.add(meta.manifest);
            covered.add(KeyGroupRange.of(
                    handle.getKeyGroupRange().getStartKeyGroup(), handle.getKeyGroupRange().getEndKeyGroup()));
            return meta;
        } catch (IOException | RuntimeException e) {
            throw new IOException("the metadata of a checkpoint was not read: " + handle.getMetaDataStateHandle(), e);
        }
    }

    private void local(IncrementalLocalKeyedStateHandle handle) throws Exception {
        meta(handle);
        Path directory = handle.getDirectoryStateHandle().getDirectory();
        sources.add(CheckpointSource.newest(directory));
        for (Path file : FileUtils.listDirectory(directory)) {
            String name = file.getFileName().toString();
            local.add(name);
            elsewhere.put(name, new FileStateHandle(new org.apache.flink.core.fs.Path(file.toUri()), Files.size(file)));
        }
        remember(handle, handle.getSharedStateHandles());
    }

    private void remote(IncrementalRemoteKeyedStateHandle handle, Path directory) throws Exception {
        MetaStream meta = meta(handle);
        Files.createDirectories(directory);
        Files.write(directory.resolve(meta.manifestName), meta.manifest);
        List<HandleAndLocalPath> files = new ArrayList<>(handle.getSharedState());
        files.addAll(handle.getPrivateState());
        for (HandleAndLocalPath file : files) {
            local.remove(file.getLocalPath());
            elsewhere.put(file.getLocalPath(), file.getHandle());
            downloads.add(new Transfer.Download(file.getHandle(), directory.resolve(file.getLocalPath())));
        }
        sources.add(CheckpointSource.newest(directory));
        remember(handle, handle.getSharedState());
    }

    private void remember(IncrementalKeyedStateHandle handle, List<HandleAndLocalPath> shared) {
        Map<String, StreamStateHandle> files = new HashMap<>();
        shared.forEach(file -> files.put(file.getLocalPath(), file.getHandle()));
        restored.history.restored(handle.getCheckpointId(), files);
    }

    /** Key groups of tasks that had no state have no handle; empty stores stand for them. */
    private void fillGaps(Path brought) {
        covered.sort(Comparator.comparingInt(KeyGroupRange::first));
        int next = restored.range.first();
        for (KeyGroupRange range : covered) {
            gap(brought, next, Math.min(range.first() - 1, restored.range.last()));
            next = Math.max(next, range.last() + 1);
        }
        gap(brought, next, restored.range.last());
    }

    private void gap(Path brought, int first, int last) {
        if (first > last) {
            return;
        }
        Path directory = brought.resolve("gap-" + first);
        KeyGroupRange range = KeyGroupRange.of(first, last);
        try (Store empty = Store.create(restored.engine(), directory, restored.options(range));
                Writer writer = empty.writer();
                PendingCheckpoint pending = writer.checkpoint(Checkpoint.of(1))) {
            pending.await();
            try (CheckpointFiles files = empty.files(1)) {
                manifests.add(files.manifest());
            }
        }
        sources.add(CheckpointSource.newest(directory));
    }
}
