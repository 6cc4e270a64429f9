package io.alluvium;

/** How the native side calls a handler, a function that makes up for an event, or an invariant. */
final class HandlerCall {
    /** What the last handler of this thread threw. */
    private static final ThreadLocal<Throwable> THROWN = new ThreadLocal<>();

    private static final int DONE = 0;
    private static final int DOES_NOT_HOLD = 0;
    private static final int HOLDS = 1;
    /** None of these. */
    private static final int THREW = 3;

    private final Store store;
    private final Handler handler;
    private final Compensation compensation;
    private final Invariant invariant;

    private HandlerCall(Store store, Handler handler, Compensation compensation, Invariant invariant) {
        this.store = store;
        this.handler = handler;
        this.compensation = compensation;
        this.invariant = invariant;
    }

    HandlerCall(Store store, Handler handler) {
        this(store, handler, null, null);
    }

    HandlerCall(Store store, Compensation compensation) {
        this(store, null, compensation, null);
    }

    HandlerCall(Store store, Invariant invariant) {
        this(store, null, null, invariant);
    }

    private interface Body {
        int run(Applying applying) throws Exception;
    }

    /** Called by the native side, through which nothing may be thrown: 0, or a number above it, or the status that an operation failed with. */
    int apply(byte[] event, long id) {
        return run(id, applying -> {
            handler.apply(event, applying);
            return DONE;
        });
    }

    /** The same of a function that makes up for an event. */
    int undo(byte[] event, byte[] told, long id) {
        return run(id, applying -> {
            compensation.undo(new BadEvent(event, told), applying);
            return DONE;
        });
    }

    /** The same of an invariant, but that it says 1 where it holds, and 0 where it doesn't. */
    int holds(byte[] event, long id) {
        return run(id, applying -> invariant.holds(event, applying) ? HOLDS : DOES_NOT_HOLD);
    }

    private int run(long id, Body body) {
        Applying applying = new Applying(id, store);
        try {
            return body.run(applying);
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
