package io.alluvium.flink;

import io.alluvium.Engine;
import io.alluvium.KeyGroupRange;
import io.alluvium.StoreOptions;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.runtime.memory.OpaqueMemoryResource;
import org.apache.flink.runtime.state.RegisteredStateMetaInfoBase;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot;

/** A store on its way to a keyed backend: what it is opened with, and what it was found to hold. */
final class Restored {
    /** Checkpoints that Flink never says anything of, as it lost interest, are kept up to so many. */
    private static final int UNCONFIRMED_MAX = 64;
    /** As many as Flink allows. Each key comes with its group, so how many groups a job has is nothing to the store. */
    private static final int KEY_GROUPS_MAX = 1 << 15;

    final OpaqueMemoryResource<SlotEngine> engine;
    final Path directory;
    final KeyGroupRange range;
    final int keyGroups;
    final UploadHistory history = new UploadHistory();
    final Map<String, RegisteredState> states = new LinkedHashMap<>();
    private final boolean compress;
    /** Null until it is open. */
    OpenStore store;

    Restored(
            OpaqueMemoryResource<SlotEngine> engine, Path directory, KeyGroupRange range, int keyGroups, boolean compress) {
        this.engine = engine;
        this.directory = directory;
        this.range = range;
        this.keyGroups = keyGroups;
        this.compress = compress;
    }

    Engine engine() {
        return engine.getResourceHandle().engine();
    }

    Path storeDirectory() {
        return directory.resolve("store");
    }

    /** The options of a store of these key groups. */
    StoreOptions options(KeyGroupRange of) {
        return options(of, compress);
    }

    /** The options that all stores of this backend have in common. */
    static StoreOptions options(KeyGroupRange of, boolean compress) {
        return new StoreOptions()
                .keyGroups(KEY_GROUPS_MAX)
                .range(of)
                .hostDurability(true)
                .hostRetention(UNCONFIRMED_MAX)
                .compress(compress);
    }

    /** Makes a state of the store known, unless another checkpoint did. */
    RegisteredState register(StateMetaInfoSnapshot snapshot) {
        return states.computeIfAbsent(
                snapshot.getName(),
                name -> RegisteredState.register(store.store, RegisteredStateMetaInfoBase.fromMetaInfoSnapshot(snapshot)));
    }
}
