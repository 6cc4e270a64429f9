package io.alluvium;

import java.nio.ByteBuffer;

/**
 * The functions of the native library. Arguments are numbers; bytes lie at addresses of direct buffers, which the caller keeps
 * reachable until the call returns. Results below 0 are {@link #NOT_FOUND}, {@link #PENDING}, or a failure's status.
 */
final class Native {
    /** Goes up whenever an argument or answer below changes. */
    static final int INTERFACE_VERSION = 11;
    /** There is no such thing, or no more of them. */
    static final long NOT_FOUND = -1_000;
    /** It isn't there yet. */
    static final long PENDING = -1_001;

    private Native() {}

    static native long address(ByteBuffer direct);

    static native long interfaceVersion();

    static native long nothing(
            long handle, int state, int group, long key, int keyLen, int nsLen, long into, int capacity);

    static native long failure(long into, int capacity);

    static native long keptAnswer(long number, long into, int capacity);

    static native long openObjects();

    static native long close(int kind, long handle);

    static native long release(int kind, long handle);

    // Engines.

    static native long engineOpen(long out, int threads, long budget, long ceiling, int storage, int pageCache);

    static native long engineCloseWithin(long engine, long patienceMs);

    static native long engineBudget(long engine);

    static native long engineUsed(long engine);

    static native long engineSetBudget(long engine, long bytes);

    static native long shareOpen(long engine, long out, long minimum, long limit);

    static native long shareUsed(long share);

    static native long shareSetLimit(long share, long limit);

    // Stores and states.

    static native long storeOpen(long engine, long out, long request, int len);

    static native long storeGroupOf(long store, long key, int len);

    static native long storeNumber(long store, int which);

    static native long storeCompact(long store);

    static native long storeWarm(long store, long address, int len);

    static native long storeAwaitWarm(long store, long address, int len);

    static native long storeRecovery(long store, long into, int capacity);

    static native long storeMetrics(long store, long request, int len, long into, int capacity);

    static native long verify(long request, int len, long into, int capacity);

    static native long describe(long request, int len, long into, int capacity);

    static native long usage(long request, int len, long into, int capacity);

    static native long storeState(long store, long request, int len);

    static native long storeDescribe(long store, int state, long into, int capacity);

    // Writers: values and lists.

    static native long writerOpen(long store, long out, int first, int last, int shared);

    static native long writerGiveAway(long writer);

    static native long writerAdopt(long writer, int shared);

    static native long writerShare(long writer);

    static native long writerSetTime(long writer, long nowMs);

    static native long writerGet(
            long writer, int state, int group, long key, int keyLen, int nsLen, long into, int capacity);

    static native long writerPut(
            long writer, int state, int group, long key, int keyLen, int nsLen, long value, int len);

    static native long writerDelete(long writer, int state, int group, long key, int keyLen, int nsLen);

    static native long writerMerge(
            long writer, int state, int group, long key, int keyLen, int nsLen, long operand, int len);

    static native long writerAppend(
            long writer, int state, int group, long key, int keyLen, int nsLen, long element, int len);

    static native long writerList(
            long writer, int state, int group, long key, int keyLen, int nsLen, long into, int capacity);

    static native long writerAppendAll(
            long writer, int state, int group, long key, int keyLen, int nsLen, long list, int len);

    static native long writerPutList(
            long writer, int state, int group, long key, int keyLen, int nsLen, long list, int len);

    static native long writerMergeNamespaces(
            long writer, int state, int group, long key, int keyLen, int nsLen, long sources, int len);

    // Writers: maps. The user key lies behind the key and its namespace.

    static native long writerMapGet(
            long writer, int state, int group, long key, int keyLen, int nsLen, int userLen, long into, int capacity);

    static native long writerMapContains(
            long writer, int state, int group, long key, int keyLen, int nsLen, int userLen);

    static native long writerMapPut(
            long writer, int state, int group, long key, int keyLen, int nsLen, int userLen, long value, int len);

    static native long writerMapDelete(
            long writer, int state, int group, long key, int keyLen, int nsLen, int userLen);

    static native long writerMapDeleteRange(
            long writer, int state, int group, long key, int keyLen, int nsLen, long range, int len);

    static native long writerMapExpire(
            long writer, int state, int group, long key, int keyLen, int nsLen, long before);

    static native long writerMapClear(long writer, int state, int group, long key, int keyLen, int nsLen);

    static native long writerMapEdge(
            long writer, int state, int group, long key, int keyLen, int nsLen, int which, long into, int capacity);

    static native long writerMapPopBelow(
            long writer, int state, int group, long key, int keyLen, int nsLen, int userLen, long into, int capacity);

    // Batches and tickets.

    static native long writerGetMany(
            long writer, int state, int count, long keysIndex, long keysData, int keysLen,
            long valuesIndex, long valuesData, int capacity);

    static native long writerWriteMany(
            long writer, int state, int operation, int count, long keysIndex, long keysData, int keysLen,
            long valuesIndex, long valuesData, int valuesLen);

    static native long writerPrefetch(
            long writer, int state, int count, long keysIndex, long keysData, int keysLen);

    static native long writerApply(long writer, long batch, int len);

    static native long writerSubmit(long writer, long batch, int len, long out);

    static native long writerIsFull(long writer);

    static native long writerPoll(long writer, long ticket, long into, int capacity);

    static native long ticketPoll(long ticket, long into, int capacity);

    static native long ticketWait(long ticket);

    static native long ticketIsComplete(long ticket);

    // Cursors.

    static native long cursorOpen(long store, long out, int what, int state, long request, int len);

    static native long cursorSetBatch(long cursor, long records, long bytes);

    static native long writerFetch(long writer, long cursor, long into, int capacity);

    static native long readerFetch(long reader, long cursor, long into, int capacity);

    static native long snapshotFetch(long snapshot, long cursor, long into, int capacity);

    // Readers and snapshots.

    static native long readerOpen(long store, long out, int committed);

    static native long readerSetTime(long reader, long nowMs);

    static native long readerGet(
            long reader, int state, int group, long key, int keyLen, int nsLen, long into, int capacity);

    static native long readerList(
            long reader, int state, int group, long key, int keyLen, int nsLen, long into, int capacity);

    static native long readerMapGet(
            long reader, int state, int group, long key, int keyLen, int nsLen, int userLen, long into, int capacity);

    static native long readerMapContains(
            long reader, int state, int group, long key, int keyLen, int nsLen, int userLen);

    static native long snapshotOpen(long store, long out);

    static native long snapshotWait(long snapshot);

    static native long snapshotSetTime(long snapshot, long nowMs);

    static native long snapshotGet(
            long snapshot, int state, int group, long key, int keyLen, int nsLen, long into, int capacity);

    static native long snapshotList(
            long snapshot, int state, int group, long key, int keyLen, int nsLen, long into, int capacity);

    static native long snapshotMapGet(
            long snapshot, int state, int group, long key, int keyLen, int nsLen, int userLen, long into, int capacity);

    // The past.

    static native long storeAsOf(long store, long out, long label);

    static native long storePosition(long store);

    static native long pastOpen(long store, long out, long position);

    static native long pastSetTime(long past, long nowMs);

    static native long pastGet(
            long past, int state, int group, long key, int keyLen, int nsLen, long into, int capacity);

    static native long pastList(
            long past, int state, int group, long key, int keyLen, int nsLen, long into, int capacity);

    static native long pastMapGet(
            long past, int state, int group, long key, int keyLen, int nsLen, int userLen, long into, int capacity);

    static native long pastEntries(long past, int state, long request, int len, long into, int capacity);

    static native long writerRollbackKeys(long writer, int state, long request, int len, long into, int capacity);

    static native long writerRollbackPrefix(long writer, int state, long request, int len, long into, int capacity);

    // Events, rollback and repair.

    static native long storeHandler(long store, HandlerCall call, long request, int len);

    static native long writerApplyEvent(long writer, int handler, int group, long event, int len);

    static native long writerApplyEventOnce(
            long writer, int handler, int group, int source, long offset, long event, int len);

    static native long applyingNumber(long applying, int which);

    static native long applyingDeterminant(long applying, long drawn, int len, long into, int capacity);

    static native long applyingGet(
            long applying, int state, int group, long key, int keyLen, int nsLen, long into, int capacity);

    static native long applyingAdd(
            long applying, int operation, int state, int group, long key, int keyLen, int nsLen, long value, int len);

    static native long applyingDelete(long applying, int state, int group, long key, int keyLen, int nsLen);

    static native long applyingList(
            long applying, int state, int group, long key, int keyLen, int nsLen, long into, int capacity);

    static native long applyingAppendAll(
            long applying, int state, int group, long key, int keyLen, int nsLen, long list, int len);

    static native long applyingPutList(
            long applying, int state, int group, long key, int keyLen, int nsLen, long list, int len);

    static native long applyingMergeNamespaces(
            long applying, int state, int group, long key, int keyLen, int nsLen, long sources, int len);

    static native long applyingMapGet(
            long applying, int state, int group, long key, int keyLen, int nsLen, int userLen, long into, int capacity);

    static native long applyingMapContains(
            long applying, int state, int group, long key, int keyLen, int nsLen, int userLen);

    static native long applyingMapFirst(
            long applying, int state, int group, long key, int keyLen, int nsLen, int pop, long into, int capacity);

    static native long applyingMapPut(
            long applying, int state, int group, long key, int keyLen, int nsLen, int userLen, long value, int len);

    static native long applyingMapDelete(
            long applying, int state, int group, long key, int keyLen, int nsLen, int userLen);

    static native long applyingMapDeleteRange(
            long applying, int state, int group, long key, int keyLen, int nsLen, long range, int len);

    static native long applyingMapClear(long applying, int state, int group, long key, int keyLen, int nsLen);

    static native long applyingEntries(long applying, int state, long request, int len, long into, int capacity);

    static native long storeRollback(
            long store, int first, int last, long label, long request, int len, long into, int capacity);

    static native long storeRollbackToPosition(
            long store, int first, int last, long position, long request, int len, long into, int capacity);

    static native long writerRepair(long writer, int way, int dry, long request, int len, long into, int capacity);

    static native long writerCompensate(
            long writer, HandlerCall call, int known, int source, long offset, long into, int capacity);

    static native long writerRetractions(long writer, long into, int capacity);

    static native long writerAcknowledge(long writer, int group, int source, long offset);

    static native long storeClosure(long store, long request, int len, long into, int capacity);

    static native long storeProvenance(long store, int state, long request, int len, long into, int capacity);

    static native long storeAlreadyApplied(long store, int group, int source, long offset);

    static native long storeWatch(long store, int what, int source, long offset);

    static native long storeWatchInvariant(long store, HandlerCall call);

    static native long storeUnwatch(long store, long trigger);

    static native long storeFired(long store, long into, int capacity);

    // Multisets.

    static native long multisetOperand(long request, int len, long into, int capacity);

    static native long multisetCount(long request, int len, long into, int capacity);

    static native long multisetElements(long request, int len, long into, int capacity);

    static native long multisetTop(long request, int len, long into, int capacity);

    // Checkpoints, commits, files.

    static native long storeBarrier(long store, long out, long request, int len);

    static native long writerBarrier(long writer, long out, long request, int len);

    static native long pendingLabel(long pending, long into, int capacity);

    static native long pendingWait(long pending, long into, int capacity);

    static native long pendingPoll(long pending, long into, int capacity);

    static native long pendingAbort(long pending);

    static native long storeCheckpoints(long store, long into, int capacity);

    static native long storeRestored(long store, long into, int capacity);

    static native long storeNextCheckpoint(long store, long into, int capacity);

    static native long storePredictedRecovery(long store);

    static native long storeCheckpointConflict(long store, long into, int capacity);

    static native long storeObserveInput(long store, long units);

    static native long storeObserveReplay(long store, long units, long tookNs);

    static native long storeObserveRates(long store, double input, double capacity);

    static native long storeObserveCheckpointCost(long store, long lostNs);

    static native long storeSay(long store, int what, long label);

    static native long storeExport(long store, long label, long directory, int len);

    static native long storeCommit(long store, long request, int len, long into, int capacity);

    static native long writerCommit(long writer, long request, int len, long into, int capacity);

    static native long storeCommitLasting(long store, long out, int lasting, long request, int len);

    static native long writerCommitLasting(long writer, long out, int lasting, long request, int len);

    static native long commitWait(long commit);

    static native long commitPoll(long commit);

    static native long commitPosition(long commit);

    static native long commitInfo(long commit, long into, int capacity);

    static native long storeAbortTransaction(long store);

    static native long writerAbortTransaction(long writer);

    static native long storeLastCommit(long store, long into, int capacity);

    static native long storeFiles(long store, long label, long out);

    static native long filesList(long files, long into, int capacity);

    static native long filesInfo(long files, long into, int capacity);

    static native long filesManifest(long files, long into, int capacity);

    static native long filesRead(long files, int index, long offset, long into, int len);

    static native long storeIterate(long store, long label, long out);

    static native long iteratorNext(long iterator, int bytesMax, long into, int capacity);

    // Fetches and loads.

    static native long storeFetches(long store, long out);

    static native long fetchesWait(long fetches, long timeoutMs, int max, long into, int capacity);

    static native long fetchesWaitDemanded(long fetches, long timeoutMs, int max, long into, int capacity);

    static native long fetchesWake(long fetches);

    static native long fetchesPrefer(long fetches, long file, int fileLen, long offset, long len);

    static native long fetchesComplete(long fetches, long id, long data, int len);

    static native long fetchesFail(long fetches, long id, long problem, int len);

    static native long fetchesRefuse(long fetches, long id, int fault, long problem, int len);

    static native long fetchesCancel(long fetches);

    static native long fetchesAbsent(long fetches);

    static native long fetchesAbsentBytes(long fetches);

    static native long bulkBegin(long store, long records, long out);

    static native long bulkSetTime(long load, long nowMs);

    static native long bulkPut(
            long load, int state, int group, long key, int keyLen, int nsLen, long value, int len);

    static native long bulkPutList(
            long load, int state, int group, long key, int keyLen, int nsLen, long list, int len);

    static native long bulkMapPut(
            long load, int state, int group, long key, int keyLen, int nsLen, int userLen, long value, int len);

    static native long bulkFinish(long load);
}
