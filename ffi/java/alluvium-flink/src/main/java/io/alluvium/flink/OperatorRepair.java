package io.alluvium.flink;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;

/**
 * What of one operator is repaired by a {@link CheckpointRepair}: key groups or keys, with all of their states or some. They go back to what the
 * older checkpoint has of them, or are {@linkplain #remove removed}.
 */
public final class OperatorRepair {
    /** A key as it was given: as text, or as the bytes that its serializer makes. */
    static final class GivenKey {
        final String text;
        final byte[] bytes;

        private GivenKey(String text, byte[] bytes) {
            this.text = text;
            this.bytes = bytes;
        }

        @Override
        public String toString() {
            return text == null ? hex(bytes) : text;
        }
    }

    final String operator;
    final BitSet keyGroups = new BitSet();
    final List<GivenKey> keys = new ArrayList<>();
    /** None: all of them. */
    final Set<String> states = new LinkedHashSet<>();

    private boolean removes;

    private OperatorRepair(String operator) {
        this.operator = operator;
    }

    /** Of the operator with this uid, this id (32 hexadecimal digits) or this name. */
    public static OperatorRepair of(String operator) {
        return new OperatorRepair(Objects.requireNonNull(operator));
    }

    /** These key groups, both ends included. */
    public OperatorRepair keyGroups(int first, int last) {
        if (first < 0 || last < first || last > Short.MAX_VALUE) {
            throw new IllegalArgumentException("no range of key groups: " + first + "-" + last);
        }
        keyGroups.set(first, last + 1);
        return this;
    }

    /**
     * Key groups as on a command line: {@code 3-7,12}.
     *
     * @throws IllegalArgumentException where the text is something else
     */
    public OperatorRepair keyGroups(String list) {
        for (String part : list.split(",", -1)) {
            String[] ends = part.trim().split("-", -1);
            try {
                int first = Integer.parseInt(ends[0].trim());
                int last = ends.length == 1 ? first : Integer.parseInt(ends[1].trim());
                if (ends.length > 2) {
                    throw new NumberFormatException(part);
                }
                keyGroups(first, last);
            } catch (NumberFormatException e) {
                throw new IllegalArgumentException("not a list of key groups, such as 3-7,12: " + list, e);
            }
        }
        return this;
    }

    /** One key, which is a text or a whole number, in all namespaces. */
    public OperatorRepair key(String text) {
        keys.add(new GivenKey(Objects.requireNonNull(text), null));
        return this;
    }

    /** One key, by the bytes that its serializer makes, in all namespaces. */
    public OperatorRepair keyBytes(byte[] bytes) {
        keys.add(new GivenKey(null, bytes.clone()));
        return this;
    }

    /** Of this state alone, and of others that are named. Timers are states, too. */
    public OperatorRepair state(String name) {
        states.add(Objects.requireNonNull(name));
        return this;
    }

    /** They are removed, as if nothing had ever come for them. */
    public OperatorRepair remove() {
        removes = true;
        return this;
    }

    boolean removes() {
        return removes;
    }

    /** Whether it is of whole key groups, with all that there is in them. */
    boolean isWhole() {
        return keys.isEmpty() && states.isEmpty();
    }

    /** Whether it is of this state, among others. */
    boolean has(String state) {
        return states.isEmpty() || states.contains(state);
    }

    static String hex(byte[] bytes) {
        StringBuilder digits = new StringBuilder("0x");
        for (byte each : bytes) {
            digits.append(String.format("%02x", each));
        }
        return digits.toString();
    }

    /** Key groups as they are given: {@code 3-7,12}. */
    static String list(BitSet groups) {
        StringBuilder list = new StringBuilder();
        for (int first = groups.nextSetBit(0); first >= 0; ) {
            int end = groups.nextClearBit(first);
            list.append(list.length() == 0 ? "" : ",").append(first);
            if (end - 1 > first) {
                list.append('-').append(end - 1);
            }
            first = groups.nextSetBit(end);
        }
        return list.toString();
    }
}
