package io.alluvium;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

/**
 * One directory of state. Any thread may use it. Closing it waits for what is under way; what was written after the last checkpoint is
 * lost then, with a changelog what was after the last commit.
 */
public final class Store extends NativeObject {
    private static final int CREATE = 0;
    private static final int OPEN = 1;
    private static final int OPEN_OR_CREATE = 2;
    private static final int OPEN_CHECKPOINT = 3;
    private static final int RESTORE = 4;
    private static final int RESTORE_ABSENT = 5;

    private final int keyGroups;
    private final KeyGroupRange range;
    /**
     * By their names' numbers and their versions, as the native side has them, which refers to them only as long as somebody else does. Whoever
     * registers one holds its lock, so that both sides have the same of two that are registered at once.
     */
    private final Map<List<Long>, HandlerCall> handlers = new HashMap<>();
    /** Kept for the same reason, by their triggers. */
    private final Map<Long, HandlerCall> invariants = new ConcurrentHashMap<>();

    private Store(long handle, Engine engine) {
        super(STORE, handle, engine);
        keyGroups = number(0);
        range = KeyGroupRange.of(number(1), number(2));
    }

    private interface More {
        void write(Scratch scratch);
    }

    private static Store open(Engine engine, int how, Path path, StoreOptions options, More more) {
        Scratch scratch = Scratch.take();
        try {
            scratch.putInt(how).putText(path.toString());
            options.write(scratch);
            more.write(scratch);
            long result =
                    Native.storeOpen(engine.handle(), scratch.out.address, scratch.in.address, scratch.end);
            return new Store(scratch.handle(result), engine);
        } finally {
            scratch.give();
        }
    }

    /**
     * Creates a store in a directory that has none ({@link Status#EXISTS} else); a missing one is made with its parents. Segments that a
     * process left there which died before its first checkpoint was complete are deleted.
     */
    public static Store create(Engine engine, Path path, StoreOptions options) {
        return open(engine, CREATE, path, options, scratch -> {});
    }

    /**
     * Opens a store at its newest checkpoint, and at the last commit behind it that lasts where there is a changelog; a directory with
     * neither is refused ({@link Status#NO_CHECKPOINT}).
     */
    public static Store open(Engine engine, Path path, StoreOptions options) {
        return open(engine, OPEN, path, options, scratch -> {});
    }

    /** As {@link #open}, or creates a store where there is none. */
    public static Store openOrCreate(Engine engine, Path path, StoreOptions options) {
        return open(engine, OPEN_OR_CREATE, path, options, scratch -> {});
    }

    /**
     * Opens a store at the checkpoint of this label in place of the newest: what was done after it is given up. Checkpoints that are younger
     * stay on disk only until the next one of this store is complete. With a changelog, what was committed after this checkpoint is void, and
     * {@link #open} doesn't find the younger ones any more. Whoever may want them back copies the directory first. {@link Status#CHECKPOINT}
     * where there is none of this label.
     */
    public static Store openCheckpoint(Engine engine, Path path, long label, StoreOptions options) {
        return open(engine, OPEN_CHECKPOINT, path, options, scratch -> scratch.putLong(label));
    }

    /**
     * Makes a new store in {@code path} with the key groups of the options, from checkpoints that together cover them: one from one,
     * several from one, one from several. No data is read: segments are linked.
     */
    public static Store restore(Engine engine, Path path, List<CheckpointSource> sources, StoreOptions options) {
        return open(engine, RESTORE, path, options, scratch -> {
            scratch.putInt(sources.size());
            sources.forEach(source -> source.write(scratch));
        });
    }

    /**
     * As {@link #restore}, from the manifests of checkpoints ({@link CheckpointFiles#manifest}) whose segments are elsewhere: it serves
     * at once, and what it needs is asked of the host ({@link #fetches}). Needs {@link StoreOptions#fetch}.
     */
    public static Store restoreAbsent(Engine engine, Path path, List<byte[]> manifests, StoreOptions options) {
        return open(engine, RESTORE_ABSENT, path, options, scratch -> {
            scratch.putInt(manifests.size()).putAll(manifests);
        });
    }

    private interface Opening {
        long open(long store, long out);
    }

    /** The handle of what is made from this store. */
    private long opened(Opening opening) {
        Scratch scratch = Scratch.take();
        try {
            return scratch.handle(opening.open(handle(), scratch.out.address));
        } finally {
            scratch.give();
        }
    }

    private int number(int which) {
        return (int) Failures.check(Native.storeNumber(handle(), which));
    }

    /** How many key groups the whole job has. */
    public int keyGroups() {
        return keyGroups;
    }

    /** This store's key groups. */
    public KeyGroupRange range() {
        return range;
    }

    /** The key group that a key's hash gives it. */
    public int groupOf(byte[] key) {
        Scratch scratch = Scratch.take();
        try {
            scratch.putBytes(key);
            return (int) Failures.check(Native.storeGroupOf(handle(), scratch.in.address + 4, key.length));
        } finally {
            scratch.give();
        }
    }

    /**
     * Registers a state, or finds it where there is one of this name, kind and merge operator. The time to live is to be given each time:
     * without it, what is written from now on never expires; what was written before keeps its expiry. {@link Status#STATE} where the options
     * contradict what is known of the state: its kind, its operator or, for list and merging states, whether values expire.
     */
    public State state(StateOptions options) {
        Scratch scratch = Scratch.take();
        try {
            options.write(scratch);
            long number = Failures.check(Native.storeState(handle(), scratch.in.address, scratch.end));
            return new State(this, (int) number, options.kind, options.name);
        } finally {
            scratch.give();
        }
    }

    /** All states of the store, by their numbers. */
    public List<State> states() {
        List<State> states = new ArrayList<>();
        int count = number(3);
        Scratch scratch = Scratch.take();
        try {
            for (int number = 0; number < count; number++) {
                describe(scratch, number);
                State.Kind kind = State.Kind.values()[scratch.takeInt()];
                states.add(new State(this, number, kind, scratch.takeText()));
            }
        } finally {
            scratch.give();
        }
        return states;
    }

    /** The host's schema of a state. */
    public byte[] schema(State state) {
        Scratch scratch = Scratch.take();
        try {
            describe(scratch, state.in(this));
            scratch.takeInt();
            scratch.takeText();
            return scratch.takeBytes();
        } finally {
            scratch.give();
        }
    }

    void describe(Scratch scratch, int number) {
        long result = Native.storeDescribe(handle(), number, scratch.out.address, scratch.out.capacity);
        scratch.answered(result);
    }

    /**
     * Claims a range of key groups for writing ({@link Status#RANGE_CLAIMED} while another writer holds any of them). The writer belongs to
     * the calling thread; that of a virtual thread is {@linkplain Writer#share shared}.
     */
    public Writer writer(KeyGroupRange range) {
        boolean shared = Threads.isVirtual();
        Scratch scratch = Scratch.take();
        try {
            HandlerCall.begin();
            long result = HandlerCall.check(
                    Native.writerOpen(handle(), scratch.out.address, range.first(), range.last(), shared ? 1 : 0));
            return new Writer(scratch.handle(result), this, shared);
        } finally {
            scratch.give();
        }
    }

    /** A writer of all of the store's key groups. */
    public Writer writer() {
        return writer(range);
    }

    /** Makes a reader of everything that is written. */
    public Reader reader() {
        return reader(false);
    }

    /** Makes a reader of what is committed alone, in a transactional store. */
    public Reader committedReader() {
        return reader(true);
    }

    private Reader reader(boolean committed) {
        return new Reader(opened((store, out) -> Native.readerOpen(store, out, committed ? 1 : 0)), this);
    }

    /**
     * Takes a snapshot, of a transactional store as the last commit left it: {@link Status#BUSY} while as many as the options allow live.
     * It keeps files on disk until it is closed.
     */
    public Snapshot snapshot() {
        return new Snapshot(opened(Native::snapshotOpen), this);
    }

    /**
     * The store as it was at a checkpoint that is kept, as a snapshot: {@link Status#CHECKPOINT} where none of this label is, and the message says
     * which are. States that were registered later are empty; those that were migrated since are refused with {@link Status#STATE}.
     */
    public Snapshot asOf(long label) {
        return new Snapshot(opened((store, out) -> Native.storeAsOf(store, out, label)), this);
    }

    /**
     * The store as it was at a position of its changelog: every change that ends there or before; of a transactional store, what was committed by
     * then. Needs {@link StoreOptions#historyCheckpoints}; {@link Status#POSITION} where the history doesn't go back so far, or the changelog
     * not so far forward.
     */
    public Past asOfPosition(long position) {
        return new Past(opened((store, out) -> Native.pastOpen(store, out, position)), this, position);
    }

    /** The position in the changelog behind everything that was done so far, committed or not; 0 where there never was one. */
    public long position() {
        return Failures.check(Native.storePosition(handle()));
    }

    /**
     * Registers what the host does with events ({@link Writer#applyEvent}); one of the same name, of 1 to 1,024 bytes, takes the place of the earlier, which
     * is kept for the events of its version. The version moves on with every change that makes it do something else for some event. Where the changelog
     * has events, their handlers have to be registered, in the version that applied them, before the first writer is made or the first reader read
     * from ({@link Status#EVENT_HANDLER} there).
     */
    public HandlerId handler(String name, int version, Handler handler) {
        HandlerCall call = new HandlerCall(this, Objects.requireNonNull(handler));
        Scratch scratch = Scratch.take();
        try {
            scratch.putText(name).putInt(version);
            synchronized (handlers) {
                long number = Failures.check(Native.storeHandler(handle(), call, scratch.in.address, scratch.end));
                handlers.put(List.of(number, (long) version), call);
                return new HandlerId(this, (int) number);
            }
        } finally {
            scratch.give();
        }
    }

    /**
     * Takes key groups, with these states or, with none, all of them, back to a checkpoint that is kept, at once, while the store goes on: writers and
     * readers see them as they were at the checkpoint. It takes some milliseconds at most, however much it undoes. It lasts with the next commit of
     * a store with a changelog, else with the next checkpoint.
     *
     * @throws AlluviumException with {@link Status#CHECKPOINT} where none of this label is kept, or it can't be gone back to; with {@link Status#BUSY}
     *     where something is staged in the key groups. Nothing has changed then.
     */
    public Rewound rollback(KeyGroupRange groups, long label, State... states) {
        return rollback(Native::storeRollback, groups, label, states);
    }

    /**
     * The same to a position of the changelog, as commits and checkpoints tell them, as far back as {@link StoreOptions#historyCheckpoints} says. The
     * changes between the nearest checkpoint before it and the position are done again beside the store, events by their handlers, and then
     * swapped in; meanwhile the store goes on.
     *
     * @throws AlluviumException with {@link Status#POSITION} where the history doesn't have the position, or a bulk load or a migration lies on the way;
     *     with {@link Status#EVENT_HANDLER} where a handler isn't there in the version that applied an event on the way; else as {@link #rollback}.
     *     Nothing has changed then.
     */
    public Rewound rollbackToPosition(KeyGroupRange groups, long position, State... states) {
        return rollback(Native::storeRollbackToPosition, groups, position, states);
    }

    private interface Rollback {
        long run(long store, int first, int last, long to, long request, int len, long into, int capacity);
    }

    private Rewound rollback(Rollback rollback, KeyGroupRange groups, long to, State... states) {
        Scratch scratch = Scratch.take();
        try {
            scratch.putInt(states.length);
            for (State state : states) {
                scratch.putInt(state.in(this));
            }
            HandlerCall.begin();
            scratch.answered(HandlerCall.check(rollback.run(
                    handle(), groups.first(), groups.last(), to,
                    scratch.in.address, scratch.end, scratch.out.address, scratch.out.capacity)));
            return Rewound.read(scratch);
        } finally {
            scratch.give();
        }
    }

    /**
     * The events that depend on some events, these included, and how much they wrote: of the states that are {@linkplain StateOptions#traced traced}, as
     * far back as the changelog goes. {@link Status#EVENT} where the changelog doesn't have one of them.
     */
    public Closure closure(List<EventId> events) {
        Scratch scratch = Scratch.take();
        try {
            EventId.write(scratch, events);
            scratch.answered(Native.storeClosure(
                    handle(), scratch.in.address, scratch.end, scratch.out.address, scratch.out.capacity));
            return Closure.read(scratch);
        } finally {
            scratch.give();
        }
    }

    /**
     * The events that the content of a key comes from, by way of other keys, too, in the order in which they were applied. Of a map, those of an
     * entry, or, where {@code userKey} is null, of all entries.
     */
    public List<EventAt> provenance(State state, Key key, byte[] userKey) {
        Scratch scratch = Scratch.take();
        try {
            scratch.putKey(key).putFlag(userKey != null).putBytes(userKey == null ? new byte[0] : userKey);
            scratch.answered(Native.storeProvenance(
                    handle(), state.in(this), scratch.in.address, scratch.end, scratch.out.address, scratch.out.capacity));
            return Closure.read(scratch).events();
        } finally {
            scratch.give();
        }
    }

    /** Whether an event, or one of its source behind it, was applied to a key group ({@link Writer#applyEventOnce}). */
    public boolean alreadyApplied(int group, EventId event) {
        return Failures.check(Native.storeAlreadyApplied(handle(), group, event.source(), event.offset())) != 0;
    }

    /** Has the host told ({@link #fired}) of an event, as long as the store is open. Returns the trigger's number. */
    public long watch(EventId event) {
        return Failures.check(Native.storeWatch(handle(), 1, event.source(), event.offset()));
    }

    /** Has the host told of events that come late: by the writer's clock they lie before one that their key group has had since. */
    public long watchStragglers() {
        return Failures.check(Native.storeWatch(handle(), 0, 0, 0));
    }

    /**
     * Has the host told of events after which something doesn't hold: of those that are known by their ids. It is called for each of them, inside {@link
     * Writer#applyEventOnce}. Where it throws something, that call fails ({@link Status#EVENT_HANDLER}, or the status that an operation of it failed
     * with, and what it threw is the cause), the event is applied all the same, and this trigger doesn't fire; the other triggers do.
     */
    public long watch(Invariant invariant) {
        HandlerCall call = new HandlerCall(this, Objects.requireNonNull(invariant));
        long trigger = Failures.check(Native.storeWatchInvariant(handle(), call));
        invariants.put(trigger, call);
        return trigger;
    }

    /** Has the host not told of a trigger any more. */
    public void unwatch(long trigger) {
        Failures.check(Native.storeUnwatch(handle(), trigger));
        invariants.remove(trigger);
    }

    /** What fired since this was last asked, in the order in which each writer's events came. What fired beyond the first 65,536 isn't kept. */
    public List<Fired> fired() {
        return Fired.all(handle());
    }

    /** Begins a load of about so many sorted records. */
    public BulkLoad bulkLoad(long records) {
        return new BulkLoad(opened((store, out) -> Native.bulkBegin(store, records, out)), this);
    }

    /** What the store wants of its host; empty without {@link StoreOptions#fetch}. */
    public Optional<Fetches> fetches() {
        Scratch scratch = Scratch.take();
        try {
            long result = Native.storeFetches(handle(), scratch.out.address);
            if (result == Native.NOT_FOUND) {
                return Optional.empty();
            }
            return Optional.of(new Fetches(scratch.handle(result), this));
        } finally {
            scratch.give();
        }
    }

    /**
     * Cuts the store's epoch: everything written before is in the checkpoint, nothing written after. It becomes complete in the
     * background.
     */
    public PendingCheckpoint checkpoint(Checkpoint checkpoint) {
        Scratch scratch = Scratch.take();
        try {
            checkpoint.write(scratch);
            long result = Native.storeBarrier(handle(), scratch.out.address, scratch.in.address, scratch.end);
            return new PendingCheckpoint(scratch.handle(result), this);
        } finally {
            scratch.give();
        }
    }

    /**
     * When the next checkpoint is due by the store's policy ({@link StoreOptions#checkpointPolicy}), and why; empty where the policy knows of
     * none. The engine takes none by itself, as the offsets of the sources are the host's: a host that wants checkpoints by policy asks in its
     * loop, and takes one when it is due. Asking takes about as long as a barrier; what happens between two times isn't noticed, so ask at least
     * ten times within the policy's time, or when {@link NextCheckpoint#dueIn} is over.
     */
    public Optional<NextCheckpoint> nextCheckpoint() {
        Scratch scratch = Scratch.take();
        try {
            long result = Native.storeNextCheckpoint(handle(), scratch.out.address, scratch.out.capacity);
            return scratch.answered(result) ? Optional.of(NextCheckpoint.read(scratch)) : Optional.empty();
        } finally {
            scratch.give();
        }
    }

    /**
     * Has what the reads of a batch would find on disk brought into memory, in the background and many keys at once, for operations that are yet
     * to come: those of events that wait to be processed, above all after a recovery. Its other operations are passed over, as are keys of key
     * groups that nobody has a writer of. Who asks for one of the keys meanwhile reads it at once, and what is written meanwhile stays.
     *
     * @return how many of the reads were taken up: at most 131,072 of a store wait, and of more the last are passed over
     */
    public long warm(Batch batch) {
        Memory memory = batch.memory(this);
        long taken = Failures.check(Native.storeWarm(handle(), memory.address, batch.bytes(memory)));
        memory.keep();
        return taken;
    }

    /**
     * As {@link #warm}, and waits until all that were taken up were seen to. Until then the store can't be closed ({@link Status#IN_USE}). Who goes on
     * meanwhile gives this to a thread of his own, for a future as well.
     *
     * @return how many were brought into memory: the others are there already, or have nothing on disk
     */
    public long awaitWarm(Batch batch) {
        Memory memory = batch.memory(this);
        long brought = Failures.check(Native.storeAwaitWarm(handle(), memory.address, batch.bytes(memory)));
        memory.keep();
        return brought;
    }

    /**
     * How far the store is with coming back since it was opened: with replaying the changelog and with warming up ({@link
     * StoreOptions#warmUp}). It serves all the while.
     */
    public Recovery recovery() {
        Scratch scratch = Scratch.take();
        try {
            scratch.answered(Native.storeRecovery(handle(), scratch.out.address, scratch.out.capacity));
            return Recovery.read(scratch);
        } finally {
            scratch.give();
        }
    }

    /**
     * How long a recovery would take after a crash now: opening the store, replaying what came in since the barrier of the newest checkpoint
     * that is complete here, and, where {@link #observeRates} said enough for it, catching up; {@link Long#MAX_VALUE} nanoseconds where there is
     * no end to that. As long as the host counts no input ({@link #observeInput}), or never replayed any ({@link #observeReplay}), the time since
     * that barrier is taken for the replay.
     */
    public Duration predictedRecovery() {
        return Duration.ofNanos(Failures.check(Native.storePredictedRecovery(handle())));
    }

    /**
     * What stands in the way of {@link CheckpointPolicy#recoveryTime(Duration, double)}, as of the last {@link #nextCheckpoint}; empty where
     * nothing does.
     */
    public Optional<CheckpointConflict> checkpointConflict() {
        Scratch scratch = Scratch.take();
        try {
            long result = Native.storeCheckpointConflict(handle(), scratch.out.address, scratch.out.capacity);
            return scratch.answered(result) ? Optional.of(CheckpointConflict.read(scratch)) : Optional.empty();
        } finally {
            scratch.give();
        }
    }

    /**
     * The host took so much from its sources: events or bytes, whatever it counts by. What it takes a second time after a recovery counts too.
     * Nothing comes of it in a store with a changelog, whose bytes are counted instead.
     */
    public void observeInput(long units) {
        Failures.check(Native.storeObserveInput(handle(), units));
    }

    /**
     * After a recovery the host replayed so much from its sources, in units of {@link #observeInput}, in this time. Nothing comes of it while no
     * input is counted, or in a store with a changelog, which measures its own.
     */
    public void observeReplay(long units, Duration took) {
        Failures.check(Native.storeObserveReplay(handle(), units, TimeUnit.NANOSECONDS.convert(took)));
    }

    /**
     * How fast input comes in, and how fast it could be worked off, per second, in any unit; {@link Double#NaN} for what isn't known. Then
     * recovery includes catching up, and a checkpoint begins early enough for input that comes at full speed. To be said again when it changes.
     */
    public void observeRates(double input, double capacity) {
        Failures.check(Native.storeObserveRates(handle(), input, capacity));
    }

    /**
     * How much processing time a checkpoint costs, as the host measures it: throughput lost, not how long it takes. Until it is said, it is taken
     * to be one processor's time from the barrier to the end, divided by all processors. For {@link CheckpointPolicy#young}.
     */
    public void observeCheckpointCost(Duration lost) {
        Failures.check(Native.storeObserveCheckpointCost(handle(), TimeUnit.NANOSECONDS.convert(lost)));
    }

    /** What is known of the checkpoints that the store keeps, oldest first. */
    public List<CheckpointInfo> checkpoints() {
        Scratch scratch = Scratch.take();
        try {
            scratch.answered(Native.storeCheckpoints(handle(), scratch.out.address, scratch.out.capacity));
            List<CheckpointInfo> all = new ArrayList<>();
            for (int left = scratch.takeInt(); left > 0; left--) {
                all.add(CheckpointInfo.read(scratch));
            }
            return all;
        } finally {
            scratch.give();
        }
    }

    /** What is known of the checkpoint that the store was opened at; empty where it was created. */
    public Optional<CheckpointInfo> restored() {
        Scratch scratch = Scratch.take();
        try {
            long result = Native.storeRestored(handle(), scratch.out.address, scratch.out.capacity);
            return scratch.answered(result) ? Optional.of(CheckpointInfo.read(scratch)) : Optional.empty();
        } finally {
            scratch.give();
        }
    }

    private void say(int what, long label) {
        Failures.check(Native.storeSay(handle(), what, label));
    }

    /**
     * Keeps a checkpoint until it is released or the store is closed. That isn't written down: whoever opens the store again retains it again,
     * before the next checkpoint is complete.
     */
    public void retain(long label) {
        say(0, label);
    }

    /** Lets go of a checkpoint. The newest one always stays; so does that which the store was opened at, until the next is complete. */
    public void release(long label) {
        say(1, label);
    }

    /** The host's word that a checkpoint is complete, its parts in other places included. It may come late, twice, or for what is gone. */
    public void confirm(long label) {
        say(2, label);
    }

    /** The host's word that it gave a checkpoint up. */
    public void abort(long label) {
        say(3, label);
    }

    /** The host's word that it needs neither this checkpoint nor those before it any more, but for those that it retains. */
    public void subsume(long label) {
        say(4, label);
    }

    /** The files of a checkpoint that is complete, pinned until they are closed. */
    public CheckpointFiles files(long label) {
        return new CheckpointFiles(opened((store, out) -> Native.storeFiles(store, label, out)), this);
    }

    /**
     * Puts a checkpoint's files into another, existing directory, durably: it can then be opened or restored from. {@link Status#OPTIONS} where there is no
     * such directory, {@link Status#EXISTS} where another file has the name of one of them.
     */
    public void export(long label, Path directory) {
        Scratch scratch = Scratch.take();
        try {
            scratch.putText(directory.toString());
            Failures.check(Native.storeExport(handle(), label, scratch.in.address, scratch.end));
        } finally {
            scratch.give();
        }
    }

    /** Goes through everything in a checkpoint, in the order of key groups, then states, then keys. */
    public CheckpointIterator iterate(long label) {
        List<State> states = states();
        return new CheckpointIterator(opened((store, out) -> Native.storeIterate(store, label, out)), this, states);
    }

    /**
     * Commits what all writers of the store wrote, as one, with where the sources stand and the host's metadata: what is staged, in a
     * transactional store. It lasts with the next checkpoint, and where the store has a changelog soon by itself:
     * {@link #commit(Commit, Lasting)} says when.
     */
    public CommitInfo commit(Commit commit) {
        Scratch scratch = Scratch.take();
        try {
            commit.write(scratch);
            long result = Native.storeCommit(
                    handle(), scratch.in.address, scratch.end, scratch.out.address, scratch.out.capacity);
            scratch.answered(result);
            return CommitInfo.read(scratch);
        } finally {
            scratch.give();
        }
    }

    /**
     * The same, with the word on whether it lasts. Needs a changelog ({@link Durability#CHANGELOG}) or a transactional store, which may have
     * one too.
     */
    public Committed commit(Commit commit, Lasting lasting) {
        Scratch scratch = Scratch.take();
        try {
            commit.write(scratch);
            long result = Native.storeCommitLasting(
                    handle(), scratch.out.address, lasting.ordinal(), scratch.in.address, scratch.end);
            return new Committed(scratch.handle(result), this);
        } finally {
            scratch.give();
        }
    }

    /** Undoes what is staged, by all writers of the store, as one. */
    public void abortTransaction() {
        Failures.check(Native.storeAbortTransaction(handle()));
    }

    /** What was committed last; before the first commit, what the store was opened with: no offsets and no metadata where that was nothing. */
    public CommitInfo lastCommit() {
        Scratch scratch = Scratch.take();
        try {
            scratch.answered(Native.storeLastCommit(handle(), scratch.out.address, scratch.out.capacity));
            return CommitInfo.read(scratch);
        } finally {
            scratch.give();
        }
    }

    /** How much is staged, in bytes, about. */
    public long stagedBytes() {
        return Failures.check(Native.storeNumber(handle(), 4));
    }

    /** Merges all that can be merged now, and waits for it. Not needed for anything but measuring space. */
    public void compact() {
        Failures.check(Native.storeCompact(handle()));
    }

    /** What the store counted since it was opened, in the text format of Prometheus. */
    public String metrics() {
        return metrics(Map.of());
    }

    /**
     * The same with labels that go with every sample: the name of the store, say, where a host has several.
     *
     * @throws IllegalArgumentException where a label's name is not letters, digits and {@code _}, without a digit first
     */
    public String metrics(Map<String, String> labels) {
        Scratch scratch = Scratch.take();
        try {
            scratch.putInt(labels.size());
            labels.forEach((name, value) -> {
                if (!name.matches("[A-Za-z_][A-Za-z0-9_]*")) {
                    throw new IllegalArgumentException("not a label's name: " + name);
                }
                scratch.putText(name).putText(value);
            });
            scratch.answered(Native.storeMetrics(
                    handle(), scratch.in.address, scratch.end, scratch.out.address, scratch.out.capacity));
            return new String(scratch.takeAll(), StandardCharsets.UTF_8);
        } finally {
            scratch.give();
        }
    }

    /**
     * Checks every byte of every manifest in a directory and of every segment that one names, and what they say of each other. No store
     * needs to be open. Empty where all is well.
     */
    public static List<Finding> verify(Path directory) {
        NativeLibrary.ensureLoaded();
        Scratch scratch = Scratch.take();
        try {
            scratch.putText(directory.toString());
            scratch.answered(
                    Native.verify(scratch.in.address, scratch.end, scratch.out.address, scratch.out.capacity));
            List<Finding> findings = new ArrayList<>();
            while (!scratch.isAtEnd()) {
                findings.add(Finding.read(scratch));
            }
            return findings;
        } finally {
            scratch.give();
        }
    }

    /** What a directory holds, by its manifests and the lengths of its files; no segment is read, and no store needs to be open. */
    public static DirectoryReport describe(Path directory) {
        NativeLibrary.ensureLoaded();
        Scratch scratch = Scratch.take();
        try {
            scratch.putText(directory.toString());
            scratch.answered(
                    Native.describe(scratch.in.address, scratch.end, scratch.out.address, scratch.out.capacity));
            return new DirectoryReport(scratch);
        } finally {
            scratch.give();
        }
    }

    /**
     * How much each state takes in the segments of the newest checkpoint of a directory that can be read, by states and levels: from the segments'
     * directories, not from their records; what a slice clips away counts too. No store needs to be open. {@link Status#NO_CHECKPOINT} where there is
     * none.
     */
    public static List<Usage> usage(Path directory) {
        return usage(directory, false, 0);
    }

    /** The same of the newest checkpoint of this label. {@link Status#CHECKPOINT} where there is none. */
    public static List<Usage> usage(Path directory, long label) {
        return usage(directory, true, label);
    }

    private static List<Usage> usage(Path directory, boolean hasLabel, long label) {
        NativeLibrary.ensureLoaded();
        Scratch scratch = Scratch.take();
        try {
            scratch.putText(directory.toString()).putFlag(hasLabel).putLong(label);
            scratch.answered(Native.usage(scratch.in.address, scratch.end, scratch.out.address, scratch.out.capacity));
            return scratch.takeList(Usage::new);
        } finally {
            scratch.give();
        }
    }
}
