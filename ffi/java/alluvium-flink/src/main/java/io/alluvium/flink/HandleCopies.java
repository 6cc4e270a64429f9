package io.alluvium.flink;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.runtime.checkpoint.FullyFinishedOperatorState;
import org.apache.flink.runtime.checkpoint.OperatorState;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.checkpoint.StateObjectCollection;
import org.apache.flink.runtime.state.IncrementalKeyedStateHandle.HandleAndLocalPath;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyGroupsSavepointStateHandle;
import org.apache.flink.runtime.state.KeyGroupsStateHandle;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.OperatorStateHandle;
import org.apache.flink.runtime.state.OperatorStreamStateHandle;
import org.apache.flink.runtime.state.StateObject;
import org.apache.flink.runtime.state.filemerging.EmptyFileMergingOperatorStreamStateHandle;

/**
 * Handles of a checkpoint as those of a new one that has a copy of every file. What was shared with other checkpoints is private in the copy,
 * which no other checkpoint knows of.
 */
final class HandleCopies {
    private final NewCheckpoint into;

    HandleCopies(NewCheckpoint into) {
        this.into = into;
    }

    private interface Copy<T> {
        /** Null: it is left out. */
        T of(T handle) throws IOException;
    }

    private static <T extends StateObject> StateObjectCollection<T> each(StateObjectCollection<T> handles, Copy<T> copy)
            throws IOException {
        List<T> copies = new ArrayList<>();
        for (T handle : handles) {
            T copied = handle == null ? null : copy.of(handle);
            if (copied != null) {
                copies.add(copied);
            }
        }
        return copies.isEmpty() ? StateObjectCollection.empty() : new StateObjectCollection<>(copies);
    }

    /** The same operator without its subtasks, but with what its coordinator keeps. */
    OperatorState begin(OperatorState operator) {
        OperatorState copy = new OperatorState(
                operator.getOperatorName().orElse(null),
                operator.getOperatorUid().orElse(null),
                operator.getOperatorID(),
                operator.getParallelism(),
                operator.getMaxParallelism());
        copy.setCoordinatorState(operator.getCoordinatorState());
        return copy;
    }

    /** A whole operator. */
    OperatorState copy(OperatorState operator) throws IOException {
        if (operator instanceof FullyFinishedOperatorState) {
            return operator; // It has no state.
        }
        OperatorState copy = begin(operator);
        for (int subtask : operator.getSubtaskStates().keySet()) {
            copy.putState(subtask, copy(operator.getState(subtask)));
        }
        return copy;
    }

    /** A whole subtask. */
    OperatorSubtaskState copy(OperatorSubtaskState subtask) throws IOException {
        if (subtask.isFinished()) {
            return subtask;
        }
        return copyButKeyed(subtask)
                .setManagedKeyedState(each(subtask.getManagedKeyedState(), this::keyed))
                .setRawKeyedState(each(subtask.getRawKeyedState(), this::keyed))
                .build();
    }

    /** A subtask, whose keyed state is to be set. */
    OperatorSubtaskState.Builder copyButKeyed(OperatorSubtaskState subtask) throws IOException {
        return subtask.toBuilder()
                .setManagedOperatorState(each(subtask.getManagedOperatorState(), this::ofOperator))
                .setRawOperatorState(each(subtask.getRawOperatorState(), this::ofOperator));
    }

    /** What a subtask keeps of its keys in streams of its own. */
    StateObjectCollection<KeyedStateHandle> rawKeyed(OperatorSubtaskState subtask) throws IOException {
        return each(subtask.getRawKeyedState(), this::keyed);
    }

    private OperatorStateHandle ofOperator(OperatorStateHandle handle) throws IOException {
        if (handle instanceof EmptyFileMergingOperatorStreamStateHandle) {
            return null; // It keeps a directory that the copy has nothing in.
        }
        return new OperatorStreamStateHandle(
                handle.getStateNameToPartitionOffsets(), into.copy(handle.getDelegateStateHandle()));
    }

    private KeyedStateHandle keyed(KeyedStateHandle handle) throws IOException {
        if (handle instanceof KeyGroupsSavepointStateHandle) {
            KeyGroupsStateHandle full = (KeyGroupsStateHandle) handle;
            return new KeyGroupsSavepointStateHandle(full.getGroupRangeOffsets(), into.copy(full.getDelegateStateHandle()));
        }
        if (handle instanceof KeyGroupsStateHandle) {
            KeyGroupsStateHandle full = (KeyGroupsStateHandle) handle;
            return new KeyGroupsStateHandle(full.getGroupRangeOffsets(), into.copy(full.getDelegateStateHandle()));
        }
        if (handle instanceof IncrementalRemoteKeyedStateHandle) {
            return incremental((IncrementalRemoteKeyedStateHandle) handle);
        }
        throw new RepairRefusedException("keyed state of this kind can't be copied, of whichever operator: " + StoredHandle.kind(handle));
    }

    private KeyedStateHandle incremental(IncrementalRemoteKeyedStateHandle handle) throws IOException {
        List<HandleAndLocalPath> files = new ArrayList<>();
        for (List<HandleAndLocalPath> part : List.of(handle.getSharedState(), handle.getPrivateState())) {
            for (HandleAndLocalPath file : part) {
                files.add(HandleAndLocalPath.of(into.copy(file.getHandle()), file.getLocalPath()));
            }
        }
        return new IncrementalRemoteKeyedStateHandle(
                handle.getBackendIdentifier(),
                handle.getKeyGroupRange(),
                handle.getCheckpointId(),
                new ArrayList<>(),
                files,
                into.copy(handle.getMetaDataStateHandle()),
                handle.getCheckpointedSize());
    }
}
