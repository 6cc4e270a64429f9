package io.alluvium;

import java.nio.file.Path;
import java.nio.file.Paths;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;

/** What a directory holds ({@link Store#describe}). */
public final class DirectoryReport {
    /** What a file is to the store. */
    public enum Role {
        /** A manifest. */
        MANIFEST,
        /** A segment that a readable manifest names. */
        SEGMENT,
        /** A segment that no readable manifest names. */
        ORPHAN,
        /** A file that was never completed. */
        TEMPORARY,
        /** A file of the changelog. */
        CHANGELOG,
        /** A hot list. */
        HOT_LIST,
        /** The file that is locked while a store is open. */
        LOCK,
        /** No file of a store. */
        OTHER
    }

    private final Path path;
    private final List<Manifest> manifests;
    private final List<File> files;

    DirectoryReport(Scratch scratch) {
        path = Paths.get(scratch.takeText());
        manifests = scratch.takeList(Manifest::new);
        files = scratch.takeList(File::new);
    }

    /** The directory's absolute path. */
    public Path path() {
        return path;
    }

    /** The manifests, in ascending order of their numbers. */
    public List<Manifest> manifests() {
        return manifests;
    }

    /** The files, in ascending order of their names. */
    public List<File> files() {
        return files;
    }

    /** A manifest of the directory. */
    public static final class Manifest {
        private final long number;
        private final Content content;
        private final String problem;

        private Manifest(Scratch scratch) {
            number = scratch.takeLong();
            boolean isReadable = scratch.takeFlag();
            content = isReadable ? new Content(scratch) : null;
            problem = isReadable ? null : scratch.takeText();
        }

        /** The number that its name says. */
        public long number() {
            return number;
        }

        /** What it says; empty where it can't be read. */
        public Optional<Content> content() {
            return Optional.ofNullable(content);
        }

        /** Why it can't be read; empty where it can. */
        public Optional<String> problem() {
            return Optional.ofNullable(problem);
        }
    }

    /** What a manifest says. */
    public static final class Content {
        private final boolean hasLabel;
        private final long label;
        private final Instant created;
        private final int keyGroups;
        private final KeyGroupRange range;
        private final long segments;
        private final long position;
        private final List<StateReport> states;

        private Content(Scratch scratch) {
            hasLabel = scratch.takeFlag();
            label = scratch.takeLong();
            created = Instant.ofEpochMilli(scratch.takeLong());
            keyGroups = scratch.takeInt();
            int first = scratch.takeInt();
            range = KeyGroupRange.of(first, scratch.takeInt());
            segments = scratch.takeLong();
            position = scratch.takeLong();
            states = scratch.takeList(StateReport::new);
        }

        /** The checkpoint's label; empty where it is none of the host's. */
        public OptionalLong label() {
            return hasLabel ? OptionalLong.of(label) : OptionalLong.empty();
        }

        /** When it was made, by the machine's clock. */
        public Instant created() {
            return created;
        }

        /** How many key groups the whole job has. */
        public int keyGroups() {
            return keyGroups;
        }

        /** The store's key groups. */
        public KeyGroupRange range() {
            return range;
        }

        /** How many segments it names. */
        public long segments() {
            return segments;
        }

        /** The position in the changelog before which it has everything; 0 where there never was one. */
        public long position() {
            return position;
        }

        /** The states, in the order of their numbers. */
        public List<StateReport> states() {
            return states;
        }
    }

    /** A state, as a manifest has it. */
    public static final class StateReport {
        private final int number;
        private final int kind;
        private final String name;
        private final String merge;

        private StateReport(Scratch scratch) {
            number = scratch.takeInt();
            kind = scratch.takeInt();
            name = scratch.takeText();
            merge = scratch.takeText();
        }

        /** Its number in the store. */
        public int number() {
            return number;
        }

        /** Its kind; empty where this version doesn't know it. */
        public Optional<State.Kind> kind() {
            return State.Kind.of(kind);
        }

        /** Its name. */
        public String name() {
            return name;
        }

        /** The merge operator's name; empty where there is none. */
        public Optional<String> merge() {
            return merge.isEmpty() ? Optional.empty() : Optional.of(merge);
        }
    }

    /** A file of the directory. */
    public static final class File {
        private final Role role;
        private final long bytes;
        private final String name;

        private File(Scratch scratch) {
            role = Role.values()[scratch.takeInt()];
            bytes = scratch.takeLong();
            name = scratch.takeText();
        }

        /** What it is. */
        public Role role() {
            return role;
        }

        /** Its length, in bytes. */
        public long bytes() {
            return bytes;
        }

        /** Its name. */
        public String name() {
            return name;
        }
    }
}
