package io.alluvium.flink;

import io.alluvium.AlluviumException;
import io.alluvium.CheckpointFiles;
import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.core.fs.CloseableRegistry;
import org.apache.flink.core.memory.DataOutputViewStreamWrapper;
import org.apache.flink.runtime.checkpoint.CheckpointOptions;
import org.apache.flink.runtime.checkpoint.SnapshotType.SharingFilesStrategy;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.CheckpointStreamWithResultProvider;
import org.apache.flink.runtime.state.CheckpointedStateScope;
import org.apache.flink.runtime.state.IncrementalKeyedStateHandle.HandleAndLocalPath;
import org.apache.flink.runtime.state.IncrementalLocalKeyedStateHandle;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.apache.flink.runtime.state.LocalSnapshotDirectoryProvider;
import org.apache.flink.runtime.state.SnapshotDirectory;
import org.apache.flink.runtime.state.SnapshotResources;
import org.apache.flink.runtime.state.SnapshotResult;
import org.apache.flink.runtime.state.SnapshotStrategy;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One native snapshot: a checkpoint, or a savepoint in the native format. The synchronous part cuts the store's epoch; the asynchronous one waits
 * for the files, uploads those that the job manager has not, and writes the manifest into the stream that is read first.
 */
final class SnapshotOperation<K> implements SnapshotStrategy<KeyedStateHandle, SnapshotOperation.Prepared> {
    private static final Logger LOG = LoggerFactory.getLogger(SnapshotOperation.class);

    /** What all snapshots of a backend share. */
    static final class Shared<K> {
        final OpenStore store;
        final Checkpoints checkpoints;
        final UploadHistory history;
        final Transfer transfer;
        final UUID backend;
        final KeyGroupRange range;
        final TypeSerializer<K> keySerializer;
        final LocalRecoveryConfig localRecovery;
        final boolean incremental;

        Shared(
                OpenStore store,
                Checkpoints checkpoints,
                UploadHistory history,
                Transfer transfer,
                KeyGroupRange range,
                TypeSerializer<K> keySerializer,
                LocalRecoveryConfig localRecovery,
                boolean incremental) {
            this.store = store;
            this.checkpoints = checkpoints;
            this.history = history;
            this.transfer = transfer;
            backend = UUID.randomUUID();
            this.range = range;
            this.keySerializer = keySerializer;
            this.localRecovery = localRecovery;
            this.incremental = incremental;
        }
    }

    /** What the synchronous part leaves to the asynchronous one. */
    static final class Prepared implements SnapshotResources {
        final Checkpoints.Cut cut;
        final List<StateMetaInfoSnapshot> states;
        final Map<String, StreamStateHandle> base;
        private final Runnable end;

        /** {@code end}: what is to be done when it is written, or given up. */
        private Prepared(
                Checkpoints.Cut cut,
                List<StateMetaInfoSnapshot> states,
                Map<String, StreamStateHandle> base,
                Runnable end) {
            this.cut = cut;
            this.states = states;
            this.base = base;
            this.end = end;
        }

        @Override
        public void release() {
            end.run();
            if (cut != null) {
                cut.release();
            }
        }
    }

    private final Shared<K> shared;
    private final Map<String, RegisteredState> registered;
    private final SharingFilesStrategy sharing;

    SnapshotOperation(Shared<K> shared, Map<String, RegisteredState> registered, CheckpointOptions options) {
        this.shared = shared;
        this.registered = registered;
        sharing = options.getCheckpointType().getSharingFilesStrategy();
    }

    /** Whether later checkpoints may build on its files. */
    private boolean isShared() {
        return shared.incremental && sharing != SharingFilesStrategy.NO_SHARING;
    }

    @Override
    public Prepared syncPrepareResources(long checkpoint) throws IOException {
        List<StateMetaInfoSnapshot> states = new ArrayList<>();
        registered.values().forEach(state -> states.add(state.metaInfo.snapshot()));
        if (states.isEmpty()) {
            return new Prepared(null, states, Collections.emptyMap(), () -> {});
        }
        Checkpoints.Cut cut = shared.checkpoints.cut(checkpoint, !isShared());
        if (!isShared()) {
            return new Prepared(cut, states, Collections.emptyMap(), () -> {});
        }
        boolean reuses = sharing == SharingFilesStrategy.FORWARD_BACKWARD;
        return new Prepared(
                cut, states, shared.history.cut(checkpoint, reuses), () -> shared.history.ended(checkpoint));
    }

    @Override
    public SnapshotResultSupplier<KeyedStateHandle> asyncSnapshot(
            Prepared prepared,
            long checkpoint,
            long timestamp,
            CheckpointStreamFactory factory,
            CheckpointOptions options) {
        if (prepared.states.isEmpty()) {
            return registry -> SnapshotResult.empty();
        }
        return registry -> new Writing(prepared, checkpoint, factory, registry).run();
    }

    /** The asynchronous part. */
    private final class Writing {
        private final Prepared prepared;
        private final long checkpoint;
        private final CheckpointStreamFactory factory;
        private final CloseableRegistry registry;
        /** What there is to be discarded if it fails. */
        private final List<StreamStateHandle> uploaded = new ArrayList<>();

        private final List<StreamStateHandle> reused = new ArrayList<>();
        private final List<HandleAndLocalPath> files = new ArrayList<>();
        private SnapshotDirectory localDirectory;

        Writing(Prepared prepared, long checkpoint, CheckpointStreamFactory factory, CloseableRegistry registry) {
            this.prepared = prepared;
            this.checkpoint = checkpoint;
            this.factory = factory;
            this.registry = registry;
        }

        SnapshotResult<KeyedStateHandle> run() throws Exception {
            try {
                await();
                SnapshotResult<KeyedStateHandle> result = write();
                prepared.cut.keep();
                return result;
            } catch (AlluviumException e) {
                IOException told = Failure.io("the checkpoint " + checkpoint, e);
                discard(told);
                throw told;
            } catch (Throwable e) {
                discard(e);
                throw e;
            }
        }

        private void discard(Throwable why) {
            uploaded.forEach(handle -> Transfer.discard(handle, why));
            discardLocal(why);
        }

        private void await() throws IOException {
            Closeable cancel = prepared.cut::cancel;
            registry.registerCloseable(cancel);
            prepared.cut.await();
            if (!registry.unregisterCloseable(cancel)) {
                throw new IOException("The checkpoint " + checkpoint + " was cancelled.");
            }
        }

        private SnapshotResult<KeyedStateHandle> write() throws Exception {
            SnapshotResult<StreamStateHandle> meta;
            long size;
            try (CheckpointFiles of = shared.store.store.files(prepared.cut.label())) {
                List<CheckpointFiles.File> all = of.list();
                size = upload(all.subList(0, all.size() - 1));
                meta = writeMeta(all.get(all.size() - 1).name(), of.manifest());
                size += meta.getStateSize();
                exportLocal();
            }
            Map<String, StreamStateHandle> known = new HashMap<>();
            files.forEach(file -> known.put(file.getLocalPath(), file.getHandle()));
            boolean own = !shared.incremental && sharing != SharingFilesStrategy.NO_SHARING;
            // What no other checkpoint names is the handle's own, and goes with it.
            KeyedStateHandle remote = new IncrementalRemoteKeyedStateHandle(
                    shared.backend,
                    shared.range,
                    checkpoint,
                    own ? new ArrayList<>() : files,
                    own ? files : new ArrayList<>(),
                    meta.getJobManagerOwnedSnapshot(),
                    size);
            factory.reusePreviousStateHandle(reused);
            KeyedStateHandle local = local(meta.getTaskLocalSnapshot());
            if (isShared()) {
                // Last: what fails is discarded.
                shared.history.written(checkpoint, known);
            }
            return local == null ? SnapshotResult.of(remote) : SnapshotResult.withLocalState(remote, local);
        }

        /** Uploads what isn't there; says how many bytes. */
        private long upload(List<CheckpointFiles.File> segments) throws Exception {
            List<Transfer.Upload> missing = new ArrayList<>();
            List<String> passing = new ArrayList<>();
            Bringing bringing = shared.store.bringing();
            for (CheckpointFiles.File segment : segments) {
                StreamStateHandle known = prepared.base.get(segment.name());
                boolean reuses = known != null && factory.couldReuseStateHandle(known);
                if (reuses) {
                    reused.add(known);
                    files.add(HandleAndLocalPath.of(known, segment.name()));
                } else {
                    StreamStateHandle elsewhere = bringing == null ? null : bringing.elsewhere(segment.name());
                    missing.add(new Transfer.Upload(shared.store.directory(), segment.name(), elsewhere));
                }
                if (bringing != null && passes(segment.name(), reuses, bringing)) {
                    passing.add(segment.name());
                }
            }
            if (!passing.isEmpty()) {
                bringing.await(passing, registry);
            }
            CheckpointedStateScope scope = isShared() ? CheckpointedStateScope.SHARED : CheckpointedStateScope.EXCLUSIVE;
            uploaded.addAll(shared.transfer.upload(missing, factory, scope, registry));
            long size = 0;
            for (int place = 0; place < missing.size(); place++) {
                StreamStateHandle handle = uploaded.get(place);
                size += handle.getStateSize();
                files.add(HandleAndLocalPath.of(handle, missing.get(place).name));
            }
            return size;
        }

        /**
         * Whether a file may be gone from where it was restored from once this checkpoint is complete: what it doesn't name, and local copies
         * of earlier ones. Nothing goes because of a savepoint but local copies.
         */
        private boolean passes(String file, boolean reuses, Bringing bringing) {
            return bringing.isLocal(file) || (!reuses && sharing != SharingFilesStrategy.NO_SHARING);
        }

        private SnapshotResult<StreamStateHandle> writeMeta(String manifestName, byte[] manifest) throws IOException {
            CheckpointStreamWithResultProvider stream = isLocal()
                    ? CheckpointStreamWithResultProvider.createDuplicatingStream(
                            checkpoint, CheckpointedStateScope.EXCLUSIVE, factory, localDirectories())
                    : CheckpointStreamWithResultProvider.createSimpleStream(CheckpointedStateScope.EXCLUSIVE, factory);
            try {
                registry.registerCloseable(stream);
                MetaStream.write(
                        new DataOutputViewStreamWrapper(stream.getCheckpointOutputStream()),
                        shared.keySerializer,
                        prepared.states,
                        manifestName,
                        manifest);
                if (!registry.unregisterCloseable(stream)) {
                    throw new IOException("The checkpoint " + checkpoint + " was cancelled.");
                }
                SnapshotResult<StreamStateHandle> result = stream.closeAndFinalizeCheckpointStreamResult();
                stream = null;
                uploaded.add(result.getJobManagerOwnedSnapshot());
                if (result.getTaskLocalSnapshot() != null) {
                    uploaded.add(result.getTaskLocalSnapshot());
                }
                return result;
            } finally {
                if (stream != null) {
                    registry.unregisterCloseable(stream);
                    stream.close();
                }
            }
        }

        private boolean isLocal() {
            return shared.localRecovery.isLocalBackupEnabled();
        }

        private LocalSnapshotDirectoryProvider localDirectories() {
            return shared.localRecovery
                    .getLocalStateDirectoryProvider()
                    .orElseThrow(LocalRecoveryConfig.localRecoveryNotEnabled());
        }

        /** Links the files to where a task that is restarted on this machine finds them. */
        private void exportLocal() throws IOException {
            Bringing bringing = shared.store.bringing();
            if (!isLocal() || (bringing != null && !bringing.isDone())) {
                // A copy that lacks files is none; the next checkpoint has one.
                return;
            }
            // Operators that are chained in one task share the directory.
            Path directory = localDirectories()
                    .subtaskSpecificCheckpointDirectory(checkpoint)
                    .toPath()
                    .resolve(shared.backend.toString());
            OpenStore.delete(directory);
            Files.createDirectories(directory);
            localDirectory = SnapshotDirectory.permanent(directory);
            shared.store.store.export(prepared.cut.label(), directory);
        }

        private KeyedStateHandle local(StreamStateHandle meta) throws IOException {
            if (localDirectory == null || meta == null) {
                return null;
            }
            return new IncrementalLocalKeyedStateHandle(
                    shared.backend,
                    checkpoint,
                    localDirectory.completeSnapshotAndGetHandle(),
                    shared.range,
                    meta,
                    files);
        }

        private void discardLocal(Throwable why) {
            if (localDirectory != null) {
                try {
                    localDirectory.cleanup();
                } catch (IOException e) {
                    LOG.warn("The local copy of the checkpoint {} could not be deleted", checkpoint, e);
                    why.addSuppressed(e);
                }
            }
        }
    }
}
