package io.alluvium.flink;

import java.io.InputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeutils.base.IntSerializer;
import org.apache.flink.runtime.checkpoint.CheckpointType;
import org.apache.flink.runtime.checkpoint.OperatorState;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.checkpoint.StateObjectCollection;
import org.apache.flink.runtime.checkpoint.channel.InputChannelInfo;
import org.apache.flink.runtime.jobgraph.OperatorID;
import org.apache.flink.runtime.state.AbstractKeyedStateBackend;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.InputChannelStateHandle;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.runtime.state.changelog.ChangelogStateBackendHandle.ChangelogStateBackendHandleImpl;
import org.apache.flink.runtime.state.hashmap.HashMapStateBackend;
import org.apache.flink.runtime.state.memory.ByteStreamStateHandle;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

/** What a repair refuses, each with its reason, before anything is written. */
class RepairRefusalsTest {
    @TempDir
    Path directory;

    private RepairFixture job;
    private String chk1;
    private String chk2;

    @BeforeEach
    void begin() throws Exception {
        job = new RepairFixture(directory);
        job.run(2, List.of());
        for (int key = 0; key < RepairFixture.KEYS; key++) {
            job.touch(key, 1);
        }
        chk1 = job.checkpoint(1);
        for (int key = 0; key < RepairFixture.KEYS; key++) {
            job.touch(key, 2);
        }
        chk2 = job.checkpoint(2);
    }

    @AfterEach
    void end() throws Exception {
        job.close();
    }

    private static OperatorRepair counts() {
        return OperatorRepair.of("counts-uid");
    }

    private void refused(CheckpointRepair repair, String... why) {
        assertThatThrownBy(repair::plan).isInstanceOf(RepairRefusedException.class).message().contains(why);
        assertThatThrownBy(repair::run).isInstanceOf(RepairRefusedException.class).message().contains(why);
        assertThat(job.exists(job.output("repaired"))).isFalse();
    }

    private CheckpointRepair repair(String newer, String older, OperatorRepair repair) {
        return new CheckpointRepair(newer, job.output("repaired")).from(older).repair(repair);
    }

    /** A copy of a checkpoint with its keyed operator made by {@code how}. */
    private String with(String checkpoint, long id, OperatorState instead) throws Exception {
        List<OperatorState> operators = new ArrayList<>();
        for (OperatorState operator : RepairFixture.load(checkpoint).getOperatorStates()) {
            if (!operator.getOperatorID().equals(RepairFixture.COUNTS)) {
                operators.add(operator);
            } else if (instead != null) {
                operators.add(instead);
            }
        }
        return job.write(id, operators);
    }

    private static OperatorState counts(OperatorID id, int maxParallelism, OperatorSubtaskState... subtasks) {
        OperatorState operator = new OperatorState("counts", "counts-uid", id, subtasks.length, maxParallelism);
        for (int index = 0; index < subtasks.length; index++) {
            operator.putState(index, subtasks[index]);
        }
        return operator;
    }

    @Test
    void whatIsMissing() throws Exception {
        OperatorRepair groups = counts().keyGroups("3");
        refused(repair(chk2, chk1, OperatorRepair.of("nobody").keyGroups("3")), "no operator of checkpoint 2", "nobody", "uid counts-uid");
        refused(new CheckpointRepair(chk2, job.output("repaired")).repair(groups), "an older checkpoint is needed");
        refused(new CheckpointRepair(chk2, job.output("repaired")).from(chk1), "no operator is named");
        refused(repair(chk2, with(chk1, 11, null), groups), "'counts' (uid counts-uid", "isn't in checkpoint 11");
        refused(repair(chk2, chk1, OperatorRepair.of("numbers").keyGroups("3")), "has no keyed state");
        refused(repair(chk2, chk1, counts().keyGroups("3").state("nothing")), "no state nothing", "lists, maps, timers");
        refused(repair(chk2, chk1, counts()), "either key groups or keys");
        refused(repair(chk2, chk1, counts().keyGroups("3").key("7")), "either key groups or keys");
        refused(repair(chk2, chk1, counts().keyGroups("15-16")), "key groups 0-15, not 15-16");
        refused(repair(chk2, chk1, groups).repair(counts().keyGroups("4")), "named twice");
        refused(repair(chk2, chk1, counts().key("seven")), "no whole number", "seven");
        refused(repair(chk2, chk1, counts().keyBytes(new byte[5])), "more bytes than those of a key");
        refused(repair(chk2, chk1, counts().keyBytes(new byte[3])), "no key by", "IntSerializer");
    }

    @Test
    void anOutputThatIsThere() throws Exception {
        Path there = Files.createDirectory(Path.of(URI.create(job.output("there"))));
        CheckpointRepair repair = new CheckpointRepair(chk2, job.output("there")).from(chk1).repair(counts().keyGroups("3"));
        assertThatThrownBy(repair::plan).isInstanceOf(RepairRefusedException.class).hasMessageContaining("is there already");
        assertThatThrownBy(repair::run).isInstanceOf(RepairRefusedException.class).hasMessageContaining("is there already");
        assertThat(there).isEmptyDirectory();
    }

    @Test
    void anotherMaximumParallelism() throws Exception {
        KeyedStateHandle handle = RepairFixture.handles(RepairFixture.load(chk1), RepairFixture.COUNTS).get(0);
        String other = with(chk1, 11, counts(RepairFixture.COUNTS, 32, RepairFixture.keyed(handle)));
        refused(repair(chk2, other, counts().keyGroups("3")), "maximum parallelism 16 in checkpoint 2", "32 in checkpoint 11");
    }

    @Test
    void recordsInFlight() throws Exception {
        KeyedStateHandle handle = RepairFixture.handles(RepairFixture.load(chk2), RepairFixture.COUNTS).get(0);
        InputChannelStateHandle channel = new InputChannelStateHandle(
                new InputChannelInfo(0, 0), new ByteStreamStateHandle("in flight", new byte[] {1, 2, 3}), List.of(0L));
        OperatorSubtaskState subtask = RepairFixture.keyed(handle).toBuilder()
                .setInputChannelState(StateObjectCollection.singleton(channel))
                .build();
        String unaligned = with(chk2, 12, counts(RepairFixture.COUNTS, 16, subtask));
        refused(repair(unaligned, chk1, counts().keyGroups("3")), "checkpoint 12", "is unaligned and has records in flight", "counts-uid");
        refused(repair(chk2, unaligned, counts().keyGroups("3")), "checkpoint 12", "is unaligned and has records in flight");
        // Of whichever operator.
        refused(repair(unaligned, chk1, OperatorRepair.of("other").keyGroups("3")), "is unaligned");
    }

    @Test
    void stateOfOtherBackends() throws Exception {
        AbstractKeyedStateBackend<Integer> heap = job.tasks.open(new HashMapStateBackend(), 0, 15);
        heap.setCurrentKey(1);
        RepairFixture.values(heap).update("v");
        KeyedStateHandle full =
                job.tasks.snapshot(heap, 3, CheckpointType.CHECKPOINT).getJobManagerOwnedSnapshot();
        KeyedStateHandle savepoint = Savepoints.canonical(heap, job.tasks.factory);
        // As RocksDB has it: Flink's part of the metadata, and nothing behind.
        IncrementalRemoteKeyedStateHandle ours = (IncrementalRemoteKeyedStateHandle)
                RepairFixture.handles(RepairFixture.load(chk2), RepairFixture.COUNTS).get(0);
        byte[] bytes;
        try (InputStream in = ours.getMetaDataStateHandle().openInputStream()) {
            bytes = in.readAllBytes();
        }
        int end = new String(bytes, StandardCharsets.ISO_8859_1).indexOf("ALLU");
        KeyedStateHandle rocks = new IncrementalRemoteKeyedStateHandle(
                ours.getBackendIdentifier(),
                ours.getKeyGroupRange(),
                2,
                new ArrayList<>(),
                new ArrayList<>(),
                new ByteStreamStateHandle("meta", Arrays.copyOf(bytes, end)));
        KeyedStateHandle changelog = new ChangelogStateBackendHandleImpl(List.of(ours), List.of(), ours.getKeyGroupRange(), 2, 1, 0);
        List<KeyedStateHandle> handles = List.of(full, savepoint, rocks, changelog);
        List<String> kinds =
                List.of("such as HashMap's", "a canonical savepoint", "such as RocksDB's or ForSt's", "that of Flink's changelog");
        for (int place = 0; place < handles.size(); place++) {
            String foreign = with(chk2, 20 + place, counts(RepairFixture.COUNTS, 16, RepairFixture.keyed(handles.get(place))));
            refused(repair(foreign, chk1, counts().keyGroups("3")), "counts-uid", "isn't Alluvium's, but", kinds.get(place));
            refused(repair(chk2, foreign, counts().keyGroups("3")), "isn't Alluvium's, but", kinds.get(place));
        }
        // Other operators' state is copied, whatever backend it is of; but the changelog's is not.
        String beside = with(chk2, 30, counts(RepairFixture.COUNTS, 16, RepairFixture.keyed(changelog)));
        refused(repair(beside, chk1, OperatorRepair.of("other").keyGroups("3")), "of whichever operator", "Flink's changelog");
    }

    @Test
    void statesThatWereMigrated() throws Exception {
        AbstractKeyedStateBackend<Integer> other = job.tasks.open(job.backend(), 0, 15);
        other.setCurrentKey(1);
        other.getPartitionedState(
                        VoidNamespace.INSTANCE,
                        VoidNamespaceSerializer.INSTANCE,
                        new ValueStateDescriptor<>("values", IntSerializer.INSTANCE))
                .update(7);
        String migrated = with(chk1, 11, counts(RepairFixture.COUNTS, 16, RepairFixture.keyed(job.tasks.checkpoint(other, 11))));
        refused(repair(chk2, migrated, counts().keyGroups("3")), "the state values", "another serializer in checkpoint 11");
        refused(repair(chk2, migrated, counts().key("1")), "the state values", "another serializer");
    }

    @Test
    void timersThatMoved() throws Exception {
        KeyedStateHandle handle = RepairFixture.handles(RepairFixture.load(chk1), RepairFixture.COUNTS).get(0);
        OperatorSubtaskState onHeap = RepairFixture.keyed(handle).toBuilder()
                .setRawKeyedState(HeapTimersRepairTest.timers(0, 7, "1"))
                .build();
        String moved = with(chk1, 11, counts(RepairFixture.COUNTS, 16, onHeap));
        refused(repair(chk2, moved, counts().keyGroups("3")), "on the heap in one of the checkpoints alone");
    }

    /** A dry run of all of it leaves everything as it was. */
    @Test
    void aDryRunWritesNothing() throws Exception {
        List<Path> before = all();
        repair(chk2, chk1, counts().keyGroups("0-15")).plan();
        repair(chk2, chk1, counts().key("3")).workDirectory(directory.resolve("nowhere")).plan();
        assertThat(all()).isEqualTo(before);
    }

    private List<Path> all() throws Exception {
        try (Stream<Path> all = Files.walk(directory)) {
            // The job's own stores are at work.
            return all.filter(path -> !path.startsWith(directory.resolve("stores"))).sorted().collect(Collectors.toList());
        }
    }
}
