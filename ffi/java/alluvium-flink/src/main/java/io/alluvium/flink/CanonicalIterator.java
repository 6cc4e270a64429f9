package io.alluvium.flink;

import io.alluvium.AlluviumException;
import io.alluvium.CheckpointIterator;
import java.io.IOException;
import java.util.Collections;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyValueStateIterator;
import org.apache.flink.runtime.state.heap.HeapPriorityQueueStateSnapshot;

/**
 * Everything of a canonical savepoint, by key group, then state: first what the store's checkpoint has of a key group, which comes in that
 * order, then the heap's timers.
 */
final class CanonicalIterator implements KeyValueStateIterator {
    private final CheckpointIterator items;
    private final Map<Integer, CanonicalResources.Written> states = new HashMap<>();
    private final List<HeapPriorityQueueStateSnapshot<?>> queues;
    private final int firstQueue;
    private final int lastGroup;
    private final CanonicalFormat<?> format;
    private final DataOutputSerializer out = new DataOutputSerializer(64);

    /** The store's next; null at the end. */
    private CheckpointIterator.Item item;

    /** Where the heap's timers are: in which key group, in which queue, and what is left of that. */
    private int group;

    private int queue = -1;
    private Iterator<?> elements = Collections.emptyIterator();

    private boolean valid;
    private int currentGroup = -1;
    private int currentState = -1;
    private boolean isNewGroup;
    private boolean isNewState;
    private byte[] key;
    private byte[] value;

    CanonicalIterator(
            CheckpointIterator items,
            List<CanonicalResources.Written> written,
            List<HeapPriorityQueueStateSnapshot<?>> queues,
            KeyGroupRange range,
            CanonicalFormat<?> format)
            throws IOException {
        this.items = items;
        written.forEach(state -> states.put(state.registered.state.number(), state));
        this.queues = queues;
        firstQueue = written.size();
        group = range.getStartKeyGroup();
        lastGroup = range.getEndKeyGroup();
        this.format = format;
        try {
            item = items.hasNext() ? items.next() : null;
            next();
        } catch (AlluviumException e) {
            items.close();
            throw Failure.io("a checkpoint that a savepoint is written from", e);
        } catch (Throwable e) {
            items.close();
            throw e;
        }
    }

    @Override
    public void next() throws IOException {
        try {
            valid = advance();
        } catch (AlluviumException e) {
            throw Failure.io("a checkpoint that a savepoint is written from", e);
        }
    }

    private boolean advance() throws IOException {
        while (group <= lastGroup) {
            while (item != null && item.group() == group) {
                CheckpointIterator.Item taken = item;
                item = items.hasNext() ? items.next() : null;
                if (take(taken)) {
                    return true;
                }
            }
            if (elements.hasNext()) {
                take(elements.next());
                return true;
            }
            if (++queue < queues.size()) {
                elements = queues.get(queue).getIteratorForKeyGroup(group);
            } else {
                queue = -1;
                group++;
            }
        }
        return false;
    }

    /** Makes an item of the store the current entry; false where it is left out. */
    private boolean take(CheckpointIterator.Item taken) throws IOException {
        CanonicalResources.Written state = states.get(taken.state().number());
        if (state == null) {
            // What the store has, but Flink doesn't: timers that went to the heap.
            return false;
        }
        if (!state.registered.isKeyed()) {
            current(taken.group(), state.place, format.element(taken.group(), taken.userKey()), Bytes.NONE);
            return true;
        }
        boolean isList = taken.state().kind() == io.alluvium.State.Kind.LIST;
        byte[] stored = isList ? CanonicalFormat.join(taken.elements()) : taken.value();
        byte[] transformed = state.transformer == null ? stored : state.transformer.filterOrTransform(stored);
        if (transformed == null) {
            return false;
        }
        byte[] userKey = taken.userKey() == null ? Bytes.NONE : taken.userKey();
        TypeSerializer<?> namespaceSerializer = state.registered.keyed().getNamespaceSerializer();
        current(
                taken.group(),
                state.place,
                format.key(taken.group(), taken.key(), taken.namespace(), userKey, namespaceSerializer),
                transformed);
        return true;
    }

    @SuppressWarnings("unchecked")
    private void take(Object element) throws IOException {
        out.clear();
        ((TypeSerializer<Object>) queues.get(queue).getMetaInfo().getElementSerializer()).serialize(element, out);
        current(group, firstQueue + queue, format.element(group, out.getCopyOfBuffer()), Bytes.NONE);
    }

    private void current(int ofGroup, int ofState, byte[] ofKey, byte[] ofValue) {
        isNewGroup = ofGroup != currentGroup;
        isNewState = ofState != currentState;
        currentGroup = ofGroup;
        currentState = ofState;
        key = ofKey;
        value = ofValue;
    }

    @Override
    public int keyGroup() {
        return currentGroup;
    }

    @Override
    public byte[] key() {
        return key;
    }

    @Override
    public byte[] value() {
        return value;
    }

    @Override
    public int kvStateId() {
        return currentState;
    }

    @Override
    public boolean isNewKeyValueState() {
        return isNewState;
    }

    @Override
    public boolean isNewKeyGroup() {
        return isNewGroup;
    }

    @Override
    public boolean isValid() {
        return valid;
    }

    @Override
    public void close() {
        items.close();
    }
}
