package io.alluvium;

import java.lang.ref.Cleaner;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Objects that were collected without being closed: a bug of the program, which is logged, with where the object was made if the system
 * property {@code alluvium.leaks} is {@code trace}. Then it is released, after whatever was made from it.
 */
final class Leaks {
    private static final System.Logger LOG = System.getLogger("io.alluvium");
    private static final boolean TRACE = "trace".equals(System.getProperty("alluvium.leaks"));
    private static final Cleaner CLEANER = Cleaner.create();
    /** Those that something made from them, or a call that was still running, hindered. The cleaner's thread alone uses it. */
    private static final List<Shell> HINDERED = new ArrayList<>();

    private Leaks() {}

    static Cleaner.Cleanable watch(NativeObject object, Shell shell) {
        return CLEANER.register(object, shell);
    }

    private static void release() {
        while (HINDERED.removeIf(Shell::isReleased)) {
            // What was released may have hindered another.
        }
        if (!HINDERED.isEmpty()) {
            // Nobody refers to this object, so the cleaner comes back with the next collection.
            CLEANER.register(new Object(), Leaks::release);
        }
    }

    /** What is left of an object that was collected. */
    static final class Shell implements Runnable {
        final int kind;
        final String name;
        private final Throwable made;
        /** 0 once it is closed. Closing writes it under this shell's lock; a call that reads an old one is refused. */
        long handle;

        Shell(int kind, long handle, String name) {
            this.kind = kind;
            this.handle = handle;
            this.name = name;
            made = TRACE ? new Throwable("where it was made") : null;
        }

        @Override
        public void run() {
            if (handle == 0) {
                return;
            }
            String hint = TRACE ? "" : "; -Dalluvium.leaks=trace says where it was made";
            LOG.log(System.Logger.Level.WARNING, "a " + name + " was not closed" + hint, made);
            HINDERED.add(this);
            release();
        }

        private boolean isReleased() {
            long result = released();
            if (result == Status.HAS_CHILDREN.code() || result == Status.IN_USE.code()) {
                return false;
            }
            handle = 0;
            return true;
        }

        /**
         * By a thread of its own: the operating system keeps a library for as long as a thread lives that has called it, and the cleaner's ends
         * only when the library is to go.
         */
        private long released() {
            AtomicLong result = new AtomicLong(Status.IN_USE.code());
            Thread releasing = new Thread(() -> result.set(call()), "releasing a " + name);
            releasing.setDaemon(true);
            try {
                releasing.start();
            } catch (OutOfMemoryError noThread) {
                return call();
            }
            try {
                releasing.join();
            } catch (InterruptedException interrupted) {
                // It is asked for again, and found released then.
                Thread.currentThread().interrupt();
            }
            return result.get();
        }

        private long call() {
            long result = Native.release(kind, handle);
            boolean isHindered = result == Status.HAS_CHILDREN.code() || result == Status.IN_USE.code();
            if (result < 0 && !isHindered && result != Status.HANDLE.code()) {
                LOG.log(System.Logger.Level.WARNING, "releasing it", Failures.exception(result, name));
            }
            return result;
        }
    }
}
