package io.alluvium;

import java.util.Optional;

/** A state of a {@link Store}: its number there, and its kind. It is good for that store alone, and needs no closing. */
public final class State {
    /** What a state holds for each key and namespace. */
    public enum Kind {
        /** One value. */
        VALUE,
        /** A list, appended to without being read. */
        LIST,
        /** A map, ordered by its user keys' bytes. */
        MAP,
        /** One value, changed by a merge operator without being read. */
        MERGING;

        /** The kind of a number; empty where this version doesn't know it. */
        static Optional<Kind> of(int number) {
            return number >= 0 && number < values().length ? Optional.of(values()[number]) : Optional.empty();
        }
    }

    final Store store;
    final int number;
    private final Kind kind;
    private final String name;

    State(Store store, int number, Kind kind, String name) {
        this.store = store;
        this.number = number;
        this.kind = kind;
        this.name = name;
    }

    /** Its number in the store. */
    public int number() {
        return number;
    }

    /** Its kind. */
    public Kind kind() {
        return kind;
    }

    /** Its name. */
    public String name() {
        return name;
    }

    /** What the store knows of it besides. */
    private static final class Known {
        final String operator;
        final LogMode logMode;
        final boolean isTraced;
        final long ttlMs;
        final boolean refreshesOnRead;
        final long purgeMs;
        final int purgeTimeAt;

        Known(Scratch scratch) {
            scratch.takeInt();
            scratch.takeText();
            scratch.takeBytes();
            operator = scratch.takeText();
            logMode = LogMode.values()[scratch.takeInt()];
            isTraced = scratch.takeFlag();
            ttlMs = scratch.takeLong();
            refreshesOnRead = scratch.takeFlag();
            purgeMs = scratch.takeLong();
            purgeTimeAt = scratch.takeInt();
        }
    }

    private Known known() {
        Scratch scratch = Scratch.take();
        try {
            store.describe(scratch, number);
            return new Known(scratch);
        } finally {
            scratch.give();
        }
    }

    /** The name of its merge operator, as manifests have it; empty where it doesn't merge. */
    public Optional<String> operator() {
        String operator = known().operator;
        return operator.isEmpty() ? Optional.empty() : Optional.of(operator);
    }

    /** How what handlers of events change in it is logged ({@link StateOptions#logMode}). */
    public LogMode logMode() {
        return known().logMode;
    }

    /** Whether it is logged which events read and wrote what ({@link StateOptions#traced}). */
    public boolean isTraced() {
        return known().isTraced;
    }

    /** How long a value lives after it was written, in ms; 0: for ever ({@link StateOptions#ttl}). */
    public long ttlMs() {
        return known().ttlMs;
    }

    /** Whether reading starts that time anew. */
    public boolean refreshesOnRead() {
        return known().refreshesOnRead;
    }

    /** How long after its own time a value may be dropped, in ms; 0: never ({@link StateOptions#purge}). */
    public long purgeMs() {
        return known().purgeMs;
    }

    /** Where in a value its own time begins, in bytes. */
    public int purgeTimeAt() {
        return known().purgeTimeAt;
    }

    @Override
    public String toString() {
        return name + " (" + kind + ")";
    }

    /** The number, for a call on that store. */
    int in(Store store) {
        if (this.store != store) {
            throw new AlluviumException(Status.STATE, ErrorClass.USAGE, "the state " + name + " is another store's");
        }
        return number;
    }
}
