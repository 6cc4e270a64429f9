package io.alluvium.flink;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.apache.flink.runtime.state.IncrementalKeyedStateHandle.HandleAndLocalPath;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupsSavepointStateHandle;
import org.apache.flink.runtime.state.KeyGroupsStateHandle;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.changelog.ChangelogStateBackendHandle;

/** The keyed state that one subtask of this backend has in a checkpoint, with its metadata read. */
final class StoredHandle {
    final IncrementalRemoteKeyedStateHandle handle;
    final MetaStream meta;

    private StoredHandle(IncrementalRemoteKeyedStateHandle handle, MetaStream meta) {
        this.handle = handle;
        this.meta = meta;
    }

    /** Reads the metadata. {@code of} is whose state it is; what isn't of this backend is refused by its name. */
    static StoredHandle read(KeyedStateHandle handle, String of, ClassLoader classLoader) throws IOException {
        if (!(handle instanceof IncrementalRemoteKeyedStateHandle)) {
            throw new RepairRefusedException("the keyed state of " + of + " isn't Alluvium's, but " + kind(handle));
        }
        IncrementalRemoteKeyedStateHandle incremental = (IncrementalRemoteKeyedStateHandle) handle;
        byte[] bytes;
        try (InputStream in = incremental.getMetaDataStateHandle().openInputStream()) {
            bytes = in.readAllBytes();
        }
        MetaStream meta;
        try {
            meta = MetaStream.readWhole(bytes, classLoader);
        } catch (IOException | RuntimeException e) {
            throw new IOException("the metadata of the keyed state of " + of + " could not be read: are the job's classes on the class path?", e);
        }
        if (meta == null) {
            throw new RepairRefusedException("the keyed state of " + of + " isn't Alluvium's, but " + kind(incremental));
        }
        return new StoredHandle(incremental, meta);
    }

    /** What state is that isn't of this backend. */
    static String kind(KeyedStateHandle handle) {
        if (handle instanceof KeyGroupsSavepointStateHandle) {
            return "a canonical savepoint";
        }
        if (handle instanceof KeyGroupsStateHandle) {
            return "a full checkpoint of another backend, such as HashMap's";
        }
        if (handle instanceof ChangelogStateBackendHandle) {
            return "that of Flink's changelog around a backend";
        }
        if (handle instanceof IncrementalRemoteKeyedStateHandle) {
            return "an incremental checkpoint of another backend, such as RocksDB's or ForSt's";
        }
        return "a " + handle.getClass().getName();
    }

    KeyGroupRange range() {
        return handle.getKeyGroupRange();
    }

    /** The store's files. */
    List<HandleAndLocalPath> files() {
        List<HandleAndLocalPath> files = new ArrayList<>(handle.getSharedState());
        files.addAll(handle.getPrivateState());
        return files;
    }

    /** Writes the manifest into a directory, and says what is to be downloaded into it before it is a checkpoint of a store. */
    Collection<Transfer.Download> bringTo(Path directory) throws IOException {
        Files.createDirectories(directory);
        Files.write(directory.resolve(meta.manifestName), meta.manifest);
        List<Transfer.Download> downloads = new ArrayList<>();
        for (HandleAndLocalPath file : files()) {
            downloads.add(new Transfer.Download(file.getHandle(), directory.resolve(file.getLocalPath())));
        }
        return downloads;
    }
}
