package io.alluvium;

import java.util.Optional;

/** How much of a state lies in segments of one level ({@link Store#usage}). */
public final class Usage {
    private final String state;
    private final int kind;
    private final int level;
    private final long segments;
    private final long records;
    private final long tombstones;
    private final long logicalBytes;

    Usage(Scratch scratch) {
        state = scratch.takeText();
        kind = scratch.takeInt();
        level = scratch.takeInt();
        segments = scratch.takeLong();
        records = scratch.takeLong();
        tombstones = scratch.takeLong();
        logicalBytes = scratch.takeLong();
    }

    /** The state's name. */
    public String state() {
        return state;
    }

    /** Its kind; empty where this version doesn't know it. */
    public Optional<State.Kind> kind() {
        return State.Kind.of(kind);
    }

    /** The segments' level: 0 as flushed, 1 merged, 2 merged to the bottom. */
    public int level() {
        return level;
    }

    /** How many segments have anything of it. */
    public long segments() {
        return segments;
    }

    /** How many records, tombstones and older versions included. */
    public long records() {
        return records;
    }

    /** How many of them are tombstones, clears included. */
    public long tombstones() {
        return tombstones;
    }

    /** Bytes of keys, namespaces, user keys and values. */
    public long logicalBytes() {
        return logicalBytes;
    }
}
