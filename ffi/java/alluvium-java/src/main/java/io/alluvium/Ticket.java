package io.alluvium;

import java.util.ArrayList;
import java.util.List;

/**
 * The answers to reads that were submitted. Any thread, one call at a time. Answers that weren't taken when it is closed are lost.
 *
 * <p>Nothing is called back: no thread of the engine ever enters Java. Ask {@link #isComplete} now and then, or have a thread {@linkplain
 * #await wait}.
 */
public final class Ticket extends NativeObject {
    /** Memory for answers that grew beyond this is not kept. */
    private static final int KEPT_BYTES_MAX = 1 << 20;

    private static final int CAPACITY = 512;

    private volatile boolean done;
    /** Whether answers are gone that were taken. */
    private boolean lost;

    Ticket(long handle, Store store) {
        super(TICKET, handle, store);
    }

    /**
     * Answers that came since it was last asked, in no particular order: all of them, or, where they have more than half a MiB, some, at least one.
     * The others come when it is asked again. What was read from disk is not kept in memory.
     */
    public List<Answer> poll() {
        Scratch scratch = Scratch.take();
        try {
            return taken(scratch, Native.ticketPoll(handle(), scratch.out.address, scratch.out.capacity));
        } finally {
            scratch.give();
        }
    }

    List<Answer> taken(Scratch scratch, long result) {
        Failures.check(result);
        if (lost) {
            throw new AlluviumException(Status.OTHER, ErrorClass.FAIL, "the ticket has lost answers that there was no memory for");
        }
        // Unless they get here: the library has given them.
        lost = true;
        if (result > Integer.MAX_VALUE - 8) {
            throw new AlluviumException(Status.TOO_LONG, ErrorClass.USAGE, "an answer of more than 2 GiB");
        }
        scratch.answered(result);
        boolean last = scratch.takeFlag();
        List<Answer> answers = new ArrayList<>();
        while (!scratch.isAtEnd()) {
            answers.add(new Answer(scratch));
        }
        if (scratch.out.capacity > KEPT_BYTES_MAX) {
            scratch.out = Memory.allocate(CAPACITY);
        }
        // Last: who was not given the answers, because of memory that was short, has not taken them.
        lost = false;
        done = last;
        return answers;
    }

    /** Whether all answers were taken. */
    public boolean isDone() {
        return done;
    }

    /** Whether all answers are there to be taken. */
    public boolean isComplete() {
        return Failures.check(Native.ticketIsComplete(handle())) != 0;
    }

    /** Waits until all answers are there to be taken. */
    public void await() {
        Failures.check(Native.ticketWait(handle()));
    }
}
