package io.alluvium;

/** A trigger that fired ({@link Store#fired}). */
public final class Fired {
    private final long trigger;
    private final int group;
    private final EventId event;

    private Fired(Scratch scratch) {
        trigger = scratch.takeLong();
        group = scratch.takeInt();
        event = EventId.read(scratch);
    }

    static Fired read(Scratch scratch) {
        return new Fired(scratch);
    }

    /** The trigger's number. */
    public long trigger() {
        return trigger;
    }

    /** The event that it fired at. */
    public EventId event() {
        return event;
    }

    /** The event's key group. */
    public int group() {
        return group;
    }
}
