package io.alluvium;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** A trigger that fired ({@link Store#fired}). */
public final class Fired {
    private static final int BYTES = 1 << 15;

    private final long trigger;
    private final int group;
    private final EventId event;

    private Fired(Scratch scratch) {
        trigger = scratch.takeLong();
        group = scratch.takeInt();
        event = EventId.read(scratch);
    }

    /** What fired in a store. It is taken as there is memory for it, as what is taken beyond would be lost. */
    static List<Fired> all(long store) {
        List<Fired> all = new ArrayList<>();
        Scratch scratch = Scratch.take();
        try {
            boolean more = take(store, scratch, all);
            if (more) {
                // Once: to be told that there is no memory takes long.
                scratch.widen(BYTES);
            }
            while (more) {
                more = take(store, scratch, all);
            }
        } catch (AlluviumException failed) {
            // It was closed meanwhile; the caller gets what was taken before.
            if (all.isEmpty()) {
                throw failed;
            }
        } finally {
            scratch.give();
        }
        return Collections.unmodifiableList(all);
    }

    /** Adds what there is room for. Says whether there may be more. */
    private static boolean take(long store, Scratch scratch, List<Fired> all) {
        scratch.answered(Native.storeFired(store, scratch.out.address, scratch.out.capacity));
        scratch.takeLong();
        boolean more = scratch.takeFlag();
        all.addAll(scratch.takeList(Fired::new));
        return more;
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
