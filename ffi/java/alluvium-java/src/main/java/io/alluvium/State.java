package io.alluvium;

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
        MERGING
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
