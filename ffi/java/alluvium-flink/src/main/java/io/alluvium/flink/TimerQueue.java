package io.alluvium.flink;

import io.alluvium.AlluviumException;
import io.alluvium.Entry;
import io.alluvium.Key;
import io.alluvium.State;
import io.alluvium.Writer;
import java.io.IOException;
import java.util.Arrays;
import java.util.Collection;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.core.memory.DataInputDeserializer;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.runtime.state.InternalPriorityQueue;
import org.apache.flink.runtime.state.heap.AbstractHeapPriorityQueueElement;
import org.apache.flink.util.CloseableIterator;
import org.apache.flink.util.FlinkRuntimeException;

/**
 * The timers of one key group: a map of the store with an empty key, whose user keys are the elements' bytes and whose values are empty. The
 * serializer makes bytes that are ordered as the elements are, so the map's first is the queue's head; and a map is a set.
 *
 * <p>The head alone is kept here, with whether it is known.
 */
final class TimerQueue<E> extends AbstractHeapPriorityQueueElement implements InternalPriorityQueue<E> {
    private static final int UNKNOWN = -1;

    private final Writer writer;
    private final State state;
    private final Key group;
    private final TypeSerializer<E> serializer;
    private final DataOutputSerializer out;
    private final DataInputDeserializer in;

    private boolean isHeadKnown;
    /** Null where there is none. */
    private byte[] headBytes;

    private E head;

    /** How many there are; below 0 until somebody asks, as to count them costs each addition a read. */
    private int size = UNKNOWN;

    /** The buffers may be shared with other queues of the task. */
    TimerQueue(
            Writer writer,
            State state,
            int group,
            TypeSerializer<E> serializer,
            DataOutputSerializer out,
            DataInputDeserializer in) {
        this.writer = writer;
        this.state = state;
        this.group = CurrentKey.key(Bytes.NONE, Bytes.NONE, group);
        this.serializer = serializer;
        this.out = out;
        this.in = in;
    }

    private byte[] bytes(E element) {
        try {
            out.clear();
            serializer.serialize(element, out);
            return out.getCopyOfBuffer();
        } catch (IOException e) {
            throw new FlinkRuntimeException("no bytes of the timer " + element, e);
        }
    }

    private E element(byte[] bytes) {
        try {
            in.setBuffer(bytes);
            return serializer.deserialize(in);
        } catch (IOException e) {
            throw new FlinkRuntimeException("a timer of " + state.name(), e);
        }
    }

    private byte[] headBytes() {
        if (!isHeadKnown) {
            try {
                Entry first = writer.mapFirst(state, group);
                headBytes = first == null ? null : first.userKey();
            } catch (AlluviumException e) {
                throw Failure.of(state.name(), e);
            }
            head = null;
            isHeadKnown = true;
        }
        return headBytes;
    }

    @Override
    public E peek() {
        byte[] bytes = headBytes();
        if (head == null && bytes != null) {
            head = element(bytes);
        }
        return head;
    }

    @Override
    public E poll() {
        E first = peek();
        if (first != null) {
            counted(-1);
            delete(headBytes);
            forgetHead();
        }
        return first;
    }

    private void forgetHead() {
        isHeadKnown = false;
        headBytes = null;
        head = null;
    }

    private void counted(int change) {
        if (size != UNKNOWN) {
            size += change;
        }
    }

    private boolean has(byte[] bytes) {
        try {
            return writer.mapContains(state, group, bytes);
        } catch (AlluviumException e) {
            throw Failure.of(state.name(), e);
        }
    }

    private void delete(byte[] bytes) {
        try {
            writer.mapDelete(state, group, bytes);
        } catch (AlluviumException e) {
            throw Failure.of(state.name(), e);
        }
    }

    @Override
    public boolean add(E toAdd) {
        byte[] bytes = bytes(toAdd);
        byte[] first = headBytes();
        if (size != UNKNOWN && !has(bytes)) {
            size++;
        }
        try {
            writer.mapPut(state, group, bytes, Bytes.NONE);
        } catch (AlluviumException e) {
            throw Failure.of(state.name(), e);
        }
        if (first != null && Arrays.compareUnsigned(first, bytes) <= 0) {
            return false;
        }
        // Not the element itself, which its owner may change.
        headBytes = bytes;
        head = null;
        return true;
    }

    @Override
    public boolean remove(E toRemove) {
        byte[] bytes = bytes(toRemove);
        byte[] first = headBytes();
        if (first == null) {
            return false;
        }
        if (size != UNKNOWN && has(bytes)) {
            size--;
        }
        delete(bytes);
        if (!Arrays.equals(first, bytes)) {
            return false;
        }
        forgetHead();
        return true;
    }

    @Override
    public boolean isEmpty() {
        return headBytes() == null;
    }

    /** Goes through all of them the first time, and from then on counts. */
    @Override
    public int size() {
        if (size == UNKNOWN) {
            int count = 0;
            for (EntryPages pages = new EntryPages(writer, state, () -> group); pages.hasNext(); pages.next()) {
                count++;
            }
            size = count;
        }
        return size;
    }

    @Override
    public void addAll(Collection<? extends E> toAdd) {
        if (toAdd != null) {
            toAdd.forEach(this::add);
        }
    }

    @Override
    public CloseableIterator<E> iterator() {
        EntryPages pages = new EntryPages(writer, state, () -> group);
        return new CloseableIterator<E>() {
            @Override
            public boolean hasNext() {
                return pages.hasNext();
            }

            @Override
            public E next() {
                return element(pages.next().userKey);
            }

            @Override
            public void close() {}
        };
    }
}
