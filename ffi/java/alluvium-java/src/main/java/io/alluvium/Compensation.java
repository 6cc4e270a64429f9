package io.alluvium;

/**
 * Makes up for an event, for what only the host can undo ({@link Writer#compensate}): reads and changes the state of the event's key group as it is now. It
 * can do neither with states that aren't {@linkplain StateOptions#traced traced}, or whose values expire. It is called inside that
 * call, by its thread, once for each key group that the event was applied to. The store and its writers refuse it with {@link Status#INSIDE_CALLBACK}.
 */
@FunctionalInterface
public interface Compensation {
    /**
     * Makes up for an event.
     *
     * @throws Exception which fails the call, and is the cause of what that throws; then nothing has changed
     */
    void undo(BadEvent event, Applying applying) throws Exception;
}
