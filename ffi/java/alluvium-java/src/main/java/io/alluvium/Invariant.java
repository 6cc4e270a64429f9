package io.alluvium;

/**
 * What is to hold after each event ({@link Store#watch(Invariant)}). It reads the state of the event's key group; what would change that is refused with {@link
 * Status#OPTIONS}. It is called by the thread that applied the event, inside that call; also by several at once, for different key groups. The store and
 * its writers refuse it with {@link Status#INSIDE_CALLBACK}.
 */
@FunctionalInterface
public interface Invariant {
    /**
     * Whether it holds.
     *
     * @throws Exception which fails the call that applied the event, and is the cause of what that throws; the event stays applied, and the trigger doesn't fire then,
     *     and is looked at again
     */
    boolean holds(byte[] event, Applying applying) throws Exception;
}
