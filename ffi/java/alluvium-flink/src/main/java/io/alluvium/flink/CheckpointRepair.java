package io.alluvium.flink;

import io.alluvium.Engine;
import io.alluvium.EngineOptions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;
import org.apache.flink.runtime.checkpoint.OperatorState;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.checkpoint.StateObjectCollection;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;
import org.apache.flink.runtime.jobgraph.OperatorID;

/**
 * Makes a new checkpoint of one that a job left, in which some key groups or keys of some operators are again what an older checkpoint has of
 * them, or are removed, and everything else is as it was. The job isn't needed, and must not be running from these checkpoints with the right to
 * delete them; the new one has copies of all its files.
 *
 * <p><b>Input is lost</b> unless it is replayed separately: sources go on where the newer checkpoint has them, so what came in for the key
 * groups between the two checkpoints doesn't come again. The {@link RepairReport} says of which.
 *
 * <pre>{@code
 * RepairReport report = new CheckpointRepair("file:///checkpoints/…/chk-12", "file:///repaired")
 *         .from("file:///checkpoints/…/chk-9")
 *         .repair(OperatorRepair.of("counts").keyGroups("3-7,12"))
 *         .run();
 * }</pre>
 *
 * <p>The classes of the job's keys and states have to be on the class path, unless they are Flink's own.
 */
public final class CheckpointRepair {
    private static final int TRANSFER_THREADS = 4;

    private final String checkpoint;
    private final String output;
    private final List<OperatorRepair> repairs = new ArrayList<>();
    private String older;
    private Path workDirectory;

    /**
     * Of a checkpoint's directory, or the metadata in it, into a directory that isn't there yet; both are paths or URIs of Flink's file systems.
     */
    public CheckpointRepair(String checkpoint, String output) {
        this.checkpoint = Objects.requireNonNull(checkpoint);
        this.output = Objects.requireNonNull(output);
    }

    /** The older checkpoint, which is gone back to. */
    public CheckpointRepair from(String checkpoint) {
        older = Objects.requireNonNull(checkpoint);
        return this;
    }

    /** Repairs one operator; each may be named once. */
    public CheckpointRepair repair(OperatorRepair repair) {
        repairs.add(Objects.requireNonNull(repair));
        return this;
    }

    /** A directory of this machine with room for the keyed state of a subtask, from both checkpoints (that of temporary files). */
    public CheckpointRepair workDirectory(Path directory) {
        workDirectory = Objects.requireNonNull(directory);
        return this;
    }

    /**
     * Finds out what would be done, and writes nothing.
     *
     * @throws RepairRefusedException where it can't be done
     */
    public RepairReport plan() throws IOException {
        Checked checked = new Checked();
        NewCheckpoint counted = count(checked);
        List<String> lines = checked.lines(counted);
        lines.add("Nothing was written: this is a dry run. It would be about " + counted.bytes() + " bytes in " + counted.files() + " files.");
        return new RepairReport(lines, counted.files(), counted.bytes());
    }

    /** Goes through all that would be copied: what can't be is found out here. */
    private NewCheckpoint count(Checked checked) throws IOException {
        NewCheckpoint counted = NewCheckpoint.in(output, true);
        HandleCopies copies = new HandleCopies(counted);
        checked.operators(copies, (plan, subtask) -> {
            copies.copyButKeyed(subtask.state);
            copies.rawKeyed(subtask.state);
            return subtask.state;
        });
        checked.plans.values().forEach(plan -> plan.count(counted));
        return counted;
    }

    /**
     * Writes the new checkpoint. Where that fails, nothing of it is left.
     *
     * @throws RepairRefusedException where it can't be done, before anything is written
     */
    public RepairReport run() throws IOException {
        Checked checked = new Checked();
        count(checked);
        NewCheckpoint into = NewCheckpoint.in(output, false);
        Path work = workDirectory == null
                ? Files.createTempDirectory("alluvium-repair")
                : Files.createTempDirectory(workDirectory, "alluvium-repair");
        try {
            into.begin();
            write(checked, into, work);
        } catch (Throwable e) {
            into.discard(e);
            throw e;
        } finally {
            OpenStore.delete(work);
        }
        List<String> lines = checked.lines(into);
        lines.add("Written: " + into.bytes() + " bytes in " + into.files() + " files. The job starts from it by"
                + " flink run -s " + into.directory());
        return new RepairReport(lines, into.files(), into.bytes());
    }

    private static void write(Checked checked, NewCheckpoint into, Path work) throws IOException {
        HandleCopies copies = new HandleCopies(into);
        List<OperatorState> operators;
        try (Engine engine = Engine.open(new EngineOptions());
                Transfer transfer = new Transfer(TRANSFER_THREADS)) {
            operators = checked.operators(copies, (plan, subtask) -> {
                SubtaskRepair repair =
                        new SubtaskRepair(engine, transfer, plan.repair, subtask, work.resolve("subtask-" + subtask.index));
                return copies.copyButKeyed(subtask.state)
                        .setManagedKeyedState(StateObjectCollection.singleton(repair.run(into, checked.newer.id())))
                        .setRawKeyedState(
                                plan.repair.isWhole()
                                        ? new StateObjectCollection<>(HeapTimersRepair.run(plan.repair, subtask, into))
                                        : copies.rawKeyed(subtask.state))
                        .build();
            });
        }
        CheckpointMetadata metadata = checked.newer.metadata;
        into.complete(new CheckpointMetadata(
                metadata.getCheckpointId(), operators, metadata.getMasterStates(), metadata.getCheckpointProperties()));
    }

    private interface Rebuild {
        OperatorSubtaskState of(OperatorPlan plan, SubtaskPlan subtask) throws Exception;
    }

    /** Both checkpoints, and what is to be done, which is known to be possible. */
    private final class Checked {
        final RetainedCheckpoint newer;
        /** Null where there is none to go back to. */
        final RetainedCheckpoint before;

        final Map<OperatorID, OperatorPlan> plans = new LinkedHashMap<>();

        Checked() throws IOException {
            ClassLoader classLoader = Thread.currentThread().getContextClassLoader();
            newer = RetainedCheckpoint.load(checkpoint, classLoader);
            before = older == null ? null : RetainedCheckpoint.load(older, classLoader);
            if (repairs.isEmpty()) {
                throw new RepairRefusedException("no operator is named");
            }
            for (OperatorRepair repair : repairs) {
                OperatorPlan plan = new OperatorPlan(repair, newer, before, classLoader);
                if (plans.put(plan.operator.getOperatorID(), plan) != null) {
                    throw new RepairRefusedException(plan.name() + " is named twice: repair it once, and what comes of that again");
                }
            }
        }

        /** All operators of the new checkpoint; {@code rebuild} makes the subtasks that are repaired. */
        List<OperatorState> operators(HandleCopies copies, Rebuild rebuild) throws IOException {
            List<OperatorState> operators = new ArrayList<>();
            for (OperatorState operator : newer.metadata.getOperatorStates()) {
                OperatorPlan plan = plans.get(operator.getOperatorID());
                operators.add(plan == null ? copies.copy(operator) : repaired(plan, copies, rebuild));
            }
            return operators;
        }

        private OperatorState repaired(OperatorPlan plan, HandleCopies copies, Rebuild rebuild) throws IOException {
            OperatorState copy = copies.begin(plan.operator);
            for (int index = 0; index < plan.operator.getParallelism(); index++) {
                SubtaskPlan subtask = plan.subtasks.get(index);
                OperatorSubtaskState state = plan.operator.getState(index);
                try {
                    if (subtask != null) {
                        copy.putState(index, rebuild.of(plan, subtask));
                    } else if (state != null) {
                        copy.putState(index, copies.copy(state));
                    }
                } catch (IOException | RuntimeException e) {
                    throw e;
                } catch (Exception e) {
                    throw new IOException("subtask " + index + " of " + plan.name(), e);
                }
            }
            return copy;
        }

        List<String> lines(NewCheckpoint into) {
            List<String> lines = new ArrayList<>();
            lines.add(newer + " is copied to " + into.directory() + ", with this repaired:");
            plans.values().forEach(plan -> lines.addAll(plan.lines()));
            if (before != null && before.id() >= newer.id()) {
                lines.add("Is it the older one? " + before + " has no smaller number than " + newer + ".");
            }
            String stay = newer.metadata.getOperatorStates().stream()
                    .filter(CheckpointRepair::hasPositions)
                    .map(RetainedCheckpoint::told)
                    .collect(Collectors.joining("; "));
            lines.add("Positions of sources, and all other state of operators, stay those of checkpoint " + newer.id() + ": "
                    + (stay.isEmpty() ? "there are none" : stay));
            plans.values().forEach(plan -> lines.add(lost(plan)));
            return lines;
        }

        private String lost(OperatorPlan plan) {
            String since = plan.repair.removes()
                    ? "before checkpoint " + newer.id()
                    : "between checkpoint " + before.id() + " and checkpoint " + newer.id();
            return "LOST unless it is replayed separately: what came in " + since + " for " + plan.scope()
                    + ". The job goes on behind checkpoint " + newer.id() + ", so these events don't come again by themselves.";
        }
    }

    private static boolean hasPositions(OperatorState operator) {
        return operator.getCoordinatorState() != null
                || operator.getStates().stream()
                        .anyMatch(subtask -> subtask.getManagedOperatorState().hasState() || subtask.getRawOperatorState().hasState());
    }
}
