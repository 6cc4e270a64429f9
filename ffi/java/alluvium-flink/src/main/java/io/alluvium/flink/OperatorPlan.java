package io.alluvium.flink;

import java.io.IOException;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.flink.runtime.checkpoint.FullyFinishedOperatorState;
import org.apache.flink.runtime.checkpoint.OperatorState;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.runtime.state.KeyGroupsStateHandle;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot;

/**
 * What is to be done with one operator, from which state of which subtasks. Whatever can't be done is refused when it is made, before anything
 * is written.
 */
final class OperatorPlan {
    final OperatorRepair repair;
    final OperatorState operator;
    /** The subtasks that are touched; all others are copied. */
    final Map<Integer, SubtaskPlan> subtasks = new TreeMap<>();

    private final RetainedCheckpoint newer;
    private final RetainedCheckpoint older;
    private final Map<Integer, StoredHandle> newerHandles = new TreeMap<>();
    private final List<StoredHandle> olderHandles = new ArrayList<>();
    private final List<KeyedStateHandle> olderRaw = new ArrayList<>();
    private final BitSet groups = new BitSet();
    private final List<SubtaskPlan.StoreKey> keys = new ArrayList<>();
    private final Set<String> states = new LinkedHashSet<>();

    /** {@code older} may be null where everything is removed. */
    OperatorPlan(OperatorRepair repair, RetainedCheckpoint newer, RetainedCheckpoint older, ClassLoader classLoader)
            throws IOException {
        this.repair = repair;
        this.newer = newer;
        this.older = repair.removes() ? null : older;
        operator = newer.operator(repair.operator);
        if (operator instanceof FullyFinishedOperatorState) {
            throw new RepairRefusedException(name() + " has finished, and has no state any more");
        }
        readNewer(classLoader);
        if (!repair.removes()) {
            readOlder(classLoader);
        }
        if (newerHandles.isEmpty() && olderHandles.isEmpty()) {
            throw new RepairRefusedException(name() + " has no keyed state");
        }
        findGroups();
        findSubtasks();
        for (SubtaskPlan subtask : subtasks.values()) {
            checkSerializers(subtask);
            checkRaw(subtask);
        }
        checkNames();
    }

    String name() {
        return RetainedCheckpoint.told(operator);
    }

    private void readNewer(ClassLoader classLoader) throws IOException {
        for (int index : operator.getSubtaskStates().keySet()) {
            for (KeyedStateHandle handle : operator.getState(index).getManagedKeyedState()) {
                newerHandles.put(index, StoredHandle.read(handle, of(index, newer), classLoader));
            }
        }
    }

    private String of(int index, RetainedCheckpoint checkpoint) {
        return "subtask " + index + " of " + name() + " in " + checkpoint;
    }

    private void readOlder(ClassLoader classLoader) throws IOException {
        if (older == null) {
            throw new RepairRefusedException("an older checkpoint is needed for " + name() + " to go back to");
        }
        OperatorState before = older.operator(operator.getOperatorID());
        if (before == null) {
            throw new RepairRefusedException(name() + " isn't in " + older);
        }
        if (before.getMaxParallelism() != operator.getMaxParallelism()) {
            throw new RepairRefusedException(name() + " has the maximum parallelism " + operator.getMaxParallelism() + " in " + newer + ", but "
                    + before.getMaxParallelism() + " in " + older + ": their key groups are not the same");
        }
        for (int index : before.getSubtaskStates().keySet()) {
            for (KeyedStateHandle handle : before.getState(index).getManagedKeyedState()) {
                olderHandles.add(StoredHandle.read(handle, of(index, older), classLoader));
            }
            olderRaw.addAll(before.getState(index).getRawKeyedState());
        }
    }

    /** Which key groups are repaired, or have keys that are. */
    private void findGroups() throws IOException {
        if (repair.keys.isEmpty() == repair.keyGroups.isEmpty()) {
            throw new RepairRefusedException("either key groups or keys of " + name() + " have to be named");
        }
        if (repair.keyGroups.length() > operator.getMaxParallelism()) {
            throw new RepairRefusedException(name() + " has the key groups 0-" + (operator.getMaxParallelism() - 1) + ", not "
                    + OperatorRepair.list(repair.keyGroups));
        }
        groups.or(repair.keyGroups);
        StoredHandle any = newerHandles.isEmpty() ? olderHandles.get(0) : newerHandles.values().iterator().next();
        for (OperatorRepair.GivenKey given : repair.keys) {
            SubtaskPlan.StoreKey key = GivenKeys.stored(given, any.meta.keySerializer, operator.getMaxParallelism());
            keys.add(key);
            groups.set(key.group);
        }
    }

    private void findSubtasks() throws RepairRefusedException {
        for (int index = 0; index < operator.getParallelism(); index++) {
            KeyGroupRange range = KeyGroupRangeAssignment.computeKeyGroupRangeForOperatorIndex(
                    operator.getMaxParallelism(), operator.getParallelism(), index);
            OperatorSubtaskState state = operator.getState(index);
            SubtaskPlan subtask = new SubtaskPlan(index, range, state == null ? OperatorSubtaskState.builder().build() : state);
            subtask.groups.or(groups);
            subtask.groups.clear(0, range.getStartKeyGroup());
            subtask.groups.clear(range.getEndKeyGroup() + 1, Math.max(range.getEndKeyGroup() + 1, groups.length()));
            if (subtask.groups.isEmpty()) {
                continue;
            }
            if (subtask.state.isFinished()) {
                throw new RepairRefusedException(of(index, newer) + " has finished, and has no state any more");
            }
            if (newerHandles.containsKey(index)) {
                subtask.newer.add(newerHandles.get(index));
            }
            for (StoredHandle handle : olderHandles) {
                if (subtask.touches(handle.range())) {
                    subtask.older.add(handle);
                }
            }
            for (KeyedStateHandle handle : olderRaw) {
                if (subtask.touches(handle.getKeyGroupRange())) {
                    subtask.olderRaw.add(handle);
                }
            }
            keys.stream().filter(key -> range.contains(key.group)).forEach(subtask.keys::add);
            if (!subtask.newer.isEmpty() || !subtask.older.isEmpty()) {
                subtasks.put(index, subtask);
            }
        }
    }

    /** Bytes of both checkpoints lie beside each other afterwards, and one serializer reads them. */
    private void checkSerializers(SubtaskPlan subtask) throws IOException {
        List<StoredHandle> all = new ArrayList<>(subtask.newer);
        all.addAll(subtask.older);
        Map<String, StateMetaInfoSnapshot> known = new TreeMap<>();
        for (StoredHandle handle : all) {
            if (!Serializers.areSame(handle.meta.keySerializer, all.get(0).meta.keySerializer)) {
                throw new RepairRefusedException("the keys of " + name() + " have another serializer in " + older + " than in " + newer);
            }
            for (StateMetaInfoSnapshot state : handle.meta.states) {
                if (!repair.has(state.getName())) {
                    continue;
                }
                states.add(state.getName());
                StateMetaInfoSnapshot other = known.putIfAbsent(state.getName(), state);
                if (other != null && !Serializers.areSame(state, other)) {
                    throw new RepairRefusedException("the state " + state.getName() + " of " + name() + " is of another kind or has another"
                            + " serializer in " + older + " than in " + newer + ": it was migrated in between");
                }
            }
        }
    }

    /** Timers on the heap are no state of the store: they are in streams of their own, key group by key group. */
    private void checkRaw(SubtaskPlan subtask) throws RepairRefusedException {
        if (!repair.isWhole()) {
            return;
        }
        List<KeyedStateHandle> all = new ArrayList<>(subtask.state.getRawKeyedState());
        all.addAll(subtask.olderRaw);
        for (KeyedStateHandle handle : all) {
            if (!(handle instanceof KeyGroupsStateHandle)) {
                throw new RepairRefusedException("timers of this kind can't be repaired: " + handle.getClass().getName());
            }
        }
        if (!repair.removes() && subtask.olderRaw.isEmpty() != subtask.state.getRawKeyedState().isEmpty()) {
            throw new RepairRefusedException("the timers of " + name() + " are on the heap in one of the checkpoints alone,"
                    + " and in the store in the other");
        }
    }

    private void checkNames() throws RepairRefusedException {
        for (String state : repair.states) {
            if (!states.contains(state)) {
                Set<String> all = new LinkedHashSet<>();
                newerHandles.values().forEach(handle -> handle.meta.states.forEach(each -> all.add(each.getName())));
                olderHandles.forEach(handle -> handle.meta.states.forEach(each -> all.add(each.getName())));
                throw new RepairRefusedException(
                        name() + " has no state " + state + " in what is to be repaired: its states are " + String.join(", ", all));
            }
        }
    }

    /** Key groups, or keys, for a person. */
    String scope() {
        String of = repair.keys.isEmpty()
                ? "the key groups " + OperatorRepair.list(groups)
                : "the keys " + repair.keys + " (key groups " + OperatorRepair.list(groups) + ")";
        return of + " of " + name();
    }

    /** What is done, for a person. */
    List<String> lines() {
        List<String> lines = new ArrayList<>();
        String does = repair.removes() ? " are removed" : " go back to " + older;
        lines.add(scope() + does);
        lines.add((repair.states.isEmpty() ? "  all states: " : "  of the states ") + String.join(", ", states));
        boolean hasRaw = subtasks.values().stream().anyMatch(subtask -> !subtask.state.getRawKeyedState().isEmpty());
        if (hasRaw) {
            lines.add(repair.isWhole()
                    ? "  and their timers, which are on the heap"
                    : "  Timers stay as they are: they are on the heap, where only whole key groups can be repaired.");
        }
        for (SubtaskPlan subtask : subtasks.values()) {
            lines.add("  subtask " + subtask.index + " (key groups " + subtask.range.getStartKeyGroup() + "-"
                    + subtask.range.getEndKeyGroup() + ") is put together anew");
        }
        if (subtasks.size() < operator.getParallelism()) {
            lines.add("  other subtasks of it are copied as they are");
        }
        return lines;
    }

    /** Counts what the subtasks that are touched are put together from. */
    void count(NewCheckpoint counted) {
        for (SubtaskPlan subtask : subtasks.values()) {
            List<StoredHandle> all = new ArrayList<>(subtask.older);
            boolean isAll = subtask.groups.cardinality() == subtask.range.getNumberOfKeyGroups();
            if (!(repair.isWhole() && isAll)) {
                all.addAll(subtask.newer);
            }
            for (StoredHandle handle : all) {
                handle.files().forEach(file -> counted.count(file.getLocalPath(), file.getHandle().getStateSize()));
            }
            counted.count(subtask, subtask.newer.isEmpty() ? 0 : subtask.newer.get(0).handle.getMetaDataStateHandle().getStateSize());
        }
    }
}
