package io.alluvium;

/** What a writer says of all that its store's writers wrote: checkpoints, commits, aborts. */
abstract class CuttingObject extends OwnedObject {
    final Store store;
    /** Of whoever has entered. */
    final Scratch scratch = new Scratch();

    CuttingObject(long handle, Store store, boolean shared) {
        super(handle, store, shared);
        this.store = store;
    }

    /** {@link Store#checkpoint} of the writer's store, all its writers included: from the thread of a writer it is the shorter way. */
    public PendingCheckpoint checkpoint(Checkpoint checkpoint) {
        boolean locked = enter();
        try {
            scratch.end = 0;
            checkpoint.write(scratch);
            long result = Native.writerBarrier(handle(), scratch.out.address, scratch.in.address, scratch.end);
            return new PendingCheckpoint(scratch.handle(result), store);
        } finally {
            leave(locked);
        }
    }

    /** {@link Store#commit(Commit)} of the writer's store, all its writers included, the shorter way. */
    public CommitInfo commit(Commit commit) {
        boolean locked = enter();
        try {
            scratch.end = 0;
            commit.write(scratch);
            scratch.answered(Native.writerCommit(
                    handle(), scratch.in.address, scratch.end, scratch.out.address, scratch.out.capacity));
            return CommitInfo.read(scratch);
        } finally {
            leave(locked);
        }
    }

    /** {@link Store#commit(Commit, Lasting)} of the writer's store, all its writers included, the shorter way. */
    public Committed commit(Commit commit, Lasting lasting) {
        boolean locked = enter();
        try {
            scratch.end = 0;
            commit.write(scratch);
            long result = Native.writerCommitLasting(
                    handle(), scratch.out.address, lasting.ordinal(), scratch.in.address, scratch.end);
            return new Committed(scratch.handle(result), store);
        } finally {
            leave(locked);
        }
    }

    /** {@link Store#abortTransaction} of the writer's store, the shorter way. */
    public void abortTransaction() {
        boolean locked = enter();
        try {
            Failures.check(Native.writerAbortTransaction(handle()));
        } finally {
            leave(locked);
        }
    }
}
