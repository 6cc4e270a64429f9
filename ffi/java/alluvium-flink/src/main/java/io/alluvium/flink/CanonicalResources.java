package io.alluvium.flink;

import io.alluvium.AlluviumException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.runtime.state.FullSnapshotResources;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyValueStateIterator;
import org.apache.flink.runtime.state.StateSnapshotTransformer;
import org.apache.flink.runtime.state.StreamCompressionDecorator;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueSnapshotRestoreWrapper;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueStateSnapshot;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot;

/** What a canonical savepoint is written from: a checkpoint of the store, and timers of the heap. */
final class CanonicalResources<K> implements FullSnapshotResources<K> {
    /** What the iterator needs of a state of the store. */
    static final class Written {
        /** Its place among the savepoint's states. */
        final int place;

        final RegisteredState registered;
        /** Leaves values out, or changes them; null where nothing does. */
        final StateSnapshotTransformer<byte[]> transformer;

        private Written(int place, RegisteredState registered) {
            this.place = place;
            this.registered = registered;
            transformer = registered.isKeyed()
                    ? registered.keyed().getStateSnapshotTransformFactory().createForSerializedState().orElse(null)
                    : null;
        }
    }

    private final OpenStore store;
    private final Checkpoints.Cut cut;
    private final int keyGroups;
    private final KeyGroupRange range;
    private final TypeSerializer<K> keySerializer;
    private final StreamCompressionDecorator compression;
    private final List<StateMetaInfoSnapshot> snapshots = new ArrayList<>();
    private final List<Written> written = new ArrayList<>();
    private final List<HeapPriorityQueueStateSnapshot<?>> queues = new ArrayList<>();

    /** The synchronous part: everything that changes is copied here, but for the state, which is in the checkpoint. */
    CanonicalResources(
            OpenStore store,
            Checkpoints.Cut cut,
            Map<String, RegisteredState> states,
            Map<String, HeapPriorityQueueSnapshotRestoreWrapper<?>> heapQueues,
            AlluviumKeyedStateBackend<K> backend,
            StreamCompressionDecorator compression) {
        this.store = store;
        this.cut = cut;
        this.compression = compression;
        keyGroups = backend.getNumberOfKeyGroups();
        range = backend.getKeyGroupRange();
        keySerializer = backend.getKeySerializer();
        // In the order in which the store goes through them.
        List<RegisteredState> ordered = new ArrayList<>(states.values());
        ordered.sort(Comparator.comparingInt(registered -> registered.state.number()));
        for (RegisteredState registered : ordered) {
            written.add(new Written(snapshots.size(), registered));
            snapshots.add(registered.metaInfo.snapshot());
        }
        for (HeapPriorityQueueSnapshotRestoreWrapper<?> queue : heapQueues.values()) {
            queues.add(queue.stateSnapshot());
            snapshots.add(queue.getMetaInfo().snapshot());
        }
    }

    @Override
    public List<StateMetaInfoSnapshot> getMetaInfoSnapshots() {
        return snapshots;
    }

    @Override
    public KeyValueStateIterator createKVStateIterator() throws IOException {
        cut.await();
        try {
            return new CanonicalIterator(
                    store.store.iterate(cut.label()),
                    written,
                    queues,
                    range,
                    new CanonicalFormat<>(keySerializer, keyGroups));
        } catch (AlluviumException e) {
            throw Failure.io("the savepoint", e);
        }
    }

    @Override
    public KeyGroupRange getKeyGroupRange() {
        return range;
    }

    @Override
    public TypeSerializer<K> getKeySerializer() {
        return keySerializer;
    }

    @Override
    public StreamCompressionDecorator getStreamCompressionDecorator() {
        return compression;
    }

    @Override
    public void release() {
        cut.release();
    }
}
