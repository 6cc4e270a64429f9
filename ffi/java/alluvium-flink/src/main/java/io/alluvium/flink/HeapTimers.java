package io.alluvium.flink;

import io.alluvium.Key;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.runtime.state.HeapPriorityQueuesManager;
import org.apache.flink.runtime.state.KeyExtractorFunction;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.Keyed;
import org.apache.flink.runtime.state.PriorityComparable;
import org.apache.flink.runtime.state.RegisteredPriorityQueueStateBackendMetaInfo;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueElement;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueSet;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueSetFactory;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueSnapshotRestoreWrapper;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot;

/** Timers on Java's heap, with those that were restored. */
final class HeapTimers {
    private static final int QUEUE_SIZE = 128;

    private final KeyGroupRange range;
    private final int keyGroups;
    private final HeapPriorityQueueSetFactory factory;
    private final Map<String, HeapPriorityQueueSnapshotRestoreWrapper<?>> queues = new LinkedHashMap<>();

    HeapTimers(KeyGroupRange range, int keyGroups) {
        this.range = range;
        this.keyGroups = keyGroups;
        factory = new HeapPriorityQueueSetFactory(range, keyGroups, QUEUE_SIZE);
    }

    /** What makes queues, and finds them that are here already. */
    HeapPriorityQueuesManager manager() {
        return new HeapPriorityQueuesManager(queues, factory, range, keyGroups);
    }

    /** All queues. */
    Map<String, HeapPriorityQueueSnapshotRestoreWrapper<?>> queues() {
        return queues;
    }

    /** A queue that a snapshot has, to be filled. */
    @SuppressWarnings("unchecked")
    HeapPriorityQueueSnapshotRestoreWrapper<HeapPriorityQueueElement> restored(StateMetaInfoSnapshot snapshot) {
        return restored(new RegisteredPriorityQueueStateBackendMetaInfo<>(snapshot));
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    private HeapPriorityQueueSnapshotRestoreWrapper<HeapPriorityQueueElement> restored(
            RegisteredPriorityQueueStateBackendMetaInfo metaInfo) {
        return (HeapPriorityQueueSnapshotRestoreWrapper<HeapPriorityQueueElement>)
                queues.computeIfAbsent(metaInfo.getName(), name -> make(metaInfo));
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    private <T extends HeapPriorityQueueElement & PriorityComparable<? super T> & Keyed<?>>
            HeapPriorityQueueSnapshotRestoreWrapper<T> make(RegisteredPriorityQueueStateBackendMetaInfo metaInfo) {
        HeapPriorityQueueSet<T> queue = factory.create(metaInfo.getName(), metaInfo.getElementSerializer());
        return new HeapPriorityQueueSnapshotRestoreWrapper<>(
                queue, metaInfo, KeyExtractorFunction.forKeyedObjects(), range, keyGroups);
    }

    /** Takes the timers out of a store whose task kept them there. */
    void takeFrom(Restored restored) throws IOException {
        List<RegisteredState> inStore = new ArrayList<>();
        for (RegisteredState registered : restored.states.values()) {
            if (!registered.isKeyed()) {
                inStore.add(registered);
            }
        }
        DataInputDeserializer in = new DataInputDeserializer();
        for (RegisteredState registered : inStore) {
            HeapPriorityQueueSnapshotRestoreWrapper<HeapPriorityQueueElement> queue =
                    restored((RegisteredPriorityQueueStateBackendMetaInfo<?>) registered.metaInfo);
            TypeSerializer<HeapPriorityQueueElement> serializer = queue.getMetaInfo().getElementSerializer();
            for (int group = range.getStartKeyGroup(); group <= range.getEndKeyGroup(); group++) {
                Key container = CurrentKey.key(Bytes.NONE, Bytes.NONE, group);
                EntryPages pages = new EntryPages(restored.store.writer, registered.state, () -> container);
                while (pages.hasNext()) {
                    in.setBuffer(pages.next().userKey);
                    queue.getPriorityQueue().add(serializer.deserialize(in));
                }
                restored.store.writer.mapClear(registered.state, container);
            }
            restored.states.remove(registered.metaInfo.getName());
        }
    }
}
