package io.alluvium;

import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/**
 * What is brought into memory when a store was opened, beside what is asked for ({@link StoreOptions#warmUp}). It serves meanwhile: who asks for
 * something that isn't there yet reads it at once, and nobody waits for the rest. It ends where memory is nearly full.
 */
public final class WarmUp {
    /** Nothing: what is asked for is read from disk, and stays. */
    public static final WarmUp NOTHING = new WarmUp(0, List.of());

    /** All that there is, in the order of its keys, where memory has room for all of it; else what {@link #HOTTEST} brings. */
    public static final WarmUp FITTING = new WarmUp(3, List.of());

    /** What was used most before, hottest first, where the store has a hot list ({@link StoreOptions#hotListBytes}); else nothing. */
    public static final WarmUp HOTTEST = new WarmUp(1, List.of());

    private final int which;
    private final List<Part> parts;

    private WarmUp(int which, List<Part> parts) {
        this.which = which;
        this.parts = parts;
    }

    /** These parts one after the other, each in the order of key groups, states and keys; all that there is, where there are none. */
    public static WarmUp declared(Part... parts) {
        return new WarmUp(2, List.copyOf(new ArrayList<>(List.of(parts))));
    }

    void write(Scratch scratch) {
        scratch.putInt(which).putInt(parts.size());
        for (Part part : parts) {
            scratch.putFlag(part.state != null).putText(part.state == null ? "" : part.state);
            scratch.putFlag(part.groups != null).putRange(part.groups == null ? KeyGroupRange.of(0, 0) : part.groups);
        }
    }

    /** A part of a store that is to be in memory. */
    public static final class Part {
        private final String state;
        private final KeyGroupRange groups;

        private Part(String state, KeyGroupRange groups) {
            this.state = state;
            this.groups = groups;
        }

        /** A state, by its name. One that isn't there is passed over. */
        public static Part state(String name) {
            return new Part(Objects.requireNonNull(name), null);
        }

        /** Key groups, with all states. */
        public static Part groups(KeyGroupRange groups) {
            return new Part(null, Objects.requireNonNull(groups));
        }

        /** The same, of these key groups alone. */
        public Part in(KeyGroupRange groups) {
            return new Part(state, Objects.requireNonNull(groups));
        }
    }
}
