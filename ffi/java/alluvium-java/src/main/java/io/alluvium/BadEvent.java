package io.alluvium;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** An event that is to be made up for ({@link Compensation}). */
public final class BadEvent {
    private final EventId id;
    private final int group;
    private final byte[] event;
    private final String handler;
    private final int version;
    private final long appliedAtMs;
    private final List<EventId> dependents;

    /** The native side tells all but the event itself in one piece. */
    BadEvent(byte[] event, byte[] told) {
        ByteBuffer in = ByteBuffer.wrap(told).order(ByteOrder.LITTLE_ENDIAN);
        this.event = event;
        id = EventId.of(in.getInt(), in.getLong());
        group = in.getInt();
        version = in.getInt();
        appliedAtMs = in.getLong();
        byte[] name = new byte[in.getInt()];
        in.get(name);
        handler = new String(name, StandardCharsets.UTF_8);
        int count = in.getInt();
        List<EventId> all = new ArrayList<>(count);
        for (int at = 0; at < count; at++) {
            all.add(EventId.of(in.getInt(), in.getLong()));
        }
        dependents = Collections.unmodifiableList(all);
    }

    /** Its id. */
    public EventId id() {
        return id;
    }

    /** The key group that it was applied to. */
    public int group() {
        return group;
    }

    /** The event itself. */
    public byte[] event() {
        return event.clone();
    }

    /** The name of the handler that applied it. */
    public String handler() {
        return handler;
    }

    /** That one's version. */
    public int version() {
        return version;
    }

    /** The writer's clock then, in ms. */
    public long appliedAtMs() {
        return appliedAtMs;
    }

    /** The events that depend on it, in the order in which they were applied. */
    public List<EventId> dependents() {
        return dependents;
    }
}
