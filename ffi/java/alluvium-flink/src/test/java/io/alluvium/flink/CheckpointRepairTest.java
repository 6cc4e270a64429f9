package io.alluvium.flink;

import io.alluvium.Engine;
import io.alluvium.flink.RepairFixture.Content;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.apache.flink.api.common.typeutils.base.IntSerializer;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

/** Repaired checkpoints, from which tasks are restored after the originals are gone: what every key holds, by a model. */
class CheckpointRepairTest {
    @TempDir
    Path directory;

    private RepairFixture job;
    private long before;
    /** Of the older checkpoint. */
    private String chk1;

    private Map<Integer, Content> then;
    /** Of the newer one. */
    private String chk2;

    private Map<Integer, Content> now;

    @BeforeEach
    void begin() throws Exception {
        before = Engine.openObjects();
        job = new RepairFixture(directory);
    }

    @AfterEach
    void end() throws Exception {
        job.close();
        assertThat(Engine.openObjects()).isLessThanOrEqualTo(before);
    }

    /** Two checkpoints of a job that had one parallelism and then another: keys that change, that come and that go in between. */
    private void history(int parallelism, int later) throws Exception {
        job.run(parallelism, List.of());
        for (int key = 0; key < 150; key++) {
            job.touch(key, 1);
            job.touch(key, 2);
        }
        chk1 = job.checkpoint(1);
        then = job.copyOfModel();
        if (later != parallelism) {
            job.run(later, RepairFixture.handles(RepairFixture.load(chk1), RepairFixture.COUNTS));
        }
        for (int key = 0; key < RepairFixture.KEYS; key += 2) {
            job.touch(key, 3);
        }
        for (int key = 0; key < RepairFixture.KEYS; key += 7) {
            job.forget(key);
        }
        chk2 = job.checkpoint(2);
        now = job.copyOfModel();
        // What comes later is in neither.
        job.touch(3, 9);
    }

    private interface Expected {
        Content of(int key, Content then, Content now);
    }

    /** Checks what the new checkpoint has of all keys, whatever the parallelism. The originals are gone. */
    private void check(String repaired, Expected expected) throws Exception {
        job.deleteOriginals();
        CheckpointMetadata metadata = RepairFixture.load(repaired);
        assertThat(metadata.getCheckpointId()).isEqualTo(2);
        List<KeyedStateHandle> handles = RepairFixture.handles(metadata, RepairFixture.COUNTS);
        Map<Integer, String> contents = new TreeMap<>();
        for (int key = 0; key < RepairFixture.KEYS; key++) {
            contents.put(key, expected.of(key, then.get(key), now.get(key)).toString());
        }
        for (int parallelism : new int[] {handles.size(), 1, 3}) {
            assertThat(job.restored(parallelism, handles)).isEqualTo(contents);
        }
        assertThat(job.others(metadata)).hasSize(RepairFixture.KEYS).containsOnly("other 2");
        assertThat(RepairFixture.position(metadata)).isEqualTo("position 2");
        assertThat(RepairFixture.operator(metadata, RepairFixture.COUNTS).getOperatorUid()).contains("counts-uid");
    }

    private static OperatorRepair counts() {
        return OperatorRepair.of("counts-uid");
    }

    private CheckpointRepair repair(OperatorRepair repair) {
        return new CheckpointRepair(chk2, job.output("repaired")).from(chk1).repair(repair);
    }

    private static boolean isIn(BitSet groups, int key) {
        return groups.get(RepairFixture.group(key));
    }

    @Test
    void keyGroupsGoBackAndAllElseStays() throws Exception {
        history(2, 2);
        OperatorRepair which = counts().keyGroups("3-5,12");
        RepairReport planned = repair(which).plan();
        assertThat(job.exists(job.output("repaired"))).isFalse();
        assertThat(planned.toString())
                .contains("3-5,12", "'counts' (uid counts-uid, id ", "lists, maps, timers", "subtask 0 (key groups 0-7)", "dry run")
                .contains("LOST unless it is replayed separately: what came in between checkpoint 1 and checkpoint 2 for the key groups 3-5,12")
                .contains("stay those of checkpoint 2: 'numbers' (uid numbers-uid");
        RepairReport report = repair(which).run();
        assertThat(report.toString()).contains("LOST unless it is replayed separately", "flink run -s");
        // Files that all key groups of a subtask share are counted once, and the metadata last.
        assertThat(report.files()).isBetween(planned.files() - 4, planned.files() + 4);
        check(job.output("repaired"), (key, then, now) -> isIn(which.keyGroups, key) ? then : now);
    }

    @Test
    void allKeyGroupsGoBack() throws Exception {
        history(2, 2);
        repair(OperatorRepair.of(RepairFixture.COUNTS.toHexString()).keyGroups(0, 15)).run();
        check(job.output("repaired"), (key, then, now) -> then);
    }

    @Test
    void theOlderOneHadAnotherParallelism() throws Exception {
        for (int[] parallelism : new int[][] {{1, 2}, {3, 2}}) {
            job.close();
            job = new RepairFixture(directory.resolve("of-" + parallelism[0]));
            history(parallelism[0], parallelism[1]);
            OperatorRepair which = counts().keyGroups("2,4,6-9,15");
            repair(which).run();
            check(job.output("repaired"), (key, then, now) -> isIn(which.keyGroups, key) ? then : now);
        }
    }

    @Test
    void someStatesGoBack() throws Exception {
        history(2, 2);
        OperatorRepair which = counts().keyGroups("0-3,9").state("lists").state("maps");
        repair(which).run();
        check(job.output("repaired"), (key, then, now) -> {
            Content both = now.copy();
            if (isIn(which.keyGroups, key)) {
                both.list.clear();
                both.list.addAll(then.list);
                both.map.clear();
                both.map.putAll(then.map);
            }
            return both;
        });
    }

    @Test
    void keysGoBackWithTheirTimers() throws Exception {
        history(2, 2);
        // One that changed, one that went, one that is new, one that never was, and one of bytes.
        List<Integer> keys = List.of(2, 49, 160, 199, 84);
        OperatorRepair which = counts().key("2").key("49").key("160").key("199").keyBytes(Bytes.of(84, IntSerializer.INSTANCE));
        RepairReport report = repair(which).run();
        assertThat(report.toString()).contains("the keys [2, 49, 160, 199, 0x00000054] (key groups ");
        check(job.output("repaired"), (key, then, now) -> keys.contains(key) ? then : now);
    }

    @Test
    void keyGroupsAndKeysAreRemoved() throws Exception {
        history(2, 2);
        CheckpointRepair groups = new CheckpointRepair(chk2, job.output("once"))
                .repair(counts().keyGroups("0-1,10").remove());
        RepairReport report = groups.run();
        assertThat(report.toString()).contains("what came in before checkpoint 2 for the key groups 0-1,10");
        // What was repaired is repaired again, and the older one may have been, too.
        new CheckpointRepair(job.output("once"), job.output("twice")).repair(counts().key("5").remove()).run();
        new CheckpointRepair(job.output("twice"), job.output("repaired"))
                .from(job.output("once"))
                .repair(counts().keyGroups("15"))
                .run();
        Files.move(Path.of(URI.create(job.output("repaired"))), Path.of(URI.create(job.output("moved"))));
        BitSet gone = counts().keyGroups("0-1,10").keyGroups;
        check(job.output("moved"), (key, then, now) -> isIn(gone, key) || (key == 5 && RepairFixture.group(5) != 15) ? new Content() : now);
    }

    @Test
    void aStateThatOnlyTheOlderOneHas() throws Exception {
        history(2, 2);
        // Of a job that began anew, and had no lists yet.
        job.run(2, List.of());
        for (int key = 0; key < RepairFixture.KEYS; key++) {
            job.model.put(key, new Content());
        }
        now = job.copyOfModel();
        String empty = job.checkpoint(2);
        assertThat(RepairFixture.handles(RepairFixture.load(empty), RepairFixture.COUNTS)).isEmpty();
        OperatorRepair which = counts().keyGroups("4-11");
        new CheckpointRepair(empty, job.output("repaired")).from(chk1).repair(which).run();
        check(job.output("repaired"), (key, then, now) -> isIn(which.keyGroups, key) ? then : now);
    }

    /** Whatever happens, and whatever is repaired of it: {@code -Dseed} and {@code -Drounds} have it be the same again, and more. */
    @Test
    void randomHistories() throws Exception {
        long seed = Long.getLong("seed", System.nanoTime());
        System.out.println("-Dseed=" + seed);
        Random random = new Random(seed);
        for (int round = 0; round < Integer.getInteger("rounds", 6); round++) {
            job.close();
            job = new RepairFixture(directory.resolve("round-" + round));
            randomRound(random);
        }
    }

    private void randomRound(Random random) throws Exception {
        job.run(1 + random.nextInt(4), List.of());
        happen(random);
        chk1 = job.checkpoint(1);
        then = job.copyOfModel();
        if (random.nextBoolean()) {
            job.run(1 + random.nextInt(4), RepairFixture.handles(RepairFixture.load(chk1), RepairFixture.COUNTS));
        }
        happen(random);
        chk2 = job.checkpoint(2);
        now = job.copyOfModel();
        OperatorRepair which = counts();
        boolean[] isRepaired = new boolean[RepairFixture.KEYS];
        if (random.nextBoolean()) {
            for (int left = 1 + random.nextInt(8); left > 0; left--) {
                which.keyGroups(Integer.toString(random.nextInt(Tasks.KEY_GROUPS)));
            }
            for (int key = 0; key < RepairFixture.KEYS; key++) {
                isRepaired[key] = isIn(which.keyGroups, key);
            }
        } else {
            for (int left = 1 + random.nextInt(20); left > 0; left--) {
                int key = random.nextInt(RepairFixture.KEYS);
                which.key(Integer.toString(key));
                isRepaired[key] = true;
            }
        }
        boolean removes = random.nextInt(3) == 0;
        if (removes) {
            which.remove();
        }
        repair(which).run();
        check(job.output("repaired"), (key, then, now) -> !isRepaired[key] ? now : removes ? new Content() : then);
    }

    private void happen(Random random) throws Exception {
        int events = 1 + random.nextInt(1_000);
        for (int event = 0; event < events; event++) {
            int key = random.nextInt(RepairFixture.KEYS);
            if (random.nextInt(10) == 0) {
                job.forget(key);
            } else {
                job.touch(key, random.nextInt(1_000));
            }
        }
    }

    @Test
    void aFailureLeavesNothing() throws Exception {
        history(2, 2);
        Path lost = Path.of(RepairFixture.handles(RepairFixture.load(chk2), RepairFixture.OTHER).stream()
                .map(handle -> ((IncrementalRemoteKeyedStateHandle) handle).getSharedState())
                .flatMap(List::stream)
                .findAny()
                .orElseThrow()
                .getHandle()
                .maybeGetPath()
                .orElseThrow()
                .toUri()
                .getPath());
        Files.delete(lost);
        Path work = Files.createDirectory(directory.resolve("work"));
        assertThatThrownBy(() -> repair(counts().keyGroups("3")).workDirectory(work).run())
                .isInstanceOf(IOException.class)
                .hasMessageContaining(lost.getFileName().toString());
        assertThat(job.exists(job.output("repaired"))).isFalse();
        assertThat(work).isEmptyDirectory();
        assertThat(job.exists(chk1)).isTrue();
    }
}
