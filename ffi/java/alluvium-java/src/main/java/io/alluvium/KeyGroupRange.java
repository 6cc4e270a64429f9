package io.alluvium;

/** Key groups from one to another, both included. */
public final class KeyGroupRange {
    private final int first;
    private final int last;

    private KeyGroupRange(int first, int last) {
        this.first = first;
        this.last = last;
    }

    /**
     * The range of these ends.
     *
     * @throws IllegalArgumentException unless {@code 0 <= first <= last <= 65,535}
     */
    public static KeyGroupRange of(int first, int last) {
        if (first < 0 || last > 65_535 || first > last) {
            throw new IllegalArgumentException("no range of key groups: " + first + " to " + last);
        }
        return new KeyGroupRange(first, last);
    }

    /** The first key group. */
    public int first() {
        return first;
    }

    /** The last key group. */
    public int last() {
        return last;
    }

    /** Whether a key group is in it. */
    public boolean contains(int group) {
        return first <= group && group <= last;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof KeyGroupRange && ((KeyGroupRange) other).first == first && ((KeyGroupRange) other).last == last;
    }

    @Override
    public int hashCode() {
        return 65_537 * first + last;
    }

    @Override
    public String toString() {
        return first + " to " + last;
    }
}
