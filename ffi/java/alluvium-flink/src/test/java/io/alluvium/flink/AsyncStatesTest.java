package io.alluvium.flink;

import io.alluvium.Engine;
import java.lang.management.BufferPoolMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.state.StateTtlConfig;
import org.apache.flink.api.common.state.v2.AggregatingStateDescriptor;
import org.apache.flink.api.common.state.v2.ListState;
import org.apache.flink.api.common.state.v2.ListStateDescriptor;
import org.apache.flink.api.common.state.v2.MapState;
import org.apache.flink.api.common.state.v2.MapStateDescriptor;
import org.apache.flink.api.common.state.v2.ReducingState;
import org.apache.flink.api.common.state.v2.ReducingStateDescriptor;
import org.apache.flink.api.common.state.v2.State;
import org.apache.flink.api.common.state.v2.StateDescriptor;
import org.apache.flink.api.common.state.v2.ValueState;
import org.apache.flink.api.common.state.v2.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.base.IntSerializer;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.core.asyncprocessing.InternalAsyncFuture;
import org.apache.flink.runtime.asyncprocessing.AsyncRequestContainer;
import org.apache.flink.runtime.asyncprocessing.EpochManager;
import org.apache.flink.runtime.asyncprocessing.RecordContext;
import org.apache.flink.runtime.asyncprocessing.StateExecutionController;
import org.apache.flink.runtime.asyncprocessing.StateExecutor;
import org.apache.flink.runtime.asyncprocessing.StateRequest;
import org.apache.flink.runtime.asyncprocessing.StateRequestType;
import org.apache.flink.runtime.asyncprocessing.declare.DeclarationManager;
import org.apache.flink.runtime.checkpoint.CheckpointType;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.v2.internal.InternalAggregatingState;
import org.apache.flink.runtime.state.v2.internal.InternalListState;
import org.apache.flink.runtime.state.v2.internal.InternalPartitionedState;
import org.apache.flink.streaming.runtime.tasks.StreamTaskActionExecutor;
import org.apache.flink.streaming.runtime.tasks.mailbox.MailboxExecutorImpl;
import org.apache.flink.streaming.runtime.tasks.mailbox.TaskMailboxImpl;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.mockito.ArgumentMatchers;
import org.mockito.Mockito;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

/** The asynchronous state API: all kinds of state, in memory and on disk, in Flink's own controller. */
@Timeout(120)
class AsyncStatesTest {
    private static final int BATCH = 50;

    @TempDir
    Path directory;

    private Tasks tasks;
    private MailboxExecutorImpl mailbox;
    private final AtomicReference<Throwable> failure = new AtomicReference<>();
    private AlluviumAsyncKeyedStateBackend<Integer> backend;
    private StateExecutor executor;
    private StateExecutionController<Integer> controller;

    private long before;

    @BeforeEach
    void begin() throws Exception {
        before = Engine.openObjects();
        tasks = new Tasks(directory, LocalRecoveryConfig.BACKUP_AND_RECOVERY_DISABLED);
        mailbox = new MailboxExecutorImpl(
                new TaskMailboxImpl(Thread.currentThread()), 0, StreamTaskActionExecutor.IMMEDIATE);
    }

    @AfterEach
    void end() throws Exception {
        close();
        tasks.close();
        assertThat(failure.get()).isNull();
        assertThat(Engine.openObjects()).isLessThanOrEqualTo(before);
    }

    private void open(AlluviumStateBackend options, KeyedStateHandle... handles) throws Exception {
        backend = (AlluviumAsyncKeyedStateBackend<Integer>)
                options.<Integer>createAsyncKeyedStateBackend(tasks.parameters(0, 15, handles));
        executor = backend.createStateExecutor();
        controller = new StateExecutionController<>(
                mailbox,
                (message, cause) -> failure.compareAndSet(null, cause),
                executor,
                new DeclarationManager(),
                EpochManager.ParallelMode.SERIAL_BETWEEN_EPOCH,
                Tasks.KEY_GROUPS,
                BATCH,
                1_000,
                6_000,
                backend,
                null);
        backend.setup(controller);
    }

    private void close() throws Exception {
        if (backend != null) {
            controller.close();
            backend.close();
            backend.dispose();
            backend = null;
        }
    }

    private AlluviumStateBackend options() {
        return new AlluviumStateBackend().setLocalDirectories(directory.resolve("stores").toString());
    }

    private <S extends State, V> S state(StateDescriptor<V> descriptor) throws Exception {
        return backend.getOrCreateKeyedState(VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, descriptor);
    }

    private ValueState<String> values() throws Exception {
        return state(new ValueStateDescriptor<>("values", StringSerializer.INSTANCE));
    }

    private interface Work {
        void run() throws Exception;
    }

    /** Does what a record of this key does, after those of the same key before it, as operators have it. */
    private void process(int key, Work work) {
        RecordContext<Integer> context = controller.buildContext(new Object(), key);
        context.retain();
        controller.setCurrentContext(context);
        controller.syncPointRequestWithCallback(work::run, false);
        context.release();
    }

    /** Until all records are done with, or one has failed, which is done with never. */
    private void drain() throws Exception {
        while (controller.getInFlightRecordNum() > 0 && failure.get() == null) {
            if (!mailbox.tryYield() && !controller.triggerIfNeeded(true)) {
                Thread.sleep(1);
            }
        }
        if (failure.get() != null) {
            throw new AssertionError(failure.getAndSet(null));
        }
    }

    /** So many that some are on disk alone: the slot has the least memory that there is. */
    @Test
    void whatIsOnDiskIsReadWhileTheTaskGoesOn() throws Exception {
        int keys = 20_000;
        String filler = "x".repeat(1_000);
        open(options().setFixedMemoryPerSlot(MemorySize.ofMebiBytes(4)));
        ValueState<String> values = values();
        for (int key = 0; key < keys; key++) {
            String value = filler + key;
            process(key, () -> values.asyncUpdate(value));
        }
        drain();
        AtomicInteger right = new AtomicInteger();
        for (int round = 0; round < 2; round++) {
            for (int key = 0; key < keys; key++) {
                String value = filler + key;
                process(key, () -> values.asyncValue().thenAccept(found -> {
                    if (value.equals(found)) {
                        right.incrementAndGet();
                    }
                }));
            }
        }
        drain();
        assertThat(right).hasValue(2 * keys);
        assertThat(backend.inner().openStore().store.metrics()).doesNotContain("alluvium_cold_lookups_total 0\n");
    }

    @Test
    void requestsOfOneBatchAreDoneInOrder() throws Exception {
        open(options());
        ValueState<String> values = values();
        MapState<Integer, String> maps =
                state(new MapStateDescriptor<>("maps", IntSerializer.INSTANCE, StringSerializer.INSTANCE));
        List<Object> seen = new ArrayList<>();
        process(1, () -> {
            values.asyncUpdate("one");
            values.asyncValue().thenAccept(seen::add);
            values.asyncUpdate("two");
            values.asyncValue().thenAccept(seen::add);
            values.asyncClear();
            values.asyncValue().thenAccept(seen::add);
            maps.asyncPut(1, "a");
            maps.asyncIsEmpty().thenAccept(seen::add);
            maps.asyncRemove(1);
            maps.asyncIsEmpty().thenAccept(seen::add);
        });
        drain();
        assertThat(seen).containsExactly("one", "two", null, false, true);
    }

    @Test
    void mapsAreGoneThroughInPages() throws Exception {
        open(options());
        MapState<Integer, String> maps =
                state(new MapStateDescriptor<>("maps", IntSerializer.INSTANCE, StringSerializer.INSTANCE));
        Map<Integer, String> expected = new HashMap<>();
        for (int entry = 0; entry < 3_000; entry++) {
            expected.put(entry, "value " + entry);
        }
        process(1, () -> maps.asyncPutAll(expected));
        Map<Integer, String> entries = new HashMap<>();
        List<Integer> keys = new ArrayList<>();
        List<String> values = new ArrayList<>();
        List<Object> points = new ArrayList<>();
        process(1, () -> maps.asyncEntries()
                .thenCompose(found -> found.onNext(entry -> {
                    entries.put(entry.getKey(), entry.getValue());
                })));
        process(1, () -> maps.asyncKeys().thenCompose(found -> found.onNext(key -> {
            keys.add(key);
        })));
        process(1, () -> maps.asyncValues().thenCompose(found -> found.onNext(value -> {
            values.add(value);
        })));
        process(1, () -> {
            maps.asyncGet(17).thenAccept(points::add);
            maps.asyncGet(-1).thenAccept(points::add);
            maps.asyncContains(17).thenAccept(points::add);
            maps.asyncContains(-1).thenAccept(points::add);
        });
        drain();
        assertThat(entries).isEqualTo(expected);
        assertThat(keys).containsExactlyInAnyOrderElementsOf(expected.keySet());
        assertThat(values).containsExactlyInAnyOrderElementsOf(expected.values());
        assertThat(points).containsExactly("value 17", null, true, false);
        // The same without waiting.
        process(1, () -> {
            Map<Integer, String> again = new HashMap<>();
            maps.entries().forEach(entry -> again.put(entry.getKey(), entry.getValue()));
            assertThat(again).isEqualTo(expected);
            assertThat(maps.get(5)).isEqualTo("value 5");
            assertThat(maps.isEmpty()).isFalse();
            maps.clear();
            assertThat(maps.isEmpty()).isTrue();
        });
        drain();
    }

    /** Says which elements came of it; an empty string where nothing did. */
    private static Work read(ListState<Integer> lists, List<String> into) {
        return () -> lists.asyncGet().thenAccept(found -> {
            StringBuilder all = new StringBuilder();
            if (found != null) {
                found.onNext(element -> {
                    all.append(element).append(' ');
                });
            }
            into.add(all.toString());
        });
    }

    @Test
    void listsAndTheirNamespaces() throws Exception {
        open(options());
        InternalListState<Integer, Integer, Integer> lists = backend.getOrCreateKeyedState(
                0, IntSerializer.INSTANCE, new ListStateDescriptor<>("lists", IntSerializer.INSTANCE));
        List<String> seen = new ArrayList<>();
        process(1, () -> {
            lists.setCurrentNamespace(1);
            lists.asyncAdd(10);
            lists.asyncAddAll(List.of(11, 12));
            read(lists, seen).run();
            lists.setCurrentNamespace(2);
            lists.asyncUpdate(List.of(20, 21));
            lists.asyncUpdate(List.of(22));
            read(lists, seen).run();
            lists.asyncMergeNamespaces(3, List.of(1, 2));
            lists.setCurrentNamespace(1);
            read(lists, seen).run();
            lists.setCurrentNamespace(3);
            read(lists, seen).run();
        });
        drain();
        assertThat(seen).containsExactly("10 11 12 ", "22 ", "", "10 11 12 22 ");
        process(2, () -> {
            lists.setCurrentNamespace(5);
            lists.add(1);
            lists.addAll(List.of(2));
            lists.mergeNamespaces(6, List.of(5));
            lists.setCurrentNamespace(6);
            assertThat(((ListState<Integer>) lists).get()).containsExactly(1, 2);
        });
        drain();
    }

    /** Sums up, and tells the sum as text. */
    private static final class Sum implements AggregateFunction<Integer, Integer, String> {
        private static final long serialVersionUID = 1;

        @Override
        public Integer createAccumulator() {
            return 0;
        }

        @Override
        public Integer add(Integer value, Integer accumulator) {
            return value + accumulator;
        }

        @Override
        public String getResult(Integer accumulator) {
            return "sum " + accumulator;
        }

        @Override
        public Integer merge(Integer one, Integer other) {
            return one + other;
        }
    }

    @Test
    void reducingAndAggregating() throws Exception {
        open(options());
        ReducingState<Integer> reducing =
                state(new ReducingStateDescriptor<>("reducing", Integer::sum, IntSerializer.INSTANCE));
        InternalAggregatingState<Integer, Integer, Integer, Integer, String> aggregating = backend.getOrCreateKeyedState(
                0,
                IntSerializer.INSTANCE,
                new AggregatingStateDescriptor<>("aggregating", new Sum(), IntSerializer.INSTANCE));
        List<Object> seen = new ArrayList<>();
        for (int number = 1; number <= 10; number++) {
            int added = number;
            process(1, () -> {
                reducing.asyncAdd(added);
                at(aggregating, added % 2);
                aggregating.asyncAdd(added);
            });
        }
        process(1, () -> {
            reducing.asyncGet().thenAccept(seen::add);
            aggregating.asyncMergeNamespaces(7, List.of(0, 1)).thenAccept(done -> {
                at(aggregating, 7);
                aggregating.asyncGet().thenAccept(seen::add);
            });
        });
        drain();
        assertThat(seen).containsExactlyInAnyOrder(55, "sum 55");
    }

    private static <N> void at(InternalPartitionedState<N> state, N namespace) {
        state.setCurrentNamespace(namespace);
    }

    @Test
    void whatIsExpiredIsNotFound() throws Exception {
        AtomicInteger now = new AtomicInteger(1_000);
        tasks.clock = now::get;
        open(options());
        StateTtlConfig ttl = StateTtlConfig.newBuilder(Duration.ofMillis(500)).build();
        ValueStateDescriptor<String> ofValues = new ValueStateDescriptor<>("values", StringSerializer.INSTANCE);
        ofValues.enableTimeToLive(ttl);
        ListStateDescriptor<Integer> ofLists = new ListStateDescriptor<>("lists", IntSerializer.INSTANCE);
        ofLists.enableTimeToLive(ttl);
        ValueState<String> values = state(ofValues);
        ListState<Integer> lists = state(ofLists);
        List<Object> seen = new ArrayList<>();
        List<String> listed = new ArrayList<>();
        process(1, () -> {
            values.asyncUpdate("v");
            lists.asyncAdd(1);
        });
        drain();
        now.set(1_400);
        process(1, () -> {
            lists.asyncAdd(2);
            values.asyncValue().thenAccept(seen::add);
            read(lists, listed).run();
        });
        drain();
        now.set(1_600);
        process(1, () -> {
            values.asyncValue().thenAccept(seen::add);
            read(lists, listed).run();
        });
        process(2, read(lists, listed));
        drain();
        assertThat(seen).containsExactly("v", null);
        assertThat(listed).containsExactly("1 2 ", "2 ", "");
    }

    @Test
    void bothApisReadTheSameCheckpoints() throws Exception {
        open(options());
        ValueState<String> values = values();
        for (int key = 0; key < 100; key++) {
            String value = "v" + key;
            process(key, () -> values.asyncUpdate(value));
        }
        drain();
        KeyedStateHandle handle =
                tasks.snapshot(backend, 1, CheckpointType.CHECKPOINT).getJobManagerOwnedSnapshot();
        close();
        AbstractKeyedStateBackend<Integer> synchronous = tasks.open(options(), 0, 15, handle);
        org.apache.flink.api.common.state.ValueState<String> same = synchronous.getPartitionedState(
                VoidNamespace.INSTANCE,
                VoidNamespaceSerializer.INSTANCE,
                new org.apache.flink.api.common.state.ValueStateDescriptor<>("values", StringSerializer.INSTANCE));
        for (int key = 0; key < 100; key++) {
            synchronous.setCurrentKey(key);
            assertThat(same.value()).isEqualTo("v" + key);
            same.update("w" + key);
        }
        KeyedStateHandle next =
                tasks.snapshot(synchronous, 2, CheckpointType.FULL_CHECKPOINT).getJobManagerOwnedSnapshot();
        tasks.close(synchronous);
        open(options(), next);
        List<String> seen = new ArrayList<>();
        ValueState<String> again = values();
        process(42, () -> again.asyncValue().thenAccept(seen::add));
        drain();
        assertThat(seen).containsExactly("w42");
    }

    @Test
    void closedWhileReadsAreUnderWay() throws Exception {
        int keys = 5_000;
        String filler = "x".repeat(1_000);
        open(options().setFixedMemoryPerSlot(MemorySize.ofMebiBytes(4)));
        ValueState<String> values = values();
        for (int key = 0; key < keys; key++) {
            process(key, () -> values.asyncUpdate(filler));
        }
        drain();
        for (int key = 0; key < keys; key++) {
            process(key, () -> values.asyncValue());
        }
        while (mailbox.tryYield()) {
            // Has them asked for. Nobody waits for the answers.
        }
        close();
    }

    /** What Java's direct buffers have, in bytes. */
    private static long direct() {
        return ManagementFactory.getPlatformMXBeans(BufferPoolMXBean.class).stream()
                .filter(pool -> pool.getName().equals("direct"))
                .mapToLong(BufferPoolMXBean::getMemoryUsed)
                .sum();
    }

    /** They went through one buffer, as large as all of them, which stayed. */
    @Test
    void largeValuesThatAreWrittenAndReadTogetherLeaveNoMemoryBehind() throws Exception {
        open(options());
        ValueState<String> values = values();
        long kept = direct() + (8 << 20);
        String filler = "x".repeat(1 << 20);
        for (int key = 0; key < BATCH; key++) {
            String value = filler + key;
            process(key, () -> values.asyncUpdate(value));
        }
        drain();
        AtomicInteger right = new AtomicInteger();
        for (int key = 0; key < BATCH; key++) {
            String value = filler + key;
            process(key, () -> values.asyncValue().thenAccept(found -> {
                if (value.equals(found)) {
                    right.incrementAndGet();
                }
            }));
        }
        drain();
        assertThat(right).hasValue(BATCH);
        // Buffers go when they are collected.
        for (int tries = 0; direct() > kept && tries < 100; tries++) {
            System.gc();
            Thread.sleep(10);
        }
        assertThat(direct()).isLessThanOrEqualTo(kept);
    }

    /** Its ticket stayed open, and with it the store and the slot's engine: nothing may be open after the test. */
    @Test
    @SuppressWarnings("unchecked")
    void aBatchWhoseAnswersFindNoMemoryIsGivenUp() throws Exception {
        open(options());
        ValueState<String> values = values();
        process(1, () -> values.asyncUpdate("v"));
        drain();
        RecordContext<Integer> context = controller.buildContext(new Object(), 1);
        AsyncRequestContainer<StateRequest<?, ?, ?, ?>> requests = executor.createRequestContainer();
        List<InternalAsyncFuture<Object>> futures = new ArrayList<>();
        for (int read = 0; read < 2; read++) {
            InternalAsyncFuture<Object> future = Mockito.mock(InternalAsyncFuture.class);
            Mockito.doThrow(new OutOfMemoryError("as if")).when(future).complete(ArgumentMatchers.any());
            futures.add(future);
            requests.offer(new StateRequest<>(values, StateRequestType.VALUE_GET, false, null, future, context));
        }
        assertThatThrownBy(() -> executor.executeBatchRequests(requests)).isInstanceOf(OutOfMemoryError.class);
        Mockito.verify(futures.get(0)).complete("v");
        Mockito.verify(futures.get(1))
                .completeExceptionally(ArgumentMatchers.anyString(), ArgumentMatchers.any(OutOfMemoryError.class));
    }

    /** Flink hears of it, whose task fails. */
    @Test
    void failuresAreTold() throws Exception {
        open(options());
        TypeSerializer<String> strings = StringSerializer.INSTANCE;
        ListState<String> lists = state(new ListStateDescriptor<>("lists", strings));
        process(1, () -> lists.asyncAdd(null));
        while (mailbox.tryYield() || controller.triggerIfNeeded(true)) {
            // Until there is nothing to do.
        }
        // The record stays under way, as the task is about to fail.
        assertThat(failure.getAndSet(null)).isInstanceOf(NullPointerException.class);
    }
}
