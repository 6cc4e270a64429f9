package io.alluvium;

import java.util.List;

/**
 * What the operator {@link StateOptions.Operator#MULTISET} takes and gives: elements with counts, which may be below 0 for a while. Operands are multisets
 * too, and counts add up, so that what was added can be taken away again, in any order.
 */
public final class Multiset {
    private Multiset() {}

    /** An element, and how often it is there. */
    public static final class Counted {
        private final long count;
        private final byte[] element;

        private Counted(Scratch scratch) {
            count = scratch.takeLong();
            element = scratch.takeBytes();
        }

        /** The element. */
        public byte[] element() {
            return element;
        }

        /** How often it is there. */
        public long count() {
            return count;
        }
    }

    private interface Call {
        long run(long request, int len, long into, int capacity);
    }

    private interface Answer<T> {
        T read(Scratch scratch);
    }

    private static <T> T call(Call call, Scratch scratch, Answer<T> answer) {
        scratch.answered(call.run(scratch.in.address, scratch.end, scratch.out.address, scratch.out.capacity));
        return answer.read(scratch);
    }

    /** The operand that adds an element so many times; a count below 0 takes away. */
    public static byte[] operand(byte[] element, long count) {
        NativeLibrary.ensureLoaded();
        Scratch scratch = Scratch.take();
        try {
            return call(Native::multisetOperand, scratch.putLong(count).putBytes(element), Scratch::takeAll);
        } finally {
            scratch.give();
        }
    }

    /** How often an element is in a multiset; 0 for bytes that are none. */
    public static long count(byte[] multiset, byte[] element) {
        NativeLibrary.ensureLoaded();
        Scratch scratch = Scratch.take();
        try {
            return call(Native::multisetCount, scratch.putBytes(multiset).putBytes(element), Scratch::takeLong);
        } finally {
            scratch.give();
        }
    }

    /** The elements of a multiset, ascending. {@link Status#ARGUMENT} for bytes that are none. */
    public static List<Counted> elements(byte[] multiset) {
        NativeLibrary.ensureLoaded();
        Scratch scratch = Scratch.take();
        try {
            return call(Native::multisetElements, scratch.putBytes(multiset), out -> out.takeList(Counted::new));
        } finally {
            scratch.give();
        }
    }

    /** The {@code k} greatest elements that count above 0, greatest first. {@link Status#ARGUMENT} for bytes that are no multiset. */
    public static List<Counted> top(byte[] multiset, long k) {
        NativeLibrary.ensureLoaded();
        Scratch scratch = Scratch.take();
        try {
            return call(Native::multisetTop, scratch.putLong(k).putBytes(multiset), out -> out.takeList(Counted::new));
        } finally {
            scratch.give();
        }
    }
}
