package io.alluvium;

import java.util.List;
import java.util.OptionalLong;

/** What a repair did, or would do, in a key group. */
public final class GroupRepair {
    private final int group;
    private final RepairWay way;
    private final long dependents;
    private final long appliedAgain;
    private final boolean isWholeGroup;
    private final OptionalLong from;
    private final List<EventId> bad;

    private GroupRepair(Scratch scratch) {
        group = scratch.takeInt();
        way = RepairWay.values()[scratch.takeInt()];
        dependents = scratch.takeLong();
        appliedAgain = scratch.takeLong();
        isWholeGroup = scratch.takeFlag();
        boolean begins = scratch.takeFlag();
        long label = scratch.takeLong();
        from = begins ? OptionalLong.of(label) : OptionalLong.empty();
        bad = scratch.takeList(EventId::read);
    }

    static GroupRepair read(Scratch scratch) {
        return new GroupRepair(scratch);
    }

    /** The key group. */
    public int group() {
        return group;
    }

    /** How. */
    public RepairWay way() {
        return way;
    }

    /** The bad events in it, but for those that were taken back before. */
    public List<EventId> bad() {
        return bad;
    }

    /** How many events depend on them. */
    public long dependents() {
        return dependents;
    }

    /** How many events are applied again, the bad ones aside. */
    public long appliedAgain() {
        return appliedAgain;
    }

    /** Whether these are all of the key group since the checkpoint. */
    public boolean isWholeGroup() {
        return isWholeGroup;
    }

    /** The label of the checkpoint that it begins at; empty where it begins with nothing, or needs none. */
    public OptionalLong from() {
        return from;
    }
}
