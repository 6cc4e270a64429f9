package io.alluvium;

import java.util.List;
import java.util.Optional;

/** What changed at a key, or a map's entry, by a repair: what whoever was told of what was before has to hear. */
public final class Retraction {
    /** What a key, or a map's entry, holds: a value, or the elements of a list. */
    public static final class Content {
        private final boolean isList;
        private final List<byte[]> parts;

        private Content(boolean isList, List<byte[]> parts) {
            this.isList = isList;
            this.parts = parts;
        }

        private static Optional<Content> read(Scratch scratch) {
            switch (scratch.takeInt()) {
                case 0:
                    return Optional.empty();
                case 1:
                    return Optional.of(new Content(false, List.of(scratch.takeBytes())));
                default:
                    return Optional.of(new Content(true, scratch.takeList(Scratch::takeBytes)));
            }
        }

        /** Whether it is a list. */
        public boolean isList() {
            return isList;
        }

        /** The value; null where it is a list. */
        public byte[] value() {
            return isList ? null : parts.get(0).clone();
        }

        /** The elements of the list; none where it is a value. */
        public List<byte[]> elements() {
            return isList ? parts : List.of();
        }
    }

    private final EventId event;
    private final int state;
    private final int group;
    private final byte[] key;
    private final byte[] namespace;
    private final byte[] userKey;
    private final Optional<Content> before;
    private final Optional<Content> after;

    private Retraction(Scratch scratch) {
        event = EventId.read(scratch);
        state = scratch.takeInt();
        group = scratch.takeInt();
        key = scratch.takeBytes();
        namespace = scratch.takeBytes();
        boolean isEntry = scratch.takeFlag();
        byte[] found = scratch.takeBytes();
        userKey = isEntry ? found : null;
        before = Content.read(scratch);
        after = Content.read(scratch);
    }

    static Retraction read(Scratch scratch) {
        return new Retraction(scratch);
    }

    /** The event that was taken back, and that {@link Writer#acknowledge} wants. */
    public EventId event() {
        return event;
    }

    /** The state's number. */
    public int state() {
        return state;
    }

    /** The key group. */
    public int group() {
        return group;
    }

    /** The key. */
    public byte[] key() {
        return key.clone();
    }

    /** The namespace. */
    public byte[] namespace() {
        return namespace.clone();
    }

    /** The user key of a map's entry; null where it is none. */
    public byte[] userKey() {
        return userKey == null ? null : userKey.clone();
    }

    /** What it held. */
    public Optional<Content> before() {
        return before;
    }

    /** What it holds since. */
    public Optional<Content> after() {
        return after;
    }
}
