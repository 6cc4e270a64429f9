package io.alluvium;

/** Which entries of a map, and in which direction. Each method makes another range of this one. */
public final class MapRange {
    private static final byte[] NONE = {};
    private static final MapRange ALL = new MapRange(0, NONE, 0, NONE, NONE, false);

    private final int fromKind;
    private final byte[] from;
    private final int toKind;
    private final byte[] to;
    private final byte[] prefix;
    private final boolean reverse;

    private MapRange(int fromKind, byte[] from, int toKind, byte[] to, byte[] prefix, boolean reverse) {
        this.fromKind = fromKind;
        this.from = from;
        this.toKind = toKind;
        this.to = to;
        this.prefix = prefix;
        this.reverse = reverse;
    }

    /** All entries, upwards. */
    public static MapRange all() {
        return ALL;
    }

    /** Those whose user keys are not below this one. */
    public MapRange from(byte[] userKey) {
        return new MapRange(1, userKey.clone(), toKind, to, prefix, reverse);
    }

    /** Those whose user keys are above this one. */
    public MapRange above(byte[] userKey) {
        return new MapRange(2, userKey.clone(), toKind, to, prefix, reverse);
    }

    /** Those whose user keys are not above this one. */
    public MapRange to(byte[] userKey) {
        return new MapRange(fromKind, from, 1, userKey.clone(), prefix, reverse);
    }

    /** Those whose user keys are below this one. */
    public MapRange below(byte[] userKey) {
        return new MapRange(fromKind, from, 2, userKey.clone(), prefix, reverse);
    }

    /** Those whose user keys begin with this. */
    public MapRange prefix(byte[] prefix) {
        return new MapRange(fromKind, from, toKind, to, prefix.clone(), reverse);
    }

    /** The same entries, from the last down to the first. */
    public MapRange reversed() {
        return new MapRange(fromKind, from, toKind, to, prefix, !reverse);
    }

    void write(Scratch scratch) {
        scratch.putInt(fromKind).putBytes(from).putInt(toKind).putBytes(to).putBytes(prefix).putFlag(reverse);
    }
}
