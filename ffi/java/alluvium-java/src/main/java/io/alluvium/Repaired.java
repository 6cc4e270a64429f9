package io.alluvium;

import java.util.List;

/** What a repair came to ({@link Writer#repair}). */
public final class Repaired {
    private final Closure closure;
    private final List<GroupRepair> groups;
    private final List<EventId> before;
    private final List<Retraction> retractions;

    private Repaired(Scratch scratch) {
        closure = Closure.read(scratch);
        groups = scratch.takeList(GroupRepair::read);
        before = scratch.takeList(EventId::read);
        retractions = scratch.takeList(Retraction::read);
    }

    static Repaired read(Scratch scratch) {
        return new Repaired(scratch);
    }

    /** What depends on the bad events, those that were taken back before aside. */
    public Closure closure() {
        return closure;
    }

    /** What was done, by key group. */
    public List<GroupRepair> groups() {
        return groups;
    }

    /** The events that had been taken back before: nothing was done about them. */
    public List<EventId> before() {
        return before;
    }

    /** What changed, in the order of key groups, states and keys; of a plan nothing. */
    public List<Retraction> retractions() {
        return retractions;
    }
}
