package io.alluvium.flink;

import java.io.DataInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.IntSerializer;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.runtime.checkpoint.OperatorState;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;
import org.apache.flink.runtime.jobgraph.OperatorID;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.runtime.state.KeyGroupedInternalPriorityQueue;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.LocalRecoveryConfig;
import org.apache.flink.runtime.state.OperatorStateHandle;
import org.apache.flink.runtime.state.OperatorStreamStateHandle;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.filesystem.FileStateHandle;
import org.apache.flink.runtime.state.memory.ByteStreamStateHandle;
import org.apache.flink.streaming.api.operators.TimerHeapInternalTimer;
import org.apache.flink.streaming.api.operators.TimerSerializer;
import org.apache.flink.util.FileUtils;

/**
 * A keyed operator in several subtasks, what each key should hold, and checkpoints as a job leaves them: with a source, and with another keyed
 * operator.
 */
final class RepairFixture implements AutoCloseable {
    static final int KEYS = 200;
    static final OperatorID SOURCE = new OperatorID(1, 1);
    static final OperatorID COUNTS = new OperatorID(2, 2);
    static final OperatorID OTHER = new OperatorID(3, 3);
    static final String WINDOW = "a window";

    /** What a key holds. */
    static final class Content {
        String value;
        final List<Integer> list = new ArrayList<>();
        final TreeMap<String, String> map = new TreeMap<>();
        final TreeSet<Long> timers = new TreeSet<>();

        Content copy() {
            Content copy = new Content();
            copy.value = value;
            copy.list.addAll(list);
            copy.map.putAll(map);
            copy.timers.addAll(timers);
            return copy;
        }

        @Override
        public String toString() {
            return value + " " + list + " " + map + " " + timers;
        }
    }

    final Path directory;
    final Tasks tasks;
    /** What the keys hold now. */
    final Map<Integer, Content> model = new TreeMap<>();

    private final Path storage;
    private final List<AbstractKeyedStateBackend<Integer>> subtasks = new ArrayList<>();
    private final Map<AbstractKeyedStateBackend<Integer>, KeyGroupedInternalPriorityQueue<TimerHeapInternalTimer<Integer, VoidNamespace>>>
            queues = new HashMap<>();
    private final AbstractKeyedStateBackend<Integer> other;

    RepairFixture(Path directory) throws Exception {
        this.directory = directory;
        storage = Files.createDirectories(directory.resolve("job"));
        tasks = new Tasks(storage, LocalRecoveryConfig.BACKUP_AND_RECOVERY_DISABLED);
        other = tasks.open(backend(), 0, Tasks.KEY_GROUPS - 1);
        for (int key = 0; key < KEYS; key++) {
            model.put(key, new Content());
        }
    }

    AlluviumStateBackend backend() {
        return new AlluviumStateBackend().setLocalDirectories(directory.resolve("stores").toString());
    }

    static int group(int key) {
        return KeyGroupRangeAssignment.assignToKeyGroup(key, Tasks.KEY_GROUPS);
    }

    /** Has the operator run in so many subtasks from now on. */
    void run(int parallelism, List<KeyedStateHandle> from) throws Exception {
        stop();
        subtasks.addAll(open(parallelism, from));
    }

    private List<AbstractKeyedStateBackend<Integer>> open(int parallelism, List<KeyedStateHandle> from) throws Exception {
        List<AbstractKeyedStateBackend<Integer>> opened = new ArrayList<>();
        for (int index = 0; index < parallelism; index++) {
            KeyGroupRange range =
                    KeyGroupRangeAssignment.computeKeyGroupRangeForOperatorIndex(Tasks.KEY_GROUPS, parallelism, index);
            KeyedStateHandle[] theirs = from.stream()
                    .filter(handle -> !handle.getKeyGroupRange().getIntersection(range).equals(KeyGroupRange.EMPTY_KEY_GROUP_RANGE))
                    .toArray(KeyedStateHandle[]::new);
            opened.add(tasks.open(backend(), range.getStartKeyGroup(), range.getEndKeyGroup(), theirs));
        }
        return opened;
    }

    private void stop() throws Exception {
        for (AbstractKeyedStateBackend<Integer> subtask : subtasks) {
            tasks.close(subtask);
        }
        subtasks.clear();
    }

    private AbstractKeyedStateBackend<Integer> at(int key, List<AbstractKeyedStateBackend<Integer>> of) {
        for (AbstractKeyedStateBackend<Integer> subtask : of) {
            if (subtask.getKeyGroupRange().contains(group(key))) {
                subtask.setCurrentKey(key);
                return subtask;
            }
        }
        throw new AssertionError("no subtask has the key " + key);
    }

    static ValueState<String> values(AbstractKeyedStateBackend<Integer> backend) throws Exception {
        return backend.getPartitionedState(
                VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, new ValueStateDescriptor<>("values", StringSerializer.INSTANCE));
    }

    private static ListState<Integer> lists(AbstractKeyedStateBackend<Integer> backend) throws Exception {
        return backend.getPartitionedState(
                VoidNamespace.INSTANCE, VoidNamespaceSerializer.INSTANCE, new ListStateDescriptor<>("lists", IntSerializer.INSTANCE));
    }

    private static MapState<String, String> maps(AbstractKeyedStateBackend<Integer> backend) throws Exception {
        return backend.getPartitionedState(
                WINDOW,
                StringSerializer.INSTANCE,
                new MapStateDescriptor<>("maps", StringSerializer.INSTANCE, StringSerializer.INSTANCE));
    }

    private KeyGroupedInternalPriorityQueue<TimerHeapInternalTimer<Integer, VoidNamespace>> timers(
            AbstractKeyedStateBackend<Integer> backend) {
        return queues.computeIfAbsent(
                backend,
                made -> made.create("timers", new TimerSerializer<>(IntSerializer.INSTANCE, VoidNamespaceSerializer.INSTANCE)));
    }

    /** Something happens to a key. */
    void touch(int key, int event) throws Exception {
        AbstractKeyedStateBackend<Integer> task = at(key, subtasks);
        Content content = model.get(key);
        content.value = "v" + event;
        values(task).update(content.value);
        content.list.add(event);
        lists(task).add(event);
        content.map.put("k" + event % 5, "m" + event);
        maps(task).put("k" + event % 5, "m" + event);
        content.timers.add(1_000L + event);
        timers(task).add(new TimerHeapInternalTimer<>(1_000L + event, key, VoidNamespace.INSTANCE));
    }

    /** All that a key holds goes. */
    void forget(int key) throws Exception {
        AbstractKeyedStateBackend<Integer> task = at(key, subtasks);
        for (long time : model.get(key).timers) {
            timers(task).remove(new TimerHeapInternalTimer<>(time, key, VoidNamespace.INSTANCE));
        }
        values(task).clear();
        lists(task).clear();
        maps(task).clear();
        model.put(key, new Content());
    }

    Map<Integer, Content> copyOfModel() {
        Map<Integer, Content> copy = new TreeMap<>();
        model.forEach((key, content) -> copy.put(key, content.copy()));
        return copy;
    }

    private Content read(List<AbstractKeyedStateBackend<Integer>> from, int key) throws Exception {
        AbstractKeyedStateBackend<Integer> task = at(key, from);
        Content content = new Content();
        content.value = values(task).value();
        Iterable<Integer> list = lists(task).get();
        if (list != null) {
            list.forEach(content.list::add);
        }
        for (Map.Entry<String, String> entry : maps(task).entries()) {
            content.map.put(entry.getKey(), entry.getValue());
        }
        for (TimerHeapInternalTimer<Integer, VoidNamespace> timer : timers(task).getSubsetForKeyGroup(group(key))) {
            if (timer.getKey() == key) {
                content.timers.add(timer.getTimestamp());
            }
        }
        return content;
    }

    /** What all keys hold in tasks that are restored from these handles. */
    Map<Integer, String> restored(int parallelism, List<KeyedStateHandle> handles) throws Exception {
        List<AbstractKeyedStateBackend<Integer>> opened = open(parallelism, handles);
        Map<Integer, String> contents = new TreeMap<>();
        for (int key = 0; key < KEYS; key++) {
            contents.put(key, read(opened, key).toString());
        }
        for (AbstractKeyedStateBackend<Integer> each : opened) {
            tasks.close(each);
        }
        return contents;
    }

    /** Takes a checkpoint, as a job does that is then gone: its directory. */
    String checkpoint(long id) throws Exception {
        OperatorState counts = new OperatorState("counts", "counts-uid", COUNTS, subtasks.size(), Tasks.KEY_GROUPS);
        for (int index = 0; index < subtasks.size(); index++) {
            counts.putState(index, keyed(tasks.checkpoint(subtasks.get(index), id)));
        }
        for (int key = 0; key < KEYS; key++) {
            other.setCurrentKey(key);
            values(other).update("other " + id);
        }
        OperatorState beside = new OperatorState("other", null, OTHER, 1, Tasks.KEY_GROUPS);
        beside.putState(0, keyed(tasks.checkpoint(other, id)));
        return write(id, List.of(source(id), counts, beside));
    }

    /** A subtask whose keyed state this is; null: it has none. */
    static OperatorSubtaskState keyed(KeyedStateHandle handle) {
        OperatorSubtaskState.Builder builder = OperatorSubtaskState.builder();
        if (handle instanceof IncrementalRemoteKeyedStateHandle) {
            return builder.setManagedKeyedState(absolute((IncrementalRemoteKeyedStateHandle) handle)).build();
        }
        return handle == null ? builder.build() : builder.setManagedKeyedState(handle).build();
    }

    /** All checkpoints of a test's tasks put their own files into one directory, which isn't where their metadata are. */
    private static KeyedStateHandle absolute(IncrementalRemoteKeyedStateHandle handle) {
        StreamStateHandle meta = handle.getMetaDataStateHandle();
        return new IncrementalRemoteKeyedStateHandle(
                handle.getBackendIdentifier(),
                handle.getKeyGroupRange(),
                handle.getCheckpointId(),
                handle.getSharedState(),
                handle.getPrivateState(),
                meta.maybeGetPath()
                        .<StreamStateHandle>map(path -> new FileStateHandle(path, meta.getStateSize()))
                        .orElse(meta),
                handle.getCheckpointedSize());
    }

    /** A source that keeps its position in a file. */
    private OperatorState source(long id) throws IOException {
        Path file = storage.resolve("offsets-" + id);
        Files.writeString(file, "position " + id);
        OperatorState source = new OperatorState("numbers", "numbers-uid", SOURCE, 1, Tasks.KEY_GROUPS);
        source.setCoordinatorState(new ByteStreamStateHandle("coordinator", new byte[] {(byte) id}));
        OperatorStateHandle handle = new OperatorStreamStateHandle(
                Map.of("offsets", new OperatorStateHandle.StateMetaInfo(new long[] {0}, OperatorStateHandle.Mode.SPLIT_DISTRIBUTE)),
                new FileStateHandle(new org.apache.flink.core.fs.Path(file.toUri()), Files.size(file)));
        source.putState(0, OperatorSubtaskState.builder().setManagedOperatorState(handle).build());
        return source;
    }

    /** Writes the metadata of a checkpoint: its directory. */
    String write(long id, List<OperatorState> operators) throws IOException {
        Path chk = Files.createDirectories(storage.resolve("chk-" + id));
        try (OutputStream out = Files.newOutputStream(chk.resolve("_metadata"))) {
            org.apache.flink.runtime.checkpoint.Checkpoints.storeCheckpointMetadata(
                    new CheckpointMetadata(id, operators, List.of(), null), out);
        }
        return chk.toUri().toString();
    }

    /** Deletes all that the job left. */
    void deleteOriginals() throws Exception {
        stop();
        FileUtils.deleteDirectory(storage.toFile());
    }

    static CheckpointMetadata load(String pointer) throws IOException {
        Path file = Path.of(URI.create(pointer)).resolve("_metadata");
        try (InputStream in = Files.newInputStream(file)) {
            return org.apache.flink.runtime.checkpoint.Checkpoints.loadCheckpointMetadata(
                    new DataInputStream(in), RepairFixture.class.getClassLoader(), pointer);
        }
    }

    static OperatorState operator(CheckpointMetadata metadata, OperatorID id) {
        return metadata.getOperatorStates().stream()
                .filter(operator -> operator.getOperatorID().equals(id))
                .findAny()
                .orElseThrow();
    }

    static List<KeyedStateHandle> handles(CheckpointMetadata metadata, OperatorID id) {
        List<KeyedStateHandle> handles = new ArrayList<>();
        operator(metadata, id).getStates().forEach(subtask -> handles.addAll(subtask.getManagedKeyedState()));
        return handles;
    }

    /** Where the source of a checkpoint stands. */
    static String position(CheckpointMetadata metadata) throws IOException {
        OperatorStateHandle handle =
                operator(metadata, SOURCE).getState(0).getManagedOperatorState().iterator().next();
        try (InputStream in = handle.openInputStream()) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        }
    }

    /** What the other operator's keys hold. */
    List<String> others(CheckpointMetadata metadata) throws Exception {
        AbstractKeyedStateBackend<Integer> opened = open(1, handles(metadata, OTHER)).get(0);
        List<String> values = new ArrayList<>();
        for (int key = 0; key < KEYS; key++) {
            opened.setCurrentKey(key);
            values.add(values(opened).value());
        }
        tasks.close(opened);
        return values;
    }

    /** A new checkpoint's directory, which isn't there yet. */
    String output(String name) {
        String uri = directory.resolve(name).toUri().toString();
        return uri.endsWith("/") ? uri.substring(0, uri.length() - 1) : uri;
    }

    boolean exists(String output) {
        return Files.exists(Path.of(URI.create(output)));
    }

    @Override
    public void close() throws Exception {
        tasks.close();
        Path stores = directory.resolve("stores");
        if (Files.exists(stores)) {
            try (Stream<Path> left = Files.list(stores)) {
                if (left.findAny().isPresent()) {
                    throw new AssertionError("stores are left in " + stores);
                }
            }
        }
    }
}
