package io.alluvium;

import java.util.List;

/** Which event of the host's sources it is. Of one source offsets rise: in each key group, what has a higher one comes later. */
public final class EventId {
    private final int source;
    private final long offset;

    private EventId(int source, long offset) {
        this.source = source;
        this.offset = offset;
    }

    /** The event at an offset of a source, as the host numbers them. */
    public static EventId of(int source, long offset) {
        return new EventId(source, offset);
    }

    static void write(Scratch scratch, List<EventId> ids) {
        scratch.putInt(ids.size());
        ids.forEach(id -> scratch.putInt(id.source).putLong(id.offset));
    }

    static EventId read(Scratch scratch) {
        return new EventId(scratch.takeInt(), scratch.takeLong());
    }

    /** The source. */
    public int source() {
        return source;
    }

    /** Where in it. */
    public long offset() {
        return offset;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof EventId && ((EventId) other).source == source && ((EventId) other).offset == offset;
    }

    @Override
    public int hashCode() {
        return 31 * Long.hashCode(offset) + source;
    }

    /** As {@code source:offset}. */
    @Override
    public String toString() {
        return Integer.toUnsignedString(source) + ":" + Long.toUnsignedString(offset);
    }
}
