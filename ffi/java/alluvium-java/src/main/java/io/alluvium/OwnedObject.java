package io.alluvium;

import java.lang.invoke.VarHandle;
import java.lang.ref.Reference;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Whose a writer is. The library checks that too; here it is checked before a call touches the memory that a writer's calls use, and
 * without leaving Java.
 */
abstract class OwnedObject extends NativeObject {
    /** The end of a thread reaches the native library a moment after Java knows of it. */
    private static final long ENDING_NS = 1_000_000_000;

    private final ReentrantLock lock = new ReentrantLock();
    /** Null while it is nobody's, or everybody's. A thread finds itself here only if it wrote that, so it needs no ordering. */
    private Thread owner;

    private volatile boolean shared;

    OwnedObject(long handle, Store store, boolean shared) {
        super(WRITER, handle, store);
        this.shared = shared;
        owner = shared ? null : Thread.currentThread();
    }

    /** Takes the right to use the memory of this writer, and says whether a lock is held. */
    final boolean enter() {
        return owner != Thread.currentThread() && enterShared();
    }

    private boolean enterShared() {
        if (!shared) {
            if (isClosed()) {
                throw new ClosedException(Status.HANDLE, "the writer is closed");
            }
            throw new WrongThreadException("the writer belongs to another thread, or to none: see adopt and share");
        }
        lock.lock();
        return true;
    }

    final void leave(boolean locked) {
        // Until here nobody may find it unreachable, and release what the call uses.
        Reference.reachabilityFence(this);
        if (locked) {
            lock.unlock();
        }
    }

    /** Gives it up to the thread that adopts it first. */
    public void giveAway() {
        if (owner != Thread.currentThread()) {
            throw new WrongThreadException("only its thread gives a writer away");
        }
        // Before others can take it.
        owner = null;
        // Pairs with the fence of adopt: who takes it sees what was done with it.
        VarHandle.releaseFence();
        long result = Native.writerGiveAway(handle());
        if (result < 0) {
            owner = Thread.currentThread();
            Failures.check(result);
        }
    }

    /** Makes it the calling thread's, if it was given away or its thread has ended. A virtual thread shares it with all by that. */
    public void adopt() {
        Thread before = owner;
        if (before == Thread.currentThread()) {
            return;
        }
        boolean ended = before != null && !before.isAlive();
        if (shared || (before != null && !ended)) {
            throw new WrongThreadException("the writer belongs to " + (shared ? "all threads" : before.getName()));
        }
        boolean virtual = Threads.isVirtual();
        long result = Native.writerAdopt(handle(), virtual ? 1 : 0);
        long until = System.nanoTime() + ENDING_NS;
        while (ended && result == Status.WRONG_THREAD.code() && System.nanoTime() < until) {
            Thread.onSpinWait();
            result = Native.writerAdopt(handle(), virtual ? 1 : 0);
        }
        Failures.check(result);
        VarHandle.acquireFence();
        owner = virtual ? null : Thread.currentThread();
        shared = virtual;
    }

    /** Lets any thread use it from now on, one waiting for the other, which costs each call a lock. */
    public void share() {
        if (shared) {
            return;
        }
        if (owner != Thread.currentThread()) {
            throw new WrongThreadException("only its thread shares a writer");
        }
        Failures.check(Native.writerShare(handle()));
        owner = null;
        shared = true;
    }
}
