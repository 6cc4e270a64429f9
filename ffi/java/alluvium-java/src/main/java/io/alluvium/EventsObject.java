package io.alluvium;

import java.util.List;
import java.util.Objects;

/** What a writer does with events and with the past: having handlers apply events, taking them back, and bringing keys back. */
abstract class EventsObject extends CuttingObject {
    EventsObject(long handle, Store store, boolean shared) {
        super(handle, store, shared);
    }

    /**
     * Has a handler apply an event, to the state of one key group of this writer. With a changelog it is logged as the event or as what it changed, as
     * the states that it changed want it ({@link StateOptions#logMode}). What the handler changed before it fails stays.
     *
     * @throws AlluviumException with {@link Status#EVENT_HANDLER}, or the status that an operation of the handler failed with, where the handler threw
     *     something, which is the cause
     */
    public void applyEvent(HandlerId handler, int group, byte[] event) {
        Scratch own = Scratch.take();
        boolean locked = enter();
        try {
            own.putBytes(event);
            HandlerCall.begin();
            HandlerCall.check(Native.writerApplyEvent(
                    handle(), handler.in(store), group, own.in.address + Integer.BYTES, event.length));
        } finally {
            own.give();
            leave(locked);
        }
    }

    /**
     * The same with an event that is known by its id, and that happens once: false where it, or one of its source behind it, was applied to this key group
     * before. Its changes are in a commit or a checkpoint together. Where it changes a state that is {@linkplain StateOptions#traced traced} it is logged
     * with what it read and wrote, so that it can be {@linkplain #repair taken back}.
     *
     * @throws AlluviumException as {@link #applyEvent}; with {@link Status#OPTIONS} where the store has no changelog
     */
    public boolean applyEventOnce(HandlerId handler, int group, EventId id, byte[] event) {
        Scratch own = Scratch.take();
        boolean locked = enter();
        try {
            own.putBytes(event);
            HandlerCall.begin();
            return HandlerCall.check(Native.writerApplyEventOnce(
                    handle(), handler.in(store), group, id.source(), id.offset(), own.in.address + Integer.BYTES, event.length)) != 0;
        } finally {
            own.give();
            leave(locked);
        }
    }

    /**
     * Takes bad events back: what they and the events that depend on them wrote becomes what it would be had they never come. Once for each event: one
     * that was taken back is passed over. The events have to be in this writer's key groups, and to have changed {@linkplain StateOptions#traced
     * traced} states alone. It lasts with the next commit or checkpoint, as a whole.
     *
     * @throws AlluviumException with {@link Status#EVENT} where the changelog doesn't have one of the events any more, where no checkpoint is left from
     *     before it, where the way isn't sure, or where applying the events again doesn't come to what is there: nothing has changed then; with {@link
     *     Status#EVENT_HANDLER} where a handler isn't there in the version that applied them
     */
    public Repaired repair(List<EventId> bad, RepairWay way) {
        return repair(bad, way, 0);
    }

    /** What {@link #repair} would do, without doing it. What would change isn't known before. */
    public Repaired planRepair(List<EventId> bad, RepairWay way) {
        return repair(bad, way, 1);
    }

    private Repaired repair(List<EventId> bad, RepairWay way, int dry) {
        Scratch own = Scratch.take();
        boolean locked = enter();
        try {
            EventId.write(own, bad);
            HandlerCall.begin();
            own.answered(HandlerCall.check(Native.writerRepair(
                    handle(), way.ordinal(), dry, own.in.address, own.end, own.out.address, own.out.capacity)));
            return Repaired.read(own);
        } finally {
            own.give();
            leave(locked);
        }
    }

    /**
     * Makes up for one event by a function of the host's, for what only the host can undo. Once for each event: one that was taken back before, in
     * whatever way, is passed over, and the function isn't called. What it changed is written together with the record of that, lasts with the
     * next commit or checkpoint, and is told by {@link Repaired#retractions}, which are kept until they are {@linkplain #acknowledge acknowledged}. Where
     * other events read what came of it, it is refused.
     *
     * @throws AlluviumException with {@link Status#EVENT} where the changelog doesn't have the event any more, or others depend on it; with {@link
     *     Status#STATE} where the function reads or changes a state that it has no business with; with {@link Status#EVENT_HANDLER}, or the status that an
     *     operation of the function failed with, where it threw something, which is the cause. Nothing has changed then.
     */
    public Repaired compensate(EventId event, Compensation undo) {
        return compensate(event, undo, 0);
    }

    /**
     * The same where others may depend on the event: the host knows of them ({@link BadEvent#dependents}), and makes up for what they did as well, or leaves
     * it.
     */
    public Repaired compensateKnowingly(EventId event, Compensation undo) {
        return compensate(event, undo, 1);
    }

    private Repaired compensate(EventId event, Compensation undo, int known) {
        HandlerCall call = new HandlerCall(store, Objects.requireNonNull(undo));
        Scratch own = Scratch.take();
        boolean locked = enter();
        try {
            HandlerCall.begin();
            own.answered(HandlerCall.check(Native.writerCompensate(
                    handle(), call, known, event.source(), event.offset(), own.out.address, own.out.capacity)));
            return Repaired.read(own);
        } finally {
            own.give();
            leave(locked);
        }
    }

    /** What changed by repairs whose retractions the host hasn't {@linkplain #acknowledge acknowledged}: of this writer's key groups. */
    public List<Retraction> retractions() {
        Scratch own = Scratch.take();
        boolean locked = enter();
        try {
            own.answered(Native.writerRetractions(handle(), own.out.address, own.out.capacity));
            return own.takeList(Retraction::read);
        } finally {
            own.give();
            leave(locked);
        }
    }

    /**
     * Says that the host has the retractions of an event that was taken back in a key group: they aren't kept any longer than until the next commit or
     * checkpoint.
     */
    public void acknowledge(int group, EventId event) {
        boolean locked = enter();
        try {
            Failures.check(Native.writerAcknowledge(handle(), group, event.source(), event.offset()));
        } finally {
            leave(locked);
        }
    }

    /**
     * Brings keys of a state back to what they were at a moment: values, lists, merged values and whole maps, with the times at which they
     * expire. What wasn't there then is deleted, what is equal isn't written. These are changes as any others. Where it fails, keys before
     * the one that it failed at are brought back, and the same call goes on. {@link Status#CHECKPOINT}, {@link Status#POSITION} and {@link
     * Status#STATE} where it can't be told what they were.
     */
    public RolledBack rollbackKeys(State state, List<Key> keys, AsOf to) {
        Scratch own = Scratch.take();
        boolean locked = enter();
        try {
            to.write(own).putInt(keys.size());
            keys.forEach(own::putKey);
            own.answered(Native.writerRollbackKeys(
                    handle(), state.in(store), own.in.address, own.end, own.out.address, own.out.capacity));
            return RolledBack.read(own);
        } finally {
            own.give();
            leave(locked);
        }
    }

    /** As {@link #rollbackKeys}, the keys of a state in a range of the writer's key groups that begin with a prefix, in all namespaces. */
    public RolledBack rollbackPrefix(State state, KeyGroupRange groups, byte[] prefix, AsOf to) {
        Scratch own = Scratch.take();
        boolean locked = enter();
        try {
            to.write(own).putRange(groups).putBytes(prefix);
            own.answered(Native.writerRollbackPrefix(
                    handle(), state.in(store), own.in.address, own.end, own.out.address, own.out.capacity));
            return RolledBack.read(own);
        } finally {
            own.give();
            leave(locked);
        }
    }
}
