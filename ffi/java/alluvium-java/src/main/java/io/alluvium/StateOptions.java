package io.alluvium;

import java.util.Objects;

/** How a state is registered: its kind, its name (1 to 1,024 bytes), and how long values live. */
public final class StateOptions {
    /** What merging states do with operands. All but multisets are of 8 bytes, little-endian. */
    public enum Operator {
        /** Sums of unsigned numbers. */
        U64_ADD("u64-add"),
        /** Minima of unsigned numbers. */
        U64_MIN("u64-min"),
        /** Maxima of unsigned numbers. */
        U64_MAX("u64-max"),
        /** Sums of longs. */
        I64_ADD("i64-add"),
        /** Minima of longs. */
        I64_MIN("i64-min"),
        /** Maxima of longs. */
        I64_MAX("i64-max"),
        /** Sums of doubles. */
        F64_ADD("f64-add"),
        /** Minima of doubles. */
        F64_MIN("f64-min"),
        /** Maxima of doubles. */
        F64_MAX("f64-max"),
        /** Counts of elements, which can be taken away again: operands and values are multisets. */
        MULTISET("multiset");

        private final String code;

        Operator(String code) {
            this.code = code;
        }
    }

    final State.Kind kind;
    final String name;
    private final String operator;
    private long ttlMs;
    private boolean refreshOnRead;
    private long purgeMs;
    private int timeAt;
    private byte[] schema = {};
    private LogMode logMode = LogMode.STATE;
    private boolean traced;

    private StateOptions(State.Kind kind, String name, String operator) {
        this.kind = kind;
        this.name = name;
        this.operator = operator;
    }

    /** A state of values. */
    public static StateOptions value(String name) {
        return new StateOptions(State.Kind.VALUE, name, "");
    }

    /** A state of lists. */
    public static StateOptions list(String name) {
        return new StateOptions(State.Kind.LIST, name, "");
    }

    /** A state of maps. */
    public static StateOptions map(String name) {
        return new StateOptions(State.Kind.MAP, name, "");
    }

    /** A state of values that are merged. */
    public static StateOptions merging(String name, Operator operator) {
        return new StateOptions(State.Kind.MERGING, name, operator.code);
    }

    /** How long a value lives after it was written, in ms by the writer's clock; and whether reading starts that time anew. */
    public StateOptions ttl(long ms, boolean refreshOnRead) {
        ttlMs = ms;
        this.refreshOnRead = refreshOnRead;
        return this;
    }

    /**
     * Compaction may drop a value so many ms after its own time, which begins at the byte {@code timeAt} of it: ms since 1970, as 8 bytes,
     * big-endian. Not together with a time to live.
     */
    public StateOptions purge(long ms, int timeAt) {
        purgeMs = ms;
        this.timeAt = timeAt;
        return this;
    }

    /** The host's schema, which is kept with the state. Empty: what is known of it stays. */
    public StateOptions schema(byte[] schema) {
        this.schema = schema.clone();
        return this;
    }

    /** How changes that a {@link Handler} makes for an event get into the changelog ({@link LogMode#STATE}). */
    public StateOptions logMode(LogMode mode) {
        logMode = Objects.requireNonNull(mode);
        return this;
    }

    /**
     * Which events read and wrote its keys is logged ({@link Writer#applyEventOnce}): some bytes for each event, by which it can be found out what depends
     * on it, and it can be taken back.
     */
    public StateOptions traced() {
        traced = true;
        return this;
    }

    void write(Scratch scratch) {
        scratch.putInt(kind.ordinal()).putText(name).putText(operator);
        scratch.putLong(ttlMs).putFlag(refreshOnRead).putLong(purgeMs).putInt(timeAt).putBytes(schema).putInt(logMode.ordinal()).putFlag(traced);
    }
}
