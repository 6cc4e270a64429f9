package io.alluvium.flink;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import static org.assertj.core.api.Assertions.assertThat;

/** The program: what it understands, and what it says. */
class RepairCheckpointTest {
    @TempDir
    Path directory;

    private final ByteArrayOutputStream out = new ByteArrayOutputStream();
    private final ByteArrayOutputStream err = new ByteArrayOutputStream();

    private int run(String... arguments) {
        out.reset();
        err.reset();
        return RepairCheckpoint.run(
                arguments, new PrintStream(out, true, StandardCharsets.UTF_8), new PrintStream(err, true, StandardCharsets.UTF_8));
    }

    private String said() {
        return out.toString(StandardCharsets.UTF_8);
    }

    private String complained() {
        return err.toString(StandardCharsets.UTF_8);
    }

    @Test
    void repairsSeveralOperators() throws Exception {
        try (RepairFixture job = new RepairFixture(directory)) {
            job.run(2, List.of());
            job.touch(1, 1);
            job.touch(2, 1);
            String chk1 = job.checkpoint(1);
            Map<Integer, RepairFixture.Content> then = job.copyOfModel();
            job.touch(1, 2);
            job.touch(2, 2);
            String chk2 = job.checkpoint(2);
            String[] asked = {
                "--checkpoint", chk2 + "_metadata", "--from", chk1, "--output", job.output("repaired"),
                "--operator", "counts", "--key", "1", "--key-hex", "00000003",
                "--operator", RepairFixture.OTHER.toHexString(), "--key-groups", "0-7", "--state", "values", "--dry-run"
            };
            assertThat(run(asked)).isZero();
            assertThat(said()).contains("dry run", "LOST", "the keys [1, 0x00000003]", "the key groups 0-7 of 'other'");
            assertThat(job.exists(job.output("repaired"))).isFalse();
            asked[asked.length - 1] = "--work-directory";
            assertThat(run(asked)).isEqualTo(2);
            assertThat(complained()).contains("--work-directory needs a value");
            String[] done = Arrays.copyOf(asked, asked.length - 1);
            assertThat(run(done)).isZero();
            assertThat(said()).contains("Written: ", "LOST");
            assertThat(run(done)).isEqualTo(1);
            assertThat(complained()).startsWith("refused: ").contains("is there already");
            job.deleteOriginals();
            Map<Integer, String> restored = job.restored(
                    1, RepairFixture.handles(RepairFixture.load(job.output("repaired")), RepairFixture.COUNTS));
            assertThat(restored.get(1)).isEqualTo(then.get(1).toString());
            assertThat(restored.get(2)).isEqualTo(job.model.get(2).toString());
            List<String> others = job.others(RepairFixture.load(job.output("repaired")));
            for (int key = 0; key < RepairFixture.KEYS; key++) {
                assertThat(others.get(key)).isEqualTo(RepairFixture.group(key) <= 7 ? "other 1" : "other 2");
            }
        }
    }

    @Test
    void whatItDoesNotUnderstand() {
        String[][] arguments = {
            {},
            {"--checkpoint"},
            {"--checkpoint", "a", "--output", "b"},
            {"--checkpoint", "a", "--key", "b"},
            {"--checkpoint", "a", "--output", "b", "--operator", "c", "--key-groups", "3-"},
            {"--checkpoint", "a", "--output", "b", "--operator", "c", "--key-groups", "3-4-5"},
            {"--checkpoint", "a", "--output", "b", "--operator", "c", "--key-groups", "7-3"},
            {"--checkpoint", "a", "--output", "b", "--operator", "c", "--key-hex", "0"},
            {"--checkpoint", "a", "--output", "b", "--operator", "c", "--key-hex", "0g"},
            {"--checkpoint", "a", "--output", "b", "--operator", "c", "--what"},
        };
        for (String[] each : arguments) {
            assertThat(run(each)).as(String.join(" ", each)).isEqualTo(2);
            assertThat(complained()).contains("--key-groups 3-7,12");
        }
    }

    @Test
    void aCheckpointThatIsNotThere() {
        String nowhere = directory.resolve("nowhere").toString();
        assertThat(run("--checkpoint", nowhere, "--output", nowhere + "-new", "--operator", "c", "--key", "1")).isEqualTo(1);
        assertThat(complained()).contains("failed", nowhere);
    }
}
