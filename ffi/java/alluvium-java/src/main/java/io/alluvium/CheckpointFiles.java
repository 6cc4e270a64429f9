package io.alluvium;

import java.util.ArrayList;
import java.util.List;

/** A checkpoint's files, which stay where they are until this is closed: for hosts that copy them away. Any thread may use it. */
public final class CheckpointFiles extends NativeObject {
    /** A file of a checkpoint. */
    public static final class File {
        private final String name;
        private final long bytes;
        private final boolean shared;

        private File(String name, long bytes, boolean shared) {
            this.name = name;
            this.bytes = bytes;
            this.shared = shared;
        }

        /** Its name in the store's directory. */
        public String name() {
            return name;
        }

        /** Its length in bytes. */
        public long bytes() {
            return bytes;
        }

        /** Whether the newest confirmed checkpoint before this one has it too. */
        public boolean isShared() {
            return shared;
        }
    }

    CheckpointFiles(long handle, Store store) {
        super(FILES, handle, store);
    }

    /** What is known of the checkpoint. */
    public CheckpointInfo info() {
        Scratch scratch = Scratch.take();
        try {
            scratch.answered(Native.filesInfo(handle(), scratch.out.address, scratch.out.capacity));
            return CheckpointInfo.read(scratch);
        } finally {
            scratch.give();
        }
    }

    /** The segments, and last the manifest. */
    public List<File> list() {
        Scratch scratch = Scratch.take();
        try {
            scratch.answered(Native.filesList(handle(), scratch.out.address, scratch.out.capacity));
            List<File> files = new ArrayList<>();
            for (int left = scratch.takeInt(); left > 0; left--) {
                files.add(new File(scratch.takeText(), scratch.takeLong(), scratch.takeFlag()));
            }
            return files;
        } finally {
            scratch.give();
        }
    }

    /** The manifest: what {@link Store#restoreAbsent} begins with. */
    public byte[] manifest() {
        Scratch scratch = Scratch.take();
        try {
            scratch.answered(Native.filesManifest(handle(), scratch.out.address, scratch.out.capacity));
            return scratch.takeAll();
        } finally {
            scratch.give();
        }
    }

    /** Bytes of a file, by its place in {@link #list}. */
    public byte[] read(int file, long offset, int len) {
        Memory memory = Memory.allocate(len);
        Failures.check(Native.filesRead(handle(), file, offset, memory.address, len));
        byte[] bytes = memory.bytes(0, len);
        memory.keep();
        return bytes;
    }
}
