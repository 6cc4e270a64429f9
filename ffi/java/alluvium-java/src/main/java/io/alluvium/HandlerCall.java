package io.alluvium;

/** How the native side calls a handler, or a function that makes up for an event. */
final class HandlerCall {
    /** What the last handler of this thread threw. */
    private static final ThreadLocal<Throwable> THROWN = new ThreadLocal<>();

    private static final int THREW = 1;

    private final Store store;
    private final Handler handler;
    private final Compensation compensation;

    HandlerCall(Store store, Handler handler) {
        this.store = store;
        this.handler = handler;
        this.compensation = null;
    }

    HandlerCall(Store store, Compensation compensation) {
        this.store = store;
        this.handler = null;
        this.compensation = compensation;
    }

    private interface Body {
        void run(Applying applying) throws Exception;
    }

    /** Called by the native side, through which nothing may be thrown: 0, or a number above it, or the status that an operation failed with. */
    int apply(byte[] event, long id) {
        return run(id, applying -> handler.apply(event, applying));
    }

    /** The same of a function that makes up for an event. */
    int undo(byte[] event, byte[] told, long id) {
        return run(id, applying -> compensation.undo(new BadEvent(event, told), applying));
    }

    private int run(long id, Body body) {
        Applying applying = new Applying(id, store);
        try {
            body.run(applying);
            return 0;
        } catch (Throwable thrown) {
            THROWN.set(thrown);
            return thrown instanceof AlluviumException ? ((AlluviumException) thrown).status().code() : THREW;
        } finally {
            applying.end();
        }
    }

    /** Before a call that may have handlers apply events: what one threw before is none of its business. */
    static void begin() {
        THROWN.remove();
    }

    /** The result of a call that handlers may have failed, with what they threw as the cause of its exception. */
    static long check(long result) {
        Throwable thrown = THROWN.get();
        THROWN.remove();
        if (result >= 0) {
            return result;
        }
        AlluviumException exception = Failures.exception(result, null);
        if (thrown != null && thrown != exception) {
            exception.initCause(thrown);
        }
        throw exception;
    }
}
