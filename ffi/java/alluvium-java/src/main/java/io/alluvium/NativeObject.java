package io.alluvium;

import java.lang.ref.Cleaner;

/**
 * What stands for an object of the native library. It has to be closed; where it is forgotten, that is reported, and the object released
 * when this is collected ({@link Leaks}).
 */
abstract class NativeObject implements AutoCloseable {
    /** The numbers of the native side's kinds. */
    static final int ENGINE = 1;

    static final int SHARE = 2;
    static final int STORE = 3;
    static final int WRITER = 4;
    static final int READER = 5;
    static final int SNAPSHOT = 6;
    static final int CURSOR = 7;
    static final int TICKET = 8;
    static final int PENDING = 9;
    static final int FILES = 11;
    static final int FETCHES = 12;
    static final int ITERATOR = 13;
    static final int BULK_LOAD = 14;
    static final int COMMIT = 17;
    static final int PAST = 18;

    private final Leaks.Shell shell;
    private final Cleaner.Cleanable cleanable;
    /** Kept reachable: nothing is released before what was made from it. */
    private final NativeObject parent;

    NativeObject(int kind, long handle, NativeObject parent) {
        this.parent = parent;
        shell = new Leaks.Shell(kind, handle, getClass().getSimpleName());
        cleanable = Leaks.watch(this, shell);
    }

    /** What to call the library with; 0 once it is closed, which the library refuses. */
    final long handle() {
        return shell.handle;
    }

    final NativeObject parent() {
        return parent;
    }

    /** Whether it was closed. */
    public final boolean isClosed() {
        return shell.handle == 0;
    }

    /**
     * Closes it. Closing twice does nothing.
     *
     * @throws StillOpenException while something that was made from it is open; then it stays open
     * @throws RetryException while another thread uses it; then it stays open
     */
    @Override
    public void close() {
        close(handle -> Native.close(shell.kind, handle));
    }

    interface Closing {
        long close(long handle);
    }

    /** Closes it so, and says what the library answered; {@link Native#NOT_FOUND} where it was closed before. */
    final long close(Closing closing) {
        synchronized (shell) {
            long handle = shell.handle;
            if (handle == 0) {
                return Native.NOT_FOUND;
            }
            long result = closing.close(handle);
            if (Failures.isMisuse(result) && result != Status.HANDLE.code() && result != Status.PANIC.code()) {
                throw Failures.exception(result, shell.name);
            }
            shell.handle = 0;
            cleanable.clean();
            if (result < 0 && result != Status.HANDLE.code()) {
                throw Failures.exception(result, shell.name);
            }
            return result;
        }
    }

    /** Says whether it is open. */
    @Override
    public String toString() {
        return shell.name + (isClosed() ? " (closed)" : "");
    }
}
