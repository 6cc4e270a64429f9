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
    private volatile boolean done;
    /** Whether answers are gone that were taken. */
    private boolean lost;

    Ticket(long handle, Store store) {
        super(TICKET, handle, store);
    }

    /** The answers that came since it was last asked, in no particular order. What was read from disk is not kept in memory. */
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
        scratch.answered(result);
        done = scratch.takeFlag();
        List<Answer> answers = new ArrayList<>();
        while (!scratch.isAtEnd()) {
            answers.add(new Answer(scratch));
        }
        lost = false;
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
