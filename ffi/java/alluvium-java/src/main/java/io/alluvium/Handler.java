package io.alluvium;

/**
 * What a host does with events ({@link Store#handler}). It has to do the same whenever it is given the same event over the same state, as recovery and
 * {@linkplain Writer#repair repair} apply events again: clocks, random numbers and everything else that it reads elsewhere come through
 * {@link Applying#determinant}.
 *
 * <p>It is called by the thread that applies an event, makes the first writer or reader of a store whose changelog has some, or repairs; also by several at
 * once, for different key groups. The store and its writers refuse it with {@link Status#INSIDE_CALLBACK}: it reads and changes state through what it
 * is given.
 */
@FunctionalInterface
public interface Handler {
    /**
     * Applies an event.
     *
     * @throws Exception which fails the call that it came from, and is the cause of what that throws; what was changed before stays
     */
    void apply(byte[] event, Applying applying) throws Exception;
}
