package io.alluvium.flink;

import io.alluvium.StateOptions;
import io.alluvium.Store;
import io.alluvium.StoreOptions;
import java.nio.file.Path;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.runtime.memory.OpaqueMemoryResource;
import org.apache.flink.runtime.state.InternalPriorityQueue;
import org.apache.flink.runtime.state.InternalPriorityQueueTestBase;
import org.apache.flink.runtime.state.heap.KeyGroupPartitionedPriorityQueue;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Flink's suite for priority queues, on timers that are in a store. */
@ExtendWith(Skips.class)
class TimerQueueTest extends InternalPriorityQueueTestBase {
    @TempDir
    Path directory;

    private OpenStore store;
    private int queues;

    @BeforeEach
    void open() {
        SlotEngine engine = new SlotEngine(8 << 20, 1);
        Path path = directory.resolve("store");
        StoreOptions options = new StoreOptions()
                .keyGroups(KEY_GROUP_RANGE.getNumberOfKeyGroups())
                .range(io.alluvium.KeyGroupRange.of(KEY_GROUP_RANGE.getStartKeyGroup(), KEY_GROUP_RANGE.getEndKeyGroup()));
        store = new OpenStore(
                Store.create(engine.engine(), path, options),
                path,
                path,
                new OpaqueMemoryResource<>(engine, 8 << 20, engine::close));
    }

    @AfterEach
    void close() {
        store.close();
    }

    @Override
    protected InternalPriorityQueue<TestElement> newPriorityQueue(int initialCapacity) {
        io.alluvium.State state = store.store.state(StateOptions.map("queue " + queues++));
        DataOutputSerializer out = new DataOutputSerializer(128);
        DataInputDeserializer in = new DataInputDeserializer();
        return new KeyGroupPartitionedPriorityQueue<TestElement, TimerQueue<TestElement>>(
                KEY_EXTRACTOR_FUNCTION,
                TEST_ELEMENT_PRIORITY_COMPARATOR,
                (group, total, keys, priorities) ->
                        new TimerQueue<>(store.writer, state, group, TestElementSerializer.INSTANCE, out, in),
                KEY_GROUP_RANGE,
                KEY_GROUP_RANGE.getNumberOfKeyGroups());
    }

    @Override
    protected boolean testSetSemanticsAgainstDuplicateElements() {
        return true;
    }
}
