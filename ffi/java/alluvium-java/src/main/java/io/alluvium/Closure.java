package io.alluvium;

import java.util.List;

/** What depends on some events ({@link Store#closure}). */
public final class Closure {
    private final long keys;
    private final long suffixEvents;
    private final List<EventAt> events;

    private Closure(Scratch scratch) {
        keys = scratch.takeLong();
        suffixEvents = scratch.takeLong();
        events = scratch.takeList(EventAt::read);
    }

    static Closure read(Scratch scratch) {
        return new Closure(scratch);
    }

    /** The events themselves and those that depend on them, in the order in which they were applied. */
    public List<EventAt> events() {
        return events;
    }

    /** How many keys and entries they wrote. */
    public long keys() {
        return keys;
    }

    /** How many traced events the changelog has from the first of them on, about. */
    public long suffixEvents() {
        return suffixEvents;
    }
}
