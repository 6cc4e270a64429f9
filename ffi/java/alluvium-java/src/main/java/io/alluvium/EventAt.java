package io.alluvium;

/** An event and where the changelog has it. */
public final class EventAt {
    private final long position;
    private final int group;
    private final EventId id;

    private EventAt(Scratch scratch) {
        position = scratch.takeLong();
        group = scratch.takeInt();
        id = EventId.read(scratch);
    }

    static EventAt read(Scratch scratch) {
        return new EventAt(scratch);
    }

    /** The position of its record. */
    public long position() {
        return position;
    }

    /** Its key group. */
    public int group() {
        return group;
    }

    /** Its id. */
    public EventId id() {
        return id;
    }
}
