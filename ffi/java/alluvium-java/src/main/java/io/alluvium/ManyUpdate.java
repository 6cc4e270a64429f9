package io.alluvium;

/** What {@link Writer#updateMany} makes of values. */
@FunctionalInterface
public interface ManyUpdate {
    /** The new value of the key at this place in {@link Keys}, made of the old one. Null stands for none, before and after. */
    byte[] change(int index, byte[] old);
}
