#ifndef ALLUVIUM_H
#define ALLUVIUM_H

/* Made from ffi/c/src by `./ffi/c/header`; docs/c.md says how it is used. */

#include <stddef.h>
#include <stdint.h>

/**
 * Operations of a packed batch: see `alluvium_writer_apply`.
 */
#define ALLUVIUM_OP_PUT 0

/**
 * Delete a value or list.
 */
#define ALLUVIUM_OP_DELETE 1

/**
 * Append the value to a list.
 */
#define ALLUVIUM_OP_APPEND 2

/**
 * Merge the value, an operand.
 */
#define ALLUVIUM_OP_MERGE 3

/**
 * Put a map's entry.
 */
#define ALLUVIUM_OP_MAP_PUT 4

/**
 * Delete a map's entry.
 */
#define ALLUVIUM_OP_MAP_DELETE 5

/**
 * Delete a map's entries from the user key on, to the value, which is the first user key that stays.
 */
#define ALLUVIUM_OP_MAP_DELETE_RANGE 6

/**
 * Delete a map's entries whose user keys begin with a time (8 bytes, big-endian) below the value (8 bytes, little-endian).
 */
#define ALLUVIUM_OP_MAP_EXPIRE 7

/**
 * Delete a map's entries.
 */
#define ALLUVIUM_OP_MAP_CLEAR 8

/**
 * Get a value; only to be submitted.
 */
#define ALLUVIUM_OP_GET 9

/**
 * Get a list; only to be submitted.
 */
#define ALLUVIUM_OP_LIST 10

/**
 * Get a map's entry; only to be submitted.
 */
#define ALLUVIUM_OP_MAP_GET 11

/**
 * The flag of an operation whose key group is that of its key's hash.
 */
#define ALLUVIUM_OP_HASHED 1

/**
 * The flag of a deletion of a range without an upper end.
 */
#define ALLUVIUM_OP_UNBOUNDED 2

/**
 * Reads in flight are waited for when a checkpoint is cut.
 */
#define ALLUVIUM_READS_DRAIN 0

/**
 * A checkpoint is refused (`ALLUVIUM_BUSY`) while reads are in flight.
 */
#define ALLUVIUM_READS_REFUSE 1

/**
 * A commit lasts as soon as the changelog is synced, which is shared with other commits (`changelog_delay_us`).
 */
#define ALLUVIUM_LASTING_SOON 0

/**
 * A commit lasts with a later one, or with the next checkpoint: nothing is synced for it. After a crash the store is found at some earlier
 * commit, as a whole, with that one's offsets.
 */
#define ALLUVIUM_LASTING_WITH_LATER 1

/**
 * Where other events depend on the one that is to be made up for, it is refused.
 */
#define ALLUVIUM_DEPENDENTS_REFUSE 0

/**
 * The host knows of the events that depend on it, and makes up for what they did as well, or leaves it.
 */
#define ALLUVIUM_DEPENDENTS_KNOWN 1

/**
 * io_uring where the machine has it, else `ALLUVIUM_STORAGE_POSIX`.
 */
#define ALLUVIUM_STORAGE_AUTO 0

/**
 * io_uring, or an error.
 */
#define ALLUVIUM_STORAGE_IO_URING 1

/**
 * Reads and writes of the operating system, in threads of their own.
 */
#define ALLUVIUM_STORAGE_POSIX 2

/**
 * Everything of segments goes through the system's page cache.
 */
#define ALLUVIUM_DIRECT_IO_OFF 0

/**
 * Nothing of segments does, where the file system allows that.
 */
#define ALLUVIUM_DIRECT_IO_ALL 1

/**
 * Reads of a block that a caller waits for do; writes, batches of reads, scans and merges don't.
 */
#define ALLUVIUM_DIRECT_IO_BUT_SINGLE_READS 2

/**
 * What a handler changes in a state is logged as what was changed.
 */
#define ALLUVIUM_LOG_STATE 0

/**
 * What a handler changes in a state is logged as the event, which recovery applies again.
 */
#define ALLUVIUM_LOG_EVENT 1

/**
 * What a handler changes in a state is logged as whatever of both is shorter.
 */
#define ALLUVIUM_LOG_AUTO 2

/**
 * The host doesn't have the file any more.
 */
#define ALLUVIUM_FAULT_MISSING 0

/**
 * The file has another length than it had.
 */
#define ALLUVIUM_FAULT_LENGTH 1

/**
 * The file has other bytes than it had.
 */
#define ALLUVIUM_FAULT_CORRUPT 2

/**
 * Checkpoints are taken whenever the host wants; none is ever due.
 */
#define ALLUVIUM_POLICY_MANUAL 0

/**
 * One is due `policy_time_us` after the barrier of the last one.
 */
#define ALLUVIUM_POLICY_FIXED 1

/**
 * They are due as often as makes checkpoints and work that is redone cost least together (Young's formula), for a mean time of `policy_time_us`
 * between failures.
 */
#define ALLUVIUM_POLICY_YOUNG 2

/**
 * They are due as seldom as a recovery within `policy_time_us` allows, after a crash at any moment. The cap `max_write_amplification` goes
 * before it where both can't be had: `alluvium_store_checkpoint_conflict` says so.
 */
#define ALLUVIUM_POLICY_RECOVERY_TIME 3

/**
 * A checkpoint is due as time has passed since the last one.
 */
#define ALLUVIUM_REASON_INTERVAL 0

/**
 * It is due as what would have to be redone has grown.
 */
#define ALLUVIUM_REASON_LOG 1

/**
 * It is due as that grows faster than on average.
 */
#define ALLUVIUM_REASON_BURST 2

/**
 * It is due as memory is short and much of it holds changes, which are about to be spilled.
 */
#define ALLUVIUM_REASON_MEMORY 3

/**
 * The recovery time can't be kept as it takes more writing than is allowed.
 */
#define ALLUVIUM_CAUSE_WRITE_AMPLIFICATION 0

/**
 * It can't be kept as opening the store alone takes longer.
 */
#define ALLUVIUM_CAUSE_OPEN_COST 1

/**
 * It can't be kept as more comes in during a checkpoint than may have to be redone.
 */
#define ALLUVIUM_CAUSE_CHECKPOINTS 2

/**
 * It can't be kept as input comes in too fast to catch up with it in time.
 */
#define ALLUVIUM_CAUSE_CATCHING_UP 3

/**
 * The cap on write amplification is kept.
 */
#define ALLUVIUM_KEPT_WRITE_AMPLIFICATION 0

/**
 * Neither the recovery time nor the cap is kept.
 */
#define ALLUVIUM_KEPT_NEITHER 1

/**
 * A moment is a checkpoint that is kept, by its label.
 */
#define ALLUVIUM_AS_OF_LABEL 0

/**
 * A moment is a position of the changelog.
 */
#define ALLUVIUM_AS_OF_POSITION 1

/**
 * Nothing is brought into memory after a store was opened: what is asked for is read from disk, and stays.
 */
#define ALLUVIUM_WARM_UP_NOTHING 0

/**
 * What was used most before is, hottest first, by sequential reads; where the store has a hot list (`hot_list_bytes`).
 */
#define ALLUVIUM_WARM_UP_HOTTEST 1

/**
 * The parts that the options name are, one after the other; all that there is, where they name none.
 */
#define ALLUVIUM_WARM_UP_DECLARED 2

/**
 * All that there is is, in the order of its keys, where memory has room for all of it; else what `ALLUVIUM_WARM_UP_HOTTEST` brings.
 */
#define ALLUVIUM_WARM_UP_FITTING 3

/**
 * Something of the changelog is still to be replayed: key groups that nobody asked for yet are replayed meanwhile, or wait for a writer.
 */
#define ALLUVIUM_RECOVERY_REPLAYING 0

/**
 * What was hot is still to be brought into memory. The store serves, and reads from disk what isn't there.
 */
#define ALLUVIUM_RECOVERY_WARMING_UP 1

/**
 * Nothing is left to be done.
 */
#define ALLUVIUM_RECOVERY_COMPLETE 2

/**
 * Events are taken back by the cheaper of the ways that are sure, for each key group.
 */
#define ALLUVIUM_WAY_AUTO 0

/**
 * Events are taken back by adding the inverse of what they added.
 */
#define ALLUVIUM_WAY_INVERSE 1

/**
 * Events are taken back by applying again what came after.
 */
#define ALLUVIUM_WAY_REEXECUTE 2

/**
 * An event was made up for by a function of the host's (`alluvium_writer_compensate`, the only one that takes one).
 */
#define ALLUVIUM_WAY_USER 3

/**
 * Nothing is there.
 */
#define ALLUVIUM_CONTENT_NONE 0

/**
 * A value, of a value or merging state or of a map's entry.
 */
#define ALLUVIUM_CONTENT_VALUE 1

/**
 * A list, packed as by `alluvium_writer_list`.
 */
#define ALLUVIUM_CONTENT_LIST 2

/**
 * A checkpoint is complete when its files are durable on this machine's disk.
 */
#define ALLUVIUM_DURABILITY_CHECKPOINT 0

/**
 * The host copies each checkpoint's files away itself: nothing is synced.
 */
#define ALLUVIUM_DURABILITY_HOST 1

/**
 * As `ALLUVIUM_DURABILITY_CHECKPOINT`, and what is committed between two checkpoints lasts too: what changes is appended to a changelog, which
 * is replayed when the store is opened again.
 */
#define ALLUVIUM_DURABILITY_CHANGELOG 2

/**
 * The version of this interface. It goes up when something changes that a program has compiled in, which happens with a new
 * major version of the library alone; functions, statuses and fields of options are only ever added.
 */
#define ALLUVIUM_ABI_VERSION 1

/**
 * Done.
 */
#define ALLUVIUM_OK 0

/**
 * There is no such value or entry, or no more of them. Not a failure.
 */
#define ALLUVIUM_NOT_FOUND 1

/**
 * The caller's memory is too small: how much is needed was said. Nothing else was done. Not a failure.
 */
#define ALLUVIUM_TOO_SMALL 2

/**
 * It isn't there yet. Not a failure.
 */
#define ALLUVIUM_PENDING 3

/**
 * A pointer that has to point to something is null.
 */
#define ALLUVIUM_NULL -1

/**
 * An argument is out of its range, or contradicts another.
 */
#define ALLUVIUM_ARGUMENT -2

/**
 * A handle that was never given out, is closed, or is of another kind.
 */
#define ALLUVIUM_HANDLE -3

/**
 * The object belongs to another thread.
 */
#define ALLUVIUM_WRONG_THREAD -4

/**
 * A callback called the library, which would wait for itself.
 */
#define ALLUVIUM_INSIDE_CALLBACK -5

/**
 * Another call is using the object.
 */
#define ALLUVIUM_IN_USE -6

/**
 * Something that was made from the object is still open.
 */
#define ALLUVIUM_HAS_CHILDREN -7

/**
 * The program was made for another version of the library, or didn't set the `size` of a structure. `alluvium_..._options_init` does for options; others are
 * set by hand: `alluvium_barrier b = {.size = sizeof b};`.
 */
#define ALLUVIUM_ABI -8

/**
 * A bug of the library: it panicked, in this call or in an earlier one on the same object, which can only be closed now.
 */
#define ALLUVIUM_PANIC -9

/**
 * A key, user key or value is longer than its limit.
 */
#define ALLUVIUM_TOO_LONG -20

/**
 * The memory budget has no room for what is needed, not even with everything else spilled.
 */
#define ALLUVIUM_BUDGET -21

/**
 * Too much is under way; the same call succeeds later.
 */
#define ALLUVIUM_BUSY -22

/**
 * More is staged than the store's options allow: commit it or abort.
 */
#define ALLUVIUM_STAGED -23

/**
 * A key group that the writer, reader or store doesn't hold.
 */
#define ALLUVIUM_OUTSIDE_RANGE -24

/**
 * Another writer holds part of the range.
 */
#define ALLUVIUM_RANGE_CLAIMED -25

/**
 * The options contradict each other or a limit.
 */
#define ALLUVIUM_OPTIONS -26

/**
 * A state that isn't there or is of another kind, or whose operator takes no such value.
 */
#define ALLUVIUM_STATE -27

/**
 * A value of an older schema can't be converted.
 */
#define ALLUVIUM_CONVERSION -28

/**
 * There is no checkpoint in the directory.
 */
#define ALLUVIUM_NO_CHECKPOINT -29

/**
 * A checkpoint that the store doesn't have, or that is at another stage.
 */
#define ALLUVIUM_CHECKPOINT -30

/**
 * The store was closed.
 */
#define ALLUVIUM_CLOSED -31

/**
 * Background work failed for good; the store must be reopened.
 */
#define ALLUVIUM_BACKGROUND -32

/**
 * A position of the changelog that the history doesn't have, or that can't be told of.
 */
#define ALLUVIUM_POSITION -33

/**
 * A handler of events isn't there, is of another version than the changelog wants, or failed.
 */
#define ALLUVIUM_EVENT_HANDLER -34

/**
 * An event that can't be looked for or taken back, and the error says why.
 */
#define ALLUVIUM_EVENT -35

/**
 * The disk is full, or the process has too many files open.
 */
#define ALLUVIUM_FULL -40

/**
 * The directory is open elsewhere.
 */
#define ALLUVIUM_LOCKED -41

/**
 * A segment is elsewhere, and wasn't brought.
 */
#define ALLUVIUM_ABSENT -42

/**
 * A file or directory is in the way.
 */
#define ALLUVIUM_EXISTS -43

/**
 * The disk failed.
 */
#define ALLUVIUM_IO -44

/**
 * A file is damaged, missing or foreign.
 */
#define ALLUVIUM_CORRUPT -45

/**
 * An error that this version has no number for.
 */
#define ALLUVIUM_OTHER -99

/**
 * Not a failure.
 */
#define ALLUVIUM_CLASS_NONE 0

/**
 * Nothing is lost; the same call can succeed later (with `ALLUVIUM_STAGED`: after a commit or an abort).
 */
#define ALLUVIUM_CLASS_RETRY 1

/**
 * The call doesn't fit what there is, and waiting doesn't help: change the call, or what it doesn't fit (close the other writer, or the children; register
 * the handler).
 */
#define ALLUVIUM_CLASS_USAGE 2

/**
 * The task has to fail and recover from its last checkpoint, or the last commit that lasts.
 */
#define ALLUVIUM_CLASS_FAIL 3

/**
 * A file is damaged; recover from another checkpoint.
 */
#define ALLUVIUM_CLASS_CORRUPT 4

/**
 * One value per (key, namespace).
 */
#define ALLUVIUM_KIND_VALUE 0

/**
 * A list per (key, namespace), appended to without being read.
 */
#define ALLUVIUM_KIND_LIST 1

/**
 * An ordered map per (key, namespace).
 */
#define ALLUVIUM_KIND_MAP 2

/**
 * One value per (key, namespace), changed by a merge operator without being read.
 */
#define ALLUVIUM_KIND_MERGING 3

/**
 * What an update's callback returns to delete the value.
 */
#define ALLUVIUM_DELETE 0

/**
 * What an update's callback returns to put the value that it gave.
 */
#define ALLUVIUM_PUT 1

/**
 * What an update's callback returns to keep what is there: the value is put again, so its time to live starts anew; or nothing is there
 * still.
 */
#define ALLUVIUM_KEEP 2

/**
 * The key group of a key that its hash decides.
 */
#define ALLUVIUM_GROUP_BY_HASH -1

/**
 * A bound of a range of entries: there is none.
 */
#define ALLUVIUM_UNBOUNDED 0

/**
 * A bound of a range of entries that is in the range.
 */
#define ALLUVIUM_INCLUDED 1

/**
 * A bound of a range of entries that is not in the range.
 */
#define ALLUVIUM_EXCLUDED 2

/**
 * What a call came to: `ALLUVIUM_OK` or another answer (0 and above), or a failure (below 0).
 */
typedef int32_t alluvium_status;

/**
 * The state of an event's key group, for the handler that is given it: on its thread, and until it returns.
 */
typedef struct {
  /**
   * Its number; 0 is none.
   */
  uint64_t id;
} alluvium_applying;

/**
 * Bytes of the caller's.
 */
typedef struct {
  /**
   * Where they begin; may be null if there are none.
   */
  const uint8_t *data;
  /**
   * How many there are.
   */
  size_t len;
} alluvium_slice;

/**
 * A key, in a namespace: `{ALLUVIUM_GROUP_BY_HASH, {"k", 1}, {NULL, 0}}`.
 */
typedef struct {
  /**
   * Its key group, or `ALLUVIUM_GROUP_BY_HASH`, which is -1: a structure of zeros has group 0. The group is part of what names a key, so the same bytes
   * in two groups are two keys: either all keys of a state go by the hash, or all by the caller's groups.
   */
  int32_t group;
  /**
   * The key. Key and namespace have 65,000 bytes together at most, as a user key has: `ALLUVIUM_TOO_LONG` else. No slice has more than 1 GiB:
   * `ALLUVIUM_ARGUMENT`.
   */
  alluvium_slice key;
  /**
   * The namespace, which may be empty.
   */
  alluvium_slice ns;
} alluvium_key;

/**
 * Says what becomes of a value: `ALLUVIUM_PUT` with `*value` set, `ALLUVIUM_DELETE` or `ALLUVIUM_KEEP`. `old.data` is null where there is none.
 * `index` is the key's place in a batch, else 0. What `*value` points to has to stay until the callback is called again, or the call that
 * it belongs to returns. It must call nothing of the library, wait for no thread that does, and return.
 */
typedef int32_t (*alluvium_update_fn)(void *context, size_t index, alluvium_slice old, alluvium_slice *value);

/**
 * What went wrong in a call. Any thread may use it.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_error;

/**
 * Which entries of a map, and in which direction. All zero: all of them, upwards.
 */
typedef struct {
  /**
   * The lower bound: `ALLUVIUM_UNBOUNDED`, `ALLUVIUM_INCLUDED`, `ALLUVIUM_EXCLUDED`.
   */
  uint32_t from_kind;
  /**
   * The upper bound.
   */
  uint32_t to_kind;
  /**
   * Whether to go from the last down to the first: 0 or 1.
   */
  uint32_t reverse;
  /**
   * The lower bound's user key.
   */
  alluvium_slice from;
  /**
   * The upper bound's user key.
   */
  alluvium_slice to;
  /**
   * Only user keys that begin with this.
   */
  alluvium_slice prefix;
} alluvium_map_range;

/**
 * Looks at an entry where it lies, for as long as the callback; anything but 0 says that it has seen enough. It must call nothing of the
 * library.
 */
typedef int32_t (*alluvium_entry_fn)(void *context, alluvium_slice user_key, alluvium_slice value);

/**
 * The owner of a range of key groups. It belongs to one thread.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_writer;

/**
 * What became of one key of `alluvium_writer_get_many`.
 */
typedef struct {
  /**
   * `ALLUVIUM_OK`, `ALLUVIUM_NOT_FOUND` or, where the memory was too small for it, `ALLUVIUM_TOO_SMALL`.
   */
  alluvium_status status;
  /**
   * The value's length.
   */
  uint32_t len;
  /**
   * Where in the caller's memory it begins.
   */
  size_t at;
} alluvium_found;

/**
 * Reads that were submitted. Any thread, one call at a time.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_ticket;

/**
 * Bytes that calls leave for their caller: kept and filled again, so that a call needs no new memory. Any thread, one call at a
 * time.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_buffer;

/**
 * A store: one directory of state. Any thread may use it.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_store;

/**
 * A load of sorted data. Any thread, one call at a time.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_bulk_load;

/**
 * Key groups, both ends included.
 */
typedef struct {
  /**
   * The first one.
   */
  uint16_t first;
  /**
   * The last one.
   */
  uint16_t last;
} alluvium_range;

/**
 * Where a source stands for a range of key groups.
 */
typedef struct {
  /**
   * The key groups.
   */
  alluvium_range range;
  /**
   * The host's bytes.
   */
  alluvium_slice offset;
} alluvium_offset;

/**
 * What a checkpoint is to carry. All zero but for `size` and `label` is usual.
 */
typedef struct {
  /**
   * The length of this in bytes, as the program knows it.
   */
  uint32_t size;
  /**
   * `ALLUVIUM_READS_...`.
   */
  uint32_t reads;
  /**
   * The host's name of the checkpoint, any number. Where two have the same one, the younger is found by it.
   */
  uint64_t label;
  /**
   * Where the sources stand. Empty in a transactional store, and so is the metadata.
   */
  const alluvium_offset *offsets;
  /**
   * How many.
   */
  size_t offsets_len;
  /**
   * The host's metadata.
   */
  alluvium_slice metadata;
  /**
   * Whether the checkpoint stands alone, sharing files with no other: 0 or 1.
   */
  uint32_t standalone;
} alluvium_barrier;

/**
 * A checkpoint on its way. Any thread may use it.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_pending;

/**
 * What is known of a checkpoint or a commit. Any thread may use it.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_info;

/**
 * The numbers of a checkpoint. Of a commit, the epoch alone.
 */
typedef struct {
  /**
   * The length of this in bytes, as the program knows it; set it before.
   */
  uint32_t size;
  /**
   * Everything of this epoch and earlier ones is in it.
   */
  uint32_t epoch;
  /**
   * The host's label.
   */
  uint64_t label;
  /**
   * Its number in the store; each has a greater one than those before.
   */
  uint64_t number;
  /**
   * When it was made, in ms since 1970, by the machine's clock.
   */
  uint64_t created_ms;
  /**
   * How many segments it names.
   */
  uint64_t segments;
  /**
   * How many of them no earlier checkpoint named.
   */
  uint64_t new_segments;
  /**
   * Bytes of all its files, the manifest included.
   */
  uint64_t total_bytes;
  /**
   * Bytes of the new ones among them.
   */
  uint64_t new_bytes;
  /**
   * Bytes that were flushed for it.
   */
  uint64_t flushed_bytes;
  /**
   * Bytes of keys and values that had changed since the checkpoint before.
   */
  uint64_t changed_bytes;
  /**
   * How many ranges of key groups have offsets.
   */
  uint64_t offsets;
} alluvium_numbers;

/**
 * A commit, and the word on whether it lasts. Any thread may use it.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_commit;

/**
 * Called once when a commit lasts (`ALLUVIUM_OK`) or can't come to (a failure's status), by any thread. It must be short and call nothing of
 * the library.
 */
typedef void (*alluvium_lasting_fn)(void *context, alluvium_status status);

/**
 * Lets a context go that callbacks were given, when none of them is called any more: once, by any thread. It must call nothing of the library. May be null.
 */
typedef void (*alluvium_release_fn)(void *context);

/**
 * Which event of the host's sources it is. Of one source offsets rise: in each key group, what has a higher one comes later.
 */
typedef struct {
  /**
   * The source, as the host numbers them.
   */
  uint32_t source;
  /**
   * Where in it.
   */
  uint64_t offset;
} alluvium_event_id;

/**
 * An event and where the changelog has it.
 */
typedef struct {
  /**
   * The position of its record.
   */
  uint64_t position;
  /**
   * Its id.
   */
  alluvium_event_id id;
  /**
   * Its key group.
   */
  uint16_t group;
} alluvium_event_at;

/**
 * An event that is to be made up for. What it points to stays until the function that is given it returns.
 */
typedef struct {
  /**
   * Its id.
   */
  alluvium_event_id id;
  /**
   * The writer's clock when it was applied, in ms.
   */
  uint64_t applied_at_ms;
  /**
   * The event itself.
   */
  alluvium_slice event;
  /**
   * The name of the handler that applied it.
   */
  alluvium_slice handler;
  /**
   * That one's version.
   */
  uint32_t version;
  /**
   * The key group that it was applied to.
   */
  uint16_t group;
  /**
   * The events that depend on it, in the order in which they were applied.
   */
  const alluvium_event_at *dependents;
  /**
   * How many they are.
   */
  size_t dependents_len;
} alluvium_bad_event;

/**
 * Makes up for an event: 0 where that is done; a failure's status, where an operation on `applying` came to it; else a number above 0. It reads and
 * changes the state of the event's key group as it is now, of states that are `traced` and whose values don't expire. It must call nothing of the
 * library but what takes `applying`, and frees errors.
 */
typedef int32_t (*alluvium_undo_fn)(void *context, const alluvium_bad_event *event, alluvium_applying applying);

/**
 * What a repair, or a question about events, came to. Any thread may use it.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_repair;

/**
 * A place among keys or entries. Any thread, one call at a time.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_cursor;

/**
 * Reads beside the writers. Any thread may use it; threads that read much have one each.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_reader;

/**
 * A store as it was at some moment. Any thread may use it.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_snapshot;

/**
 * Options of an engine. `alluvium_engine_options_init` fills in what is usual.
 */
typedef struct {
  /**
   * The length of this in bytes, as the program knows it.
   */
  uint32_t size;
  /**
   * Background threads for flushing and compaction: 1 to 64 (2).
   */
  uint32_t threads;
  /**
   * The hard limit on what all stores together keep in memory, in bytes: 4 MiB to 32 GiB (256 MiB).
   */
  uint64_t memory_budget_bytes;
  /**
   * Up to where the budget can be raised later, in bytes; 0: not (0).
   */
  uint64_t memory_ceiling_bytes;
  /**
   * `ALLUVIUM_STORAGE_...` (`ALLUVIUM_STORAGE_AUTO`).
   */
  uint32_t storage;
  /**
   * `ALLUVIUM_DIRECT_IO_...` (`ALLUVIUM_DIRECT_IO_BUT_SINGLE_READS`).
   */
  uint32_t direct_io;
} alluvium_engine_options;

/**
 * An engine: the memory budget and background threads of a process. Any thread may use it.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_engine;

/**
 * A part of an engine's memory budget. Any thread may use it.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_share;

/**
 * Applies an event: 0 where that is done; a failure's status, where an operation on `applying` came to it; else a number above 0. It is called by the
 * thread that applies an event, opens a writer or reader of a store whose changelog has some, or repairs; also by several at once, for different key
 * groups. It has to do the same whenever it is given the same event over the same state: everything else comes through
 * `alluvium_applying_determinant`. It must call nothing of the library but what takes `applying`, and frees errors.
 */
typedef int32_t (*alluvium_handler_fn)(void *context, alluvium_slice event, alluvium_applying applying);

/**
 * What a host does with events.
 */
typedef struct {
  /**
   * Its name, 1 to 1,024 bytes.
   */
  const char *name;
  /**
   * Moves on with every change that makes it do something else for some event.
   */
  uint32_t version;
  /**
   * Applies an event.
   */
  alluvium_handler_fn apply;
  /**
   * Given to `apply`; any thread may use it.
   */
  void *context;
  /**
   * Lets `context` go.
   */
  alluvium_release_fn release;
} alluvium_handler;

/**
 * Takes what a callback makes: to be called with its bytes, once or more often, 1 GiB together at most. It is good for as long as the
 * callback that it was given to runs.
 */
typedef struct {
  /**
   * To be given to `write`.
   */
  void *context;
  /**
   * Adds bytes, which are copied.
   */
  void (*write)(void *context, const uint8_t *data, size_t len);
} alluvium_output;

/**
 * Makes what isn't the same each time. It must call nothing of the library.
 */
typedef void (*alluvium_draw_fn)(void *context, alluvium_output output);

/**
 * Looks at a value where it lies, for as long as the callback. It must call nothing of the library, wait for no thread that does, and
 * return.
 */
typedef void (*alluvium_read_fn)(void *context, alluvium_slice value);

/**
 * What a store wants of its host. Any thread may use it.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_fetches;

/**
 * Bytes of a file that a store wants.
 */
typedef struct {
  /**
   * What the answer names.
   */
  uint64_t id;
  /**
   * The file's name, as in `alluvium_file`.
   */
  char file[64];
  /**
   * From where, in bytes.
   */
  uint64_t offset;
  /**
   * How many bytes.
   */
  size_t len;
  /**
   * Whether somebody waits for it: 0 or 1.
   */
  uint32_t on_demand;
} alluvium_fetch_request;

/**
 * A checkpoint's files, pinned. Any thread may use it.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_files;

/**
 * A file of a checkpoint.
 */
typedef struct {
  /**
   * Its name in the store's directory, which ends with a zero.
   */
  char name[64];
  /**
   * Its length in bytes.
   */
  uint64_t bytes;
  /**
   * Whether the newest confirmed checkpoint before this one has it too: 0 or 1.
   */
  uint32_t shared;
} alluvium_file;

/**
 * A walk through everything in a checkpoint. Any thread, one call at a time.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_iterator;

/**
 * A record of a checkpoint.
 */
typedef struct {
  /**
   * The state's number.
   */
  uint16_t state;
  /**
   * The key group.
   */
  uint16_t group;
  /**
   * Whether it is a map's entry: 0 or 1.
   */
  uint32_t is_entry;
  /**
   * The key.
   */
  alluvium_slice key;
  /**
   * The namespace.
   */
  alluvium_slice ns;
  /**
   * The user key of a map's entry.
   */
  alluvium_slice user_key;
  /**
   * The value; of a list its elements, packed as by `alluvium_writer_list`.
   */
  alluvium_slice value;
  /**
   * When it expires, in ms; the greatest number: never. Elements of lists have times of their own, which are not told.
   */
  uint64_t expiry_ms;
} alluvium_item;

/**
 * Whether an entry is taken out of its map: anything but 0 where it is. It may be asked more than once, of which the last time counts. It must call nothing
 * of the library, wait for no thread that does, and return.
 */
typedef int32_t (*alluvium_takes_fn)(void *context, alluvium_slice user_key, alluvium_slice value);

/**
 * A recovery time that can't be kept, as things are.
 */
typedef struct {
  /**
   * What stands in the way: `ALLUVIUM_CAUSE_...`.
   */
  uint32_t cause;
  /**
   * What is kept all the same: `ALLUVIUM_KEPT_...`.
   */
  uint32_t kept;
  /**
   * How long a recovery may take instead, in us; `UINT64_MAX` where there is no end to it.
   */
  uint64_t reachable_us;
  /**
   * The write amplification that the recovery time would take, about.
   */
  double needed_write_amplification;
} alluvium_conflict;

/**
 * A store as it was at a position of its changelog. Any thread may use it.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_past;

/**
 * What was brought back.
 */
typedef struct {
  /**
   * How many keys (a map is one) were written to, as they differed.
   */
  uint64_t keys;
  /**
   * How many values, lists and entries were written or deleted.
   */
  uint64_t changes;
  /**
   * The bytes of their keys and values.
   */
  uint64_t bytes;
} alluvium_rolled_back;

/**
 * Keys that are being brought into memory. Any thread may use it.
 */
typedef struct {
  /**
   * The handle's number; 0 is none.
   */
  uint64_t id;
} alluvium_warming;

/**
 * How far the recovery of a store is.
 */
typedef struct {
  /**
   * `ALLUVIUM_RECOVERY_...`.
   */
  uint32_t stage;
  /**
   * The part of all bytes, to be replayed and to be brought into memory, that is done, in thousandths. It stays below 1,000 where memory was
   * too small.
   */
  uint32_t restored_permille;
  /**
   * Since the store began to be opened, in us.
   */
  uint64_t elapsed_us;
  /**
   * How long the rest will take, at the rate so far, in us; `UINT64_MAX` before there is one.
   */
  uint64_t remaining_us;
  /**
   * Bytes of the changelog that there were to be replayed.
   */
  uint64_t replay_bytes;
  /**
   * How many of them were.
   */
  uint64_t replayed_bytes;
  /**
   * Bytes that there are to be brought into memory, about; 0 before the first writer was opened.
   */
  uint64_t warm_up_bytes;
  /**
   * How many of them were gone through.
   */
  uint64_t warmed_up_bytes;
  /**
   * Records that there are to be brought into memory, about.
   */
  uint64_t warm_up_records;
  /**
   * How many of them were gone through.
   */
  uint64_t warmed_up_records;
  /**
   * Records that were brought into memory, those for `alluvium_store_warm` included.
   */
  uint64_t brought_records;
  /**
   * Their keys and values, in bytes.
   */
  uint64_t brought_bytes;
} alluvium_recovery;

/**
 * How much there is of what a repair, or a question about events, came to.
 */
typedef struct {
  /**
   * Events that depend on each other (`alluvium_repair_event`).
   */
  uint64_t events;
  /**
   * How many keys and entries these wrote.
   */
  uint64_t keys;
  /**
   * How many traced events the changelog has from the first of them on, about.
   */
  uint64_t suffix_events;
  /**
   * Key groups that were repaired, or would be (`alluvium_repair_group`).
   */
  uint64_t groups;
  /**
   * What changed (`alluvium_repair_retraction`).
   */
  uint64_t retractions;
  /**
   * Events that had been taken back before (`alluvium_repair_before`).
   */
  uint64_t before;
} alluvium_counts;

/**
 * What a repair did, or would do, in a key group.
 */
typedef struct {
  /**
   * The key group.
   */
  uint16_t group;
  /**
   * Whether all of its events since the checkpoint are applied again: 0 or 1.
   */
  uint16_t is_whole_group;
  /**
   * How: `ALLUVIUM_WAY_INVERSE`, `ALLUVIUM_WAY_REEXECUTE` or `ALLUVIUM_WAY_USER`.
   */
  uint32_t way;
  /**
   * How many bad events it had.
   */
  uint64_t bad;
  /**
   * How many events depend on them.
   */
  uint64_t dependents;
  /**
   * How many events are applied again.
   */
  uint64_t applied_again;
  /**
   * Whether it begins at a checkpoint: 0 or 1.
   */
  uint32_t has_from;
  /**
   * That checkpoint's label.
   */
  uint64_t from;
} alluvium_group_repair;

/**
 * What changed at a key, or a map's entry: what whoever was told of `before` has to hear. Its bytes stay until the repair is closed.
 */
typedef struct {
  /**
   * The event that was taken back, and that `alluvium_writer_acknowledge` wants.
   */
  alluvium_event_id event;
  /**
   * The state.
   */
  uint16_t state;
  /**
   * The key group.
   */
  uint16_t group;
  /**
   * Whether there is a user key: 0 or 1.
   */
  uint32_t has_user_key;
  /**
   * The key.
   */
  alluvium_slice key;
  /**
   * The namespace.
   */
  alluvium_slice ns;
  /**
   * The user key of a map's entry.
   */
  alluvium_slice user_key;
  /**
   * What it held: `ALLUVIUM_CONTENT_...`.
   */
  uint32_t before_kind;
  /**
   * What it holds since: `ALLUVIUM_CONTENT_...`.
   */
  uint32_t after_kind;
  /**
   * What it held.
   */
  alluvium_slice before;
  /**
   * What it holds since.
   */
  alluvium_slice after;
} alluvium_retraction;

/**
 * Merges `older` and then `newer` into one operand. It has to be associative, is called by any thread, also several at once, and
 * must call nothing of the library.
 */
typedef void (*alluvium_merge_fn)(void *context, alluvium_slice older, alluvium_slice newer, alluvium_output output);

/**
 * Converts a value of the old schema to the new one; anything but 0 says that it can't. It has to be pure, is called by any
 * thread, also several at once, and must call nothing of the library.
 */
typedef int32_t (*alluvium_convert_fn)(void *context, alluvium_slice old, alluvium_output output);

/**
 * A conversion of values from one schema to the next.
 */
typedef struct {
  /**
   * Its name, which means the same conversion for ever.
   */
  const char *name;
  /**
   * The conversion.
   */
  alluvium_convert_fn convert;
  /**
   * Given to `convert`; any thread may use it.
   */
  void *context;
  /**
   * Lets `context` go.
   */
  alluvium_release_fn release;
} alluvium_conversion;

/**
 * Makes the operand that takes away what `operand` added, at any place in the order of operands; anything but 0 says that there is none. It has to be pure,
 * is called by any thread, also several at once, and must call nothing of the library.
 */
typedef int32_t (*alluvium_invert_fn)(void *context, alluvium_slice operand, alluvium_output output);

/**
 * Whether a value says no more than no value: anything but 0 where that is so. It has to be pure, is called by any thread, also several at once, and must call nothing of
 * the library.
 */
typedef int32_t (*alluvium_identity_fn)(void *context, alluvium_slice value);

/**
 * How a state is registered. `alluvium_state_options_init` sets what is usual: a value state that never expires.
 */
typedef struct {
  /**
   * The length of this in bytes, as the program knows it.
   */
  uint32_t size;
  /**
   * `ALLUVIUM_KIND_...`.
   */
  uint32_t kind;
  /**
   * Its name, 1 to 1,024 bytes.
   */
  const char *name;
  /**
   * Of a merging state the operator's name: `u64-add`, `u64-min`, `u64-max`, and so with `i64` and `f64`, all of 8 bytes, little-endian;
   * `multiset` (`alluvium_multiset_operand`); or the name of `merge`, which is none of these.
   */
  const char *merge_name;
  /**
   * The host's own operator, or null.
   */
  alluvium_merge_fn merge;
  /**
   * Given to `merge`; any thread may use it.
   */
  void *merge_context;
  /**
   * Lets `merge_context` go.
   */
  alluvium_release_fn merge_release;
  /**
   * How long a value lives after it was written, in ms; 0: for ever.
   */
  uint64_t ttl_ms;
  /**
   * Whether reading starts that time anew: 0 or 1.
   */
  uint32_t ttl_refresh_on_read;
  /**
   * Where in a value its own time begins, ms since 1970 as a big-endian i64, by which compaction drops it; see `purge_ms`.
   */
  uint32_t purge_time_at;
  /**
   * How long after its own time a value may be dropped, in ms; 0: never. Not together with `ttl_ms`.
   */
  uint64_t purge_ms;
  /**
   * The host's schema, which is kept with the state. Empty: what is known of it stays.
   */
  alluvium_slice schema;
  /**
   * Conversions that migrations of the state go on with.
   */
  const alluvium_conversion *conversions;
  /**
   * How many.
   */
  size_t conversions_len;
  /**
   * How what handlers of events change is logged: `ALLUVIUM_LOG_...` (`ALLUVIUM_LOG_STATE`).
   */
  uint32_t log_mode;
  /**
   * Whether it is logged which events read and wrote what, so that they can be taken back: 0 or 1 (0).
   */
  uint32_t traced;
  /**
   * With `merge`: its inverse, by which bad events that only added are taken back (`ALLUVIUM_WAY_INVERSE`); null where it has none. It is given
   * `merge_context`.
   */
  alluvium_invert_fn merge_invert;
  /**
   * With `merge`: whether a value goes when all that was added is taken away; null where none does. It is given `merge_context`.
   */
  alluvium_identity_fn merge_is_identity;
} alluvium_state_options;

/**
 * Takes the bytes of segments while they are written, by whichever threads of the library write them.
 */
typedef struct {
  /**
   * Given to all of them; any thread may use it.
   */
  void *context;
  /**
   * The next bytes of a segment: each begins where the last ended, the first at 0.
   */
  void (*write)(void *context, const char *name, uint64_t offset, const uint8_t *data, size_t len);
  /**
   * A segment is whole.
   */
  void (*complete)(void *context, const char *name, uint64_t len);
  /**
   * A segment will never be whole.
   */
  void (*abandon)(void *context, const char *name);
  /**
   * Lets `context` go.
   */
  alluvium_release_fn release;
} alluvium_segment_sink;

/**
 * A part of a store that is to be in memory.
 */
typedef struct {
  /**
   * The state's name; null: all states. One that isn't there is passed over.
   */
  const char *state;
  /**
   * Whether it is `groups` alone: 0 or 1.
   */
  uint32_t has_groups;
  /**
   * The key groups.
   */
  alluvium_range groups;
} alluvium_warm_part;

/**
 * Options of a store. `alluvium_store_options_init` fills in what is usual.
 */
typedef struct {
  /**
   * The length of this in bytes, as the program knows it.
   */
  uint32_t size;
  /**
   * How many key groups the whole job has: 1 to 65,536 (128). Whoever sets it sets `range`, too. Fixed when the store is created:
   * `ALLUVIUM_OPTIONS` where it is opened with another number.
   */
  uint32_t key_groups;
  /**
   * The key groups of this store, which may have a part of the job's (0 to 127, whatever `key_groups` is). Fixed when the store is created.
   */
  alluvium_range range;
  /**
   * `ALLUVIUM_DURABILITY_...` (`ALLUVIUM_DURABILITY_CHECKPOINT`).
   */
  uint32_t durability;
  /**
   * How many of the newest checkpoints are kept (1).
   */
  uint32_t retained_checkpoints;
  /**
   * Whether the host says what became of each checkpoint (`alluvium_store_confirm` and so on): 0 or 1 (0).
   */
  uint32_t host_retention;
  /**
   * With `host_retention`: at most so many that it said nothing of are kept (1,024).
   */
  uint32_t unconfirmed_max;
  /**
   * Whether segments are compressed where it pays: 0 or 1 (1).
   */
  uint32_t compress;
  /**
   * How many snapshots may live at once (16).
   */
  uint32_t snapshots_max;
  /**
   * Whether segments that aren't in the directory are asked of the host: 0 or 1 (0).
   */
  uint32_t fetch;
  /**
   * Whether what is written is staged until it is committed: 0 or 1 (0).
   */
  uint32_t transactional;
  /**
   * How much each writer may have staged, in bytes, about (no limit).
   */
  uint64_t staged_bytes_max;
  /**
   * The part of the budget that the store lives in; 0: the whole.
   */
  alluvium_share share;
  /**
   * What no other store takes of that memory, in bytes (0).
   */
  uint64_t memory_minimum_bytes;
  /**
   * Where the bytes of segments go while they are written, beside the disk; null: nowhere. It is copied, and its context the
   * library's from the call on, whatever that comes to, unless it is `ALLUVIUM_ABI`.
   */
  const alluvium_segment_sink *sink;
  /**
   * The seed of the store's hashes; null draws one. Stores that are to be merged by rescaling may share one.
   */
  const uint64_t *hash_seed;
  /**
   * With a changelog: how long a commit may wait for others, of all stores of the engine, to be synced with them, in us (10,000).
   */
  uint64_t changelog_delay_us;
  /**
   * It waits no longer where so much is to be written, in bytes: at least 1 (1 MiB).
   */
  uint64_t changelog_bytes;
  /**
   * How long the changelog's files are, in bytes: 1 MiB to 1 TiB (64 MiB). Each takes its room when it is begun.
   */
  uint64_t changelog_file_bytes;
  /**
   * With a changelog: so many of the newest complete checkpoints are kept, whatever becomes of them otherwise, and the changelog from the
   * oldest of them on, so that the past can be read by position; 0: none (0).
   */
  uint64_t history_checkpoints;
  /**
   * When checkpoints are due, for a host that asks (`alluvium_store_next_checkpoint`): `ALLUVIUM_POLICY_...` (`ALLUVIUM_POLICY_MANUAL`). The
   * library takes none by itself.
   */
  uint32_t checkpoint_policy;
  /**
   * The interval, mean time between failures or recovery time that the policy is about, in us: at least 1, but for
   * `ALLUVIUM_POLICY_MANUAL` (0).
   */
  uint64_t policy_time_us;
  /**
   * For `ALLUVIUM_POLICY_RECOVERY_TIME`: how many bytes may be written for each byte that is changed, the log, where there is one, and
   * checkpoints with the compaction between them; at least 1 (`INFINITY`: any number).
   */
  double max_write_amplification;
  /**
   * How long the hot list is, in bytes, about: a file beside the checkpoints with the records that are used most, so that they return by
   * sequential reads after a crash (`ALLUVIUM_WARM_UP_HOTTEST`). It is written anew now and then, after a checkpoint, and adds an eighth to
   * what the store writes at most. 0: none is kept (0).
   */
  uint64_t hot_list_bytes;
  /**
   * What is brought into memory once the store and its writers are open: `ALLUVIUM_WARM_UP_...` (`ALLUVIUM_WARM_UP_FITTING`). The store
   * serves meanwhile, and nobody waits for it. It ends where memory is nearly full.
   */
  uint32_t warm_up;
  /**
   * For `ALLUVIUM_WARM_UP_DECLARED`: the parts, each of which is brought in the order of key groups, states and keys.
   */
  const alluvium_warm_part *warm_parts;
  /**
   * How many parts there are; 0: all that there is.
   */
  size_t warm_parts_len;
  /**
   * Up to how much changelog behind the newest checkpoint a recovery checks and replays as a whole before it serves, in bytes; of more, each key
   * group is replayed when it is first asked for, and the others meanwhile (64 MiB). `UINT64_MAX`: always as a whole.
   */
  uint64_t whole_replay_bytes;
} alluvium_store_options;

/**
 * A checkpoint to restore from.
 */
typedef struct {
  /**
   * The store's directory, or one that a checkpoint was exported to.
   */
  const char *directory;
  /**
   * Whether `label` says which checkpoint: 0 or 1. Else it is the newest there.
   */
  uint32_t has_label;
  /**
   * The checkpoint's label.
   */
  uint64_t label;
} alluvium_source;

/**
 * A label of metrics: `name="value"`.
 */
typedef struct {
  /**
   * Letters, digits and `_`, and no digit first.
   */
  const char *name;
  /**
   * Any text.
   */
  const char *value;
} alluvium_label;

/**
 * Called once when something is done, by a thread of the library. It must be short and call nothing of the library.
 */
typedef void (*alluvium_done_fn)(void *context);

/**
 * Says whether something holds after an event: 1 where it does, 0 where it doesn't; a failure's status, where an operation on `applying` came to it;
 * else another number. It is called by the thread that applied the event, also by several at once, for different key groups. It reads the state of the
 * event's key group through `applying`, and changes nothing there (`ALLUVIUM_OPTIONS`). It must call nothing of the library but what takes `applying`,
 * and frees errors.
 */
typedef int32_t (*alluvium_invariant_fn)(void *context, alluvium_slice event, alluvium_applying applying);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Reads a value and writes what `change` makes of it, as by `alluvium_writer_update`.
 */
alluvium_status alluvium_applying_update(alluvium_applying applying,
                                         uint16_t state,
                                         const alluvium_key *key_,
                                         alluvium_update_fn change,
                                         void *context,
                                         alluvium_error *error);

/**
 * Appends several elements to a list, as by `alluvium_writer_append_all`.
 */
alluvium_status alluvium_applying_append_all(alluvium_applying applying,
                                             uint16_t state,
                                             const alluvium_key *key_,
                                             const alluvium_slice *elements,
                                             size_t elements_len,
                                             alluvium_error *error);

/**
 * Replaces a list; an empty one deletes it.
 */
alluvium_status alluvium_applying_put_list(alluvium_applying applying,
                                           uint16_t state,
                                           const alluvium_key *key_,
                                           const alluvium_slice *elements,
                                           size_t elements_len,
                                           alluvium_error *error);

/**
 * Moves what a key holds in some namespaces to `key`'s own, as by `alluvium_writer_merge_namespaces`.
 */
alluvium_status alluvium_applying_merge_namespaces(alluvium_applying applying,
                                                   uint16_t state,
                                                   const alluvium_key *key_,
                                                   const alluvium_slice *sources,
                                                   size_t sources_len,
                                                   alluvium_error *error);

/**
 * Whether a map has an entry: `ALLUVIUM_OK` or `ALLUVIUM_NOT_FOUND`.
 */
alluvium_status alluvium_applying_map_contains(alluvium_applying applying,
                                               uint16_t state,
                                               const alluvium_key *key_,
                                               alluvium_slice user_key,
                                               alluvium_error *error);

/**
 * Deletes the entries of a map in a range, whatever its direction; null: all of them.
 */
alluvium_status alluvium_applying_map_delete_range(alluvium_applying applying,
                                                   uint16_t state,
                                                   const alluvium_key *key_,
                                                   const alluvium_map_range *range,
                                                   alluvium_error *error);

/**
 * Has `look` look at the entry of a map with the smallest user key; what it returns is of no account. `ALLUVIUM_NOT_FOUND` where there is none.
 */
alluvium_status alluvium_applying_map_first(alluvium_applying applying,
                                            uint16_t state,
                                            const alluvium_key *key_,
                                            alluvium_entry_fn look,
                                            void *context,
                                            alluvium_error *error);

/**
 * Takes the entry with the smallest user key out of a map, and has `look` look at it as `alluvium_applying_map_first` does.
 */
alluvium_status alluvium_applying_map_pop_first(alluvium_applying applying,
                                                uint16_t state,
                                                const alluvium_key *key_,
                                                alluvium_entry_fn look,
                                                void *context,
                                                alluvium_error *error);

/**
 * Reads many keys of a value state: what memory doesn't have is read from disk together. The values lie in `memory`, one behind the other
 * in no particular order; `found` says for each key where. Those for which there is no room have `ALLUVIUM_TOO_SMALL` and their length, and
 * then the call says `ALLUVIUM_TOO_SMALL` too. Neither may overlap the keys.
 */
alluvium_status alluvium_writer_get_many(alluvium_writer writer,
                                         uint16_t state,
                                         const alluvium_key *keys_,
                                         size_t keys_len,
                                         uint8_t *memory,
                                         size_t capacity,
                                         alluvium_found *found,
                                         alluvium_error *error);

/**
 * `alluvium_writer_update` of many keys: what memory doesn't have is read from disk together. A key that occurs twice is changed twice, in
 * order; else the order is any. `change` is told the key's place, and called once for each key. Where it returns what it may not, that key keeps
 * its value, the others are changed as it says, and the call fails with the first such mistake. Where it fails for another reason, some keys are
 * changed and others aren't, and the error doesn't say which.
 */
alluvium_status alluvium_writer_update_many(alluvium_writer writer,
                                            uint16_t state,
                                            const alluvium_key *keys_,
                                            size_t keys_len,
                                            alluvium_update_fn change,
                                            void *context,
                                            alluvium_error *error);

/**
 * Fetches what memory has of these keys in these states into the processor's caches: worth it some dozen keys ahead of their use.
 */
alluvium_status alluvium_writer_prefetch(alluvium_writer writer,
                                         const uint16_t *states,
                                         size_t states_len,
                                         const alluvium_key *keys_,
                                         size_t keys_len,
                                         alluvium_error *error);

/**
 * Does the operations of a packed batch, in order; reads are not among them. Where one fails, those before it are done, those after it not.
 *
 * Each operation is, little-endian and without padding: `operation u8 | flags u8 | state u16 | key group u16 | len(key) u16 | len(namespace)
 * u16 | len(user key) u16 | len(value) u32 | key | namespace | user key | value`, with what it doesn't have empty. See `ALLUVIUM_OP_...`.
 */
alluvium_status alluvium_writer_apply(alluvium_writer writer,
                                      alluvium_slice batch,
                                      alluvium_error *error);

/**
 * Does the operations of a packed batch, in order, reads among them, without waiting for the disk: answers come by the ticket.
 * `ALLUVIUM_BUSY` while too many reads are in flight: then nothing was done. Close the ticket with `alluvium_ticket_close`.
 */
alluvium_status alluvium_writer_submit(alluvium_writer writer,
                                       alluvium_slice batch,
                                       alluvium_ticket *ticket,
                                       alluvium_error *error);

/**
 * Whether so many reads are in flight that no batch is submitted for now: 0 or 1.
 */
alluvium_status alluvium_writer_is_full(alluvium_writer writer, uint32_t *is_full, alluvium_error *error);

/**
 * Makes an empty buffer.
 */
alluvium_status alluvium_buffer_new(alluvium_buffer *buffer, alluvium_error *error);

/**
 * Where a buffer's bytes are, how many, and of how many records they consist (may be null). They stay until a call fills the buffer
 * again, or it is freed.
 */
alluvium_status alluvium_buffer_data(alluvium_buffer buffer,
                                     alluvium_slice *data,
                                     size_t *records);

/**
 * Frees a buffer, and its bytes.
 */
alluvium_status alluvium_buffer_free(alluvium_buffer buffer);

/**
 * Begins a load of about so many records, which come in the order of key group, state, key, namespace and user key. Nothing of it is there
 * to be read before `alluvium_bulk_finish`, which closes it, as `alluvium_bulk_abandon` does.
 * A load of which something could not be written has failed: it takes no more records and doesn't end well, and says so with `ALLUVIUM_OPTIONS`
 * where the first error was of the class `ALLUVIUM_CLASS_RETRY`. Give it up, and begin another one. What was refused as wrong changes nothing.
 */
alluvium_status alluvium_bulk_begin(alluvium_store store,
                                    uint64_t records,
                                    alluvium_bulk_load *load,
                                    alluvium_error *error);

/**
 * Sets the clock by which what is loaded from now on expires, in ms; it begins at 0.
 */
alluvium_status alluvium_bulk_set_time(alluvium_bulk_load load, uint64_t now_ms, alluvium_error *error);

/**
 * Loads a value. `ALLUVIUM_OPTIONS` where it doesn't come behind what was loaded before.
 */
alluvium_status alluvium_bulk_put(alluvium_bulk_load load,
                                  uint16_t state,
                                  const alluvium_key *key_,
                                  alluvium_slice value,
                                  alluvium_error *error);

/**
 * Loads a list, which isn't empty, as by `alluvium_bulk_put`.
 */
alluvium_status alluvium_bulk_put_list(alluvium_bulk_load load,
                                       uint16_t state,
                                       const alluvium_key *key_,
                                       const alluvium_slice *elements,
                                       size_t elements_len,
                                       alluvium_error *error);

/**
 * Loads an entry of a map, as by `alluvium_bulk_put`.
 */
alluvium_status alluvium_bulk_map_put(alluvium_bulk_load load,
                                      uint16_t state,
                                      const alluvium_key *key_,
                                      alluvium_slice user_key,
                                      alluvium_slice value,
                                      alluvium_error *error);

/**
 * Ends a load: what was loaded is there to be read, all at once. `ALLUVIUM_STATE` where the store has something of it already: then nothing
 * is loaded. The handle is none from then on, whatever this comes to but for a misuse.
 */
alluvium_status alluvium_bulk_finish(alluvium_bulk_load load,
                                     alluvium_error *error);

/**
 * Gives a load up: nothing of it is loaded.
 */
alluvium_status alluvium_bulk_abandon(alluvium_bulk_load load, alluvium_error *error);

/**
 * Cuts the store's epoch: everything written before is in the checkpoint, nothing written after. It becomes complete in the background.
 * Close what it gives with `alluvium_pending_close`.
 */
alluvium_status alluvium_store_barrier(alluvium_store store,
                                       const alluvium_barrier *barrier_,
                                       alluvium_pending *pending,
                                       alluvium_error *error);

/**
 * `alluvium_store_barrier` of the writer's store, all its writers included: from the thread of a writer it is the shorter way.
 */
alluvium_status alluvium_writer_barrier(alluvium_writer writer,
                                        const alluvium_barrier *barrier_,
                                        alluvium_pending *pending,
                                        alluvium_error *error);

/**
 * Waits until a checkpoint is complete, or can't become so, and gives what is known of it (`info` may be null; else close it with
 * `alluvium_info_close`). `ALLUVIUM_CHECKPOINT` where it was given up. Several threads may wait, and each may ask again.
 */
alluvium_status alluvium_pending_wait(alluvium_pending pending,
                                      alluvium_info *info,
                                      alluvium_error *error);

/**
 * The label of a checkpoint on its way.
 */
alluvium_status alluvium_pending_label(alluvium_pending pending, uint64_t *label, alluvium_error *error);

/**
 * As `alluvium_pending_wait`, but says `ALLUVIUM_PENDING` at once while the checkpoint is on its way.
 */
alluvium_status alluvium_pending_poll(alluvium_pending pending, alluvium_info *info, alluvium_error *error);

/**
 * Gives a checkpoint up. Its changes stay in the store and join the next one.
 */
alluvium_status alluvium_pending_abort(alluvium_pending pending, alluvium_error *error);

/**
 * Closes the handle of a checkpoint on its way; the checkpoint completes all the same. `ALLUVIUM_IN_USE` while a call waits for it.
 */
alluvium_status alluvium_pending_close(alluvium_pending pending,
                                       alluvium_error *error);

/**
 * The numbers of a checkpoint or commit.
 */
alluvium_status alluvium_info_numbers(alluvium_info info, alluvium_numbers *numbers, alluvium_error *error);

/**
 * The host's metadata of a checkpoint or commit; it stays until the info is closed.
 */
alluvium_status alluvium_info_metadata(alluvium_info info, alluvium_slice *metadata, alluvium_error *error);

/**
 * Where the sources stood for a range of key groups, by its place; the bytes stay until the info is closed. `ALLUVIUM_NOT_FOUND` where
 * there is no such place.
 */
alluvium_status alluvium_info_offset(alluvium_info info,
                                     size_t index,
                                     alluvium_offset *offset,
                                     alluvium_error *error);

/**
 * The position in the changelog behind a commit, or before which a checkpoint has everything; 0 where there is no changelog.
 */
alluvium_status alluvium_info_position(alluvium_info info,
                                       uint64_t *position,
                                       alluvium_error *error);

/**
 * Closes an info.
 */
alluvium_status alluvium_info_close(alluvium_info info, alluvium_error *error);

/**
 * How many checkpoints a store keeps.
 */
alluvium_status alluvium_store_checkpoints(alluvium_store store, size_t *count, alluvium_error *error);

/**
 * What is known of a checkpoint that a store keeps, by its place, oldest first; `ALLUVIUM_NOT_FOUND` where there is no such place. Close it
 * with `alluvium_info_close`.
 */
alluvium_status alluvium_store_checkpoint(alluvium_store store,
                                          size_t index,
                                          alluvium_info *info,
                                          alluvium_error *error);

/**
 * What is known of the checkpoint that a store was opened at; `ALLUVIUM_NOT_FOUND` where it was created. Close it with
 * `alluvium_info_close`.
 */
alluvium_status alluvium_store_restored(alluvium_store store, alluvium_info *info, alluvium_error *error);

/**
 * Keeps a checkpoint until it is released or the store is closed. That isn't written down: whoever opens the store again retains it again, before the next
 * checkpoint is complete. `ALLUVIUM_CHECKPOINT` where the store has none of this label.
 */
alluvium_status alluvium_store_retain(alluvium_store store,
                                      uint64_t label,
                                      alluvium_error *error);

/**
 * Lets go of a checkpoint. The newest one always stays; so does that which the store was opened at, until the next is complete.
 * `ALLUVIUM_CHECKPOINT` where the store has none of this label.
 */
alluvium_status alluvium_store_release(alluvium_store store,
                                       uint64_t label,
                                       alluvium_error *error);

/**
 * The host's word that a checkpoint is complete, its parts in other places included. Words may come late, twice, or for what is gone.
 */
alluvium_status alluvium_store_confirm(alluvium_store store,
                                       uint64_t label,
                                       alluvium_error *error);

/**
 * The host's word that it gave a checkpoint up.
 */
alluvium_status alluvium_store_abort(alluvium_store store, uint64_t label, alluvium_error *error);

/**
 * The host's word that it needs neither this checkpoint nor those before it any more, but for those that it retains.
 */
alluvium_status alluvium_store_subsume(alluvium_store store, uint64_t label, alluvium_error *error);

/**
 * Puts a checkpoint's files into another, existing directory, durably: it can then be opened or restored from.
 * `ALLUVIUM_OPTIONS` where there is no such directory, `ALLUVIUM_EXISTS` where another file has the name of one of them.
 */
alluvium_status alluvium_store_export(alluvium_store store,
                                      uint64_t label,
                                      const char *directory,
                                      alluvium_error *error);

/**
 * Commits what all writers of a store wrote, as one, with where the sources stand and the host's metadata, and leaves the word on whether it
 * lasts. `lasting` is `ALLUVIUM_LASTING_...`. Needs a changelog (`ALLUVIUM_DURABILITY_CHANGELOG`) or a transactional store, which may have
 * one too. `commit` may be null; else close it with `alluvium_commit_close`.
 */
alluvium_status alluvium_store_commit_lasting(alluvium_store store,
                                              const alluvium_offset *offsets,
                                              size_t offsets_len,
                                              alluvium_slice metadata,
                                              uint32_t lasting,
                                              alluvium_commit *commit,
                                              alluvium_error *error);

/**
 * `alluvium_store_commit_lasting` of the writer's store, all its writers included, the shorter way.
 */
alluvium_status alluvium_writer_commit_lasting(alluvium_writer writer,
                                               const alluvium_offset *offsets,
                                               size_t offsets_len,
                                               alluvium_slice metadata,
                                               uint32_t lasting,
                                               alluvium_commit *commit,
                                               alluvium_error *error);

/**
 * Waits until a commit lasts: whatever happens to the process or the machine from then on, the store is found at this commit or a later one.
 * The sync isn't put off for it any more. `ALLUVIUM_OPTIONS` where the store has no changelog: it lasts with the next checkpoint then.
 * `ALLUVIUM_BUSY` where a bulk load or a migration came before it that only a checkpoint will have. A failure of the class
 * `ALLUVIUM_CLASS_RETRY` isn't final: it may still come to last.
 */
alluvium_status alluvium_commit_wait(alluvium_commit commit,
                                     alluvium_error *error);

/**
 * As `alluvium_commit_wait`, but says `ALLUVIUM_PENDING` at once while the commit doesn't last yet, and hurries nothing.
 */
alluvium_status alluvium_commit_poll(alluvium_commit commit,
                                     alluvium_error *error);

/**
 * Has `lasting` called once, when a commit lasts or can't come to: now, if that is known, else by a thread of the library, which syncs nothing
 * more until it returns. It is called when the store is closed at the latest, and may be after `alluvium_commit_wait` returned; closing the commit
 * doesn't take that back. `context` is the library's from the call on, whatever that comes to, and is let go by `release`, which may be null, when
 * `lasting` was called.
 */
alluvium_status alluvium_commit_on_lasting(alluvium_commit commit,
                                           alluvium_lasting_fn lasting,
                                           void *context,
                                           alluvium_release_fn release,
                                           alluvium_error *error);

/**
 * The position in the changelog behind a commit; each has a greater one than those before. 0 where the store never had a changelog.
 */
alluvium_status alluvium_commit_position(alluvium_commit commit,
                                         uint64_t *position,
                                         alluvium_error *error);

/**
 * What was committed; close it with `alluvium_info_close`.
 */
alluvium_status alluvium_commit_info(alluvium_commit commit, alluvium_info *info, alluvium_error *error);

/**
 * Closes a commit's handle; it comes to last all the same. `ALLUVIUM_IN_USE` while a call waits for it.
 */
alluvium_status alluvium_commit_close(alluvium_commit commit, alluvium_error *error);

/**
 * Makes up for an event by a function of the host's, for what only the host can undo; it is called once for each key group that the event was applied
 * to. Once for each event: one that was taken back before, in whatever way, is passed over, and the function isn't called. What it changed is
 * written together with the record of that, and lasts with the next commit or checkpoint. `dependents` is `ALLUVIUM_DEPENDENTS_...`. Close
 * `repair` with `alluvium_repair_close`.
 *
 * `ALLUVIUM_EVENT` where the changelog doesn't have the event any more, or where others depend on it and the host doesn't say that it knows;
 * `ALLUVIUM_STATE` where the function reads or changes a state that it has no business with; what the function came to. Nothing has changed then.
 */
alluvium_status alluvium_writer_compensate(alluvium_writer writer,
                                           alluvium_event_id event,
                                           alluvium_undo_fn undo,
                                           void *context,
                                           uint32_t dependents,
                                           alluvium_repair *repair,
                                           alluvium_error *error);

/**
 * A cursor of the keys of a state in a range of key groups, each once, whatever namespaces it has. Close it with
 * `alluvium_cursor_close`.
 */
alluvium_status alluvium_cursor_keys(alluvium_store store,
                                     uint16_t state,
                                     alluvium_range range_,
                                     alluvium_cursor *cursor,
                                     alluvium_error *error);

/**
 * A cursor of the keys that a state has in one namespace. Close it with `alluvium_cursor_close`.
 */
alluvium_status alluvium_cursor_keys_in_namespace(alluvium_store store,
                                                  uint16_t state,
                                                  alluvium_range range_,
                                                  alluvium_slice ns,
                                                  alluvium_cursor *cursor,
                                                  alluvium_error *error);

/**
 * A cursor of the pairs of key and namespace of a state. Close it with `alluvium_cursor_close`.
 */
alluvium_status alluvium_cursor_keys_and_namespaces(alluvium_store store,
                                                    uint16_t state,
                                                    alluvium_range range_,
                                                    alluvium_cursor *cursor,
                                                    alluvium_error *error);

/**
 * A cursor of the entries of a map in a range; null: all of them. Close it with `alluvium_cursor_close`.
 */
alluvium_status alluvium_cursor_entries(alluvium_store store,
                                        uint16_t state,
                                        const alluvium_key *key_,
                                        const alluvium_map_range *range,
                                        alluvium_cursor *cursor,
                                        alluvium_error *error);

/**
 * How many records at most, and, but for the last of them, how many bytes a cursor gives a call: usually 4,096 and 1 MiB.
 */
alluvium_status alluvium_cursor_set_batch(alluvium_cursor cursor,
                                          size_t records_max,
                                          size_t bytes_max,
                                          alluvium_error *error);

/**
 * The next batch of what a cursor goes through, into a buffer, with the writer's view of it: `ALLUVIUM_NOT_FOUND` at the end, with an empty buffer.
 * A cursor that failed fails again with the same error; begin with a new one. `ALLUVIUM_ARGUMENT` for one of another store, or of a snapshot. Each record
 * is, little-endian and without padding: `key group u16 | len(key) u16 | len(namespace) u16 | len(user key) u16 | len(value) u32 | key |
 * namespace | user key | value`, with what the cursor doesn't give empty.
 */
alluvium_status alluvium_writer_fetch(alluvium_writer writer,
                                      alluvium_cursor cursor,
                                      alluvium_buffer buffer,
                                      alluvium_error *error);

/**
 * As `alluvium_writer_fetch`, with a reader's view.
 */
alluvium_status alluvium_reader_fetch(alluvium_reader reader,
                                      alluvium_cursor cursor,
                                      alluvium_buffer buffer,
                                      alluvium_error *error);

/**
 * As `alluvium_writer_fetch`, in a snapshot, whose own the cursor is from then on.
 */
alluvium_status alluvium_snapshot_fetch(alluvium_snapshot snapshot,
                                        alluvium_cursor cursor,
                                        alluvium_buffer buffer,
                                        alluvium_error *error);

/**
 * Closes a cursor. Files that it goes through stay on disk until then.
 */
alluvium_status alluvium_cursor_close(alluvium_cursor cursor, alluvium_error *error);

/**
 * Fills in what is usual.
 */
alluvium_status alluvium_engine_options_init(alluvium_engine_options *options);

/**
 * Starts an engine. Null for the usual options. Close it with `alluvium_engine_close`.
 */
alluvium_status alluvium_engine_open(const alluvium_engine_options *options_,
                                     alluvium_engine *engine,
                                     alluvium_error *error);

/**
 * Closes an engine, and waits up to a minute for the end of its threads: `ALLUVIUM_HAS_CHILDREN` while a store or share of it is open. With
 * `ALLUVIUM_OK` they have ended: no callback is called any more, all contexts were let go, and the library can be unloaded. With
 * `ALLUVIUM_PENDING` something holds one of them for longer, such as a disk that doesn't answer: the engine is closed all the same, but the library mustn't be
 * unloaded.
 */
alluvium_status alluvium_engine_close(alluvium_engine engine,
                                      alluvium_error *error);

/**
 * The same, but waits up to `timeout_ms`, and says whether all threads have ended (may be null): 0 or 1. Where not, they do later, and the library
 * mustn't be unloaded before; the engine is closed all the same (`ALLUVIUM_OK`).
 */
alluvium_status alluvium_engine_close_within(alluvium_engine engine,
                                             uint64_t timeout_ms,
                                             uint32_t *ended,
                                             alluvium_error *error);

/**
 * The memory budget and how much of it is in use, in bytes. Either may be null.
 */
alluvium_status alluvium_engine_memory(alluvium_engine engine,
                                       uint64_t *budget_bytes,
                                       uint64_t *used_bytes,
                                       alluvium_error *error);

/**
 * Changes the memory budget: from 4 MiB up to the options' ceiling.
 */
alluvium_status alluvium_engine_set_budget(alluvium_engine engine, uint64_t budget_bytes, alluvium_error *error);

/**
 * Makes a part of the budget for a group of stores: they take no more than `limit_bytes` together, and nobody else takes of
 * `minimum_bytes`. Close it with `alluvium_share_close`.
 */
alluvium_status alluvium_share_open(alluvium_engine engine,
                                    uint64_t minimum_bytes,
                                    uint64_t limit_bytes,
                                    alluvium_share *share,
                                    alluvium_error *error);

/**
 * How much the stores of a share have taken, in bytes.
 */
alluvium_status alluvium_share_used(alluvium_share share, uint64_t *used_bytes, alluvium_error *error);

/**
 * Changes a share's limit, in bytes. A smaller one takes effect as writers work.
 */
alluvium_status alluvium_share_set_limit(alluvium_share share, uint64_t limit_bytes, alluvium_error *error);

/**
 * Closes a share. Stores that live in it go on to; the part is given back when the last of them is closed.
 */
alluvium_status alluvium_share_close(alluvium_share share, alluvium_error *error);

/**
 * The error's status, its class (`ALLUVIUM_CLASS_...`), and its message, which stays until the error is freed. Any of the three may be
 * null.
 */
alluvium_status alluvium_error_get(alluvium_error error,
                                   alluvium_status *status,
                                   int32_t *class_,
                                   const char **message);

/**
 * Frees an error.
 */
alluvium_status alluvium_error_free(alluvium_error error);

/**
 * A few words on a status, for logs; never null.
 */
const char *alluvium_status_text(alluvium_status status);

/**
 * What a caller can do about a status: `ALLUVIUM_CLASS_...`. That of an error (`alluvium_error_get`) is more exact where a file is at
 * fault.
 */
int32_t alluvium_status_class(alluvium_status status);

/**
 * The library's version, such as `0.1.0`.
 */
const char *alluvium_version(void);

/**
 * Whether the library does what a program expects that was compiled with a header of this `ALLUVIUM_ABI_VERSION`: `ALLUVIUM_OK`, else
 * `ALLUVIUM_ABI`.
 */
alluvium_status alluvium_check_abi(uint32_t version);

/**
 * How many handles are open in the process, errors and buffers included: 0 after a program that closes what it opens.
 */
alluvium_status alluvium_open_handles(size_t *count);

/**
 * Registers what the host does with events, and says its number; one of the same name takes the place of the earlier. Where the changelog has
 * events, their handlers have to be registered, in the version that applied them, before the first writer is opened or the first reader read
 * from (`ALLUVIUM_EVENT_HANDLER` there). The context is the library's from this call on, whatever it comes to.
 */
alluvium_status alluvium_store_handler(alluvium_store store,
                                       const alluvium_handler *handler,
                                       uint32_t *number,
                                       alluvium_error *error);

/**
 * Has a handler apply an event to the state of one key group of the writer. With a changelog it is logged as the event or as what it changed, as
 * `log_mode` of the states says that it changed. What the handler changed before it fails stays.
 */
alluvium_status alluvium_writer_apply_event(alluvium_writer writer,
                                            uint32_t handler,
                                            uint16_t group,
                                            alluvium_slice event,
                                            alluvium_error *error);

/**
 * The same with an event that is known by its id, and that happens once: `applied` (may be null) is 0 where it, or one of its source behind it, was
 * applied to this key group before, else 1. Its changes are in a commit or checkpoint together; where it changes a state that is `traced` it is
 * logged with what it read and wrote, so that it can be taken back. `ALLUVIUM_OPTIONS` where the store has no changelog.
 */
alluvium_status alluvium_writer_apply_event_once(alluvium_writer writer,
                                                 uint32_t handler,
                                                 uint16_t group,
                                                 alluvium_event_id id,
                                                 alluvium_slice event,
                                                 uint32_t *applied,
                                                 alluvium_error *error);

/**
 * The key group of the event: keys of others are refused with `ALLUVIUM_OUTSIDE_RANGE`.
 */
alluvium_status alluvium_applying_group(alluvium_applying applying, uint16_t *group, alluvium_error *error);

/**
 * The writer's clock, in ms, which is logged with the event.
 */
alluvium_status alluvium_applying_now(alluvium_applying applying, uint64_t *now_ms, alluvium_error *error);

/**
 * Something that isn't the same each time, such as the time or a random number, copied into `memory`: made by `draw` and logged; where the
 * event is applied again it is what was logged, and `draw` isn't called. `ALLUVIUM_ARGUMENT` where `draw` gives no bytes, or more than 1 GiB: the event
 * fails then, whatever its handler says. `ALLUVIUM_TOO_SMALL` where it doesn't fit: it is drawn then, and can't be
 * had any more.
 */
alluvium_status alluvium_applying_determinant(alluvium_applying applying,
                                              alluvium_draw_fn draw,
                                              void *context,
                                              uint8_t *memory,
                                              size_t capacity,
                                              size_t *len,
                                              alluvium_error *error);

/**
 * A value, as by `alluvium_writer_get`.
 */
alluvium_status alluvium_applying_get(alluvium_applying applying,
                                      uint16_t state,
                                      const alluvium_key *key_,
                                      uint8_t *memory,
                                      size_t capacity,
                                      size_t *len,
                                      alluvium_error *error);

/**
 * Puts a value.
 */
alluvium_status alluvium_applying_put(alluvium_applying applying,
                                      uint16_t state,
                                      const alluvium_key *key_,
                                      alluvium_slice value,
                                      alluvium_error *error);

/**
 * Deletes a value, a list, or a merging state's value.
 */
alluvium_status alluvium_applying_delete(alluvium_applying applying,
                                         uint16_t state,
                                         const alluvium_key *key_,
                                         alluvium_error *error);

/**
 * Merges an operand into a value, without reading it.
 */
alluvium_status alluvium_applying_merge(alluvium_applying applying,
                                        uint16_t state,
                                        const alluvium_key *key_,
                                        alluvium_slice operand,
                                        alluvium_error *error);

/**
 * Appends an element to a list, without reading it.
 */
alluvium_status alluvium_applying_append(alluvium_applying applying,
                                         uint16_t state,
                                         const alluvium_key *key_,
                                         alluvium_slice element,
                                         alluvium_error *error);

/**
 * Has `visit` look at the elements of a list, in order. `ALLUVIUM_NOT_FOUND` where it is empty.
 */
alluvium_status alluvium_applying_list(alluvium_applying applying,
                                       uint16_t state,
                                       const alluvium_key *key_,
                                       alluvium_read_fn visit,
                                       void *context,
                                       alluvium_error *error);

/**
 * The value of a map's entry, as by `alluvium_writer_map_get`.
 */
alluvium_status alluvium_applying_map_get(alluvium_applying applying,
                                          uint16_t state,
                                          const alluvium_key *key_,
                                          alluvium_slice user_key,
                                          uint8_t *memory,
                                          size_t capacity,
                                          size_t *len,
                                          alluvium_error *error);

/**
 * Puts an entry of a map.
 */
alluvium_status alluvium_applying_map_put(alluvium_applying applying,
                                          uint16_t state,
                                          const alluvium_key *key_,
                                          alluvium_slice user_key,
                                          alluvium_slice value,
                                          alluvium_error *error);

/**
 * Deletes an entry of a map.
 */
alluvium_status alluvium_applying_map_delete(alluvium_applying applying,
                                             uint16_t state,
                                             const alluvium_key *key_,
                                             alluvium_slice user_key,
                                             alluvium_error *error);

/**
 * Deletes the entries of a map.
 */
alluvium_status alluvium_applying_map_clear(alluvium_applying applying,
                                            uint16_t state,
                                            const alluvium_key *key_,
                                            alluvium_error *error);

/**
 * Has `visit` look at the entries of a map in a range, in order; null: all of them. `ALLUVIUM_NOT_FOUND` where there are none.
 */
alluvium_status alluvium_applying_map_scan(alluvium_applying applying,
                                           uint16_t state,
                                           const alluvium_key *key_,
                                           const alluvium_map_range *range,
                                           alluvium_entry_fn visit,
                                           void *context,
                                           alluvium_error *error);

/**
 * What a store wants of its host; `ALLUVIUM_NOT_FOUND` without the option `fetch`. Close it with `alluvium_fetches_close`.
 */
alluvium_status alluvium_store_fetches(alluvium_store store,
                                       alluvium_fetches *fetches,
                                       alluvium_error *error);

/**
 * What is wanted now, at most `requests_len` requests, what somebody waits for first; waits up to `timeout_ms` until there is anything.
 * Each request is given once, and answered with `alluvium_fetches_complete` or `alluvium_fetches_fail`, in any order.
 */
alluvium_status alluvium_fetches_wait(alluvium_fetches fetches,
                                      uint64_t timeout_ms,
                                      alluvium_fetch_request *requests,
                                      size_t requests_len,
                                      size_t *count,
                                      alluvium_error *error);

/**
 * As `alluvium_fetches_wait`, but gives only what somebody waits for: for a host that brings the rest more slowly, or by a thread of its own.
 */
alluvium_status alluvium_fetches_wait_demanded(alluvium_fetches fetches,
                                               uint64_t timeout_ms,
                                               alluvium_fetch_request *requests,
                                               size_t requests_len,
                                               size_t *count,
                                               alluvium_error *error);

/**
 * Has the host's threads that wait in `alluvium_fetches_wait` or `alluvium_fetches_wait_demanded` return now, with or without anything.
 */
alluvium_status alluvium_fetches_wake(alluvium_fetches fetches,
                                      alluvium_error *error);

/**
 * Has these bytes of a file wanted in the background before what was not preferred, in the order of these calls, and also where the host failed to bring
 * them before. Nothing comes of it where the file is here already, or isn't one of the store's.
 */
alluvium_status alluvium_fetches_prefer(alluvium_fetches fetches,
                                        const char *file,
                                        uint64_t offset,
                                        uint64_t len,
                                        alluvium_error *error);

/**
 * Brings what a request asked for, all of it.
 */
alluvium_status alluvium_fetches_complete(alluvium_fetches fetches,
                                          uint64_t id,
                                          alluvium_slice data,
                                          alluvium_error *error);

/**
 * Says that the host can't bring what a request asked for: who waits for it gets `ALLUVIUM_ABSENT`.
 */
alluvium_status alluvium_fetches_fail(alluvium_fetches fetches,
                                      uint64_t id,
                                      const char *problem,
                                      alluvium_error *error);

/**
 * As `alluvium_fetches_fail`, where the host knows that it will never have it as it was: who waits for it gets `ALLUVIUM_CORRUPT`. `fault` is
 * `ALLUVIUM_FAULT_...`.
 */
alluvium_status alluvium_fetches_refuse(alluvium_fetches fetches,
                                        uint64_t id,
                                        uint32_t fault,
                                        const char *problem,
                                        alluvium_error *error);

/**
 * Has every read that waits now fail with `ALLUVIUM_ABSENT` (it doesn't end `alluvium_fetches_wait`: `alluvium_fetches_wake` does): a task that is cancelled must not wait for the network.
 */
alluvium_status alluvium_fetches_cancel(alluvium_fetches fetches,
                                        alluvium_error *error);

/**
 * How many files are not here yet.
 */
alluvium_status alluvium_fetches_absent(alluvium_fetches fetches, size_t *count, alluvium_error *error);

/**
 * How many bytes are not here yet, of all files.
 */
alluvium_status alluvium_fetches_absent_bytes(alluvium_fetches fetches, uint64_t *bytes, alluvium_error *error);

/**
 * Closes the handle; the store wants what it wants all the same. `ALLUVIUM_IN_USE` while a call waits.
 */
alluvium_status alluvium_fetches_close(alluvium_fetches fetches, alluvium_error *error);

/**
 * The files of a checkpoint that is complete, pinned until they are closed with `alluvium_files_close`. `ALLUVIUM_CHECKPOINT` where the store has none of this
 * label.
 */
alluvium_status alluvium_store_files(alluvium_store store,
                                     uint64_t label,
                                     alluvium_files *files,
                                     alluvium_error *error);

/**
 * A checkpoint's file, by its place: the segments, and last the manifest. `ALLUVIUM_NOT_FOUND` where there is no such place.
 */
alluvium_status alluvium_files_get(alluvium_files files,
                                   size_t index,
                                   alluvium_file *file,
                                   alluvium_error *error);

/**
 * What is known of the checkpoint. Close it with `alluvium_info_close`.
 */
alluvium_status alluvium_files_info(alluvium_files files, alluvium_info *info, alluvium_error *error);

/**
 * The manifest's bytes; they stay until the files are closed.
 */
alluvium_status alluvium_files_manifest(alluvium_files files, alluvium_slice *manifest, alluvium_error *error);

/**
 * Reads `len` bytes of a file, by its place, from `offset`, into `memory`: all of them, `ALLUVIUM_ARGUMENT` where the file ends before. `ALLUVIUM_NOT_FOUND`
 * where there is no such place.
 */
alluvium_status alluvium_files_read(alluvium_files files,
                                    size_t index,
                                    uint64_t offset,
                                    uint8_t *memory,
                                    size_t len,
                                    alluvium_error *error);

/**
 * Closes a checkpoint's files: they may be deleted from then on.
 */
alluvium_status alluvium_files_close(alluvium_files files, alluvium_error *error);

/**
 * Goes through everything in a checkpoint, in the order of key groups, then states, then keys. Close it with
 * `alluvium_iterator_close`. `ALLUVIUM_CHECKPOINT` where the store has none of this label.
 */
alluvium_status alluvium_store_iterate(alluvium_store store,
                                       uint64_t label,
                                       alluvium_iterator *iterator,
                                       alluvium_error *error);

/**
 * The next record of a checkpoint, `ALLUVIUM_NOT_FOUND` at the end. What it points to stays until the next call. An iterator that failed fails
 * again with the same error, whatever its class; begin with a new one.
 */
alluvium_status alluvium_iterator_next(alluvium_iterator iterator,
                                       alluvium_item *item,
                                       alluvium_error *error);

/**
 * Closes an iterator.
 */
alluvium_status alluvium_iterator_close(alluvium_iterator iterator, alluvium_error *error);

/**
 * Checks every byte of every manifest in a directory and of every segment that one names, and what they say of each other; no store needs to be
 * open. `*faults` says how many are damaged. What was found goes to the buffer, a line for each: `fault` or `note` (a file that nothing needs),
 * the file, where in it, in bytes, and what is wrong, with tabs between; tabs, line breaks and backslashes in names are written `\\t`, `\\n`,
 * `\\\\`.
 */
alluvium_status alluvium_verify(const char *path,
                                uint64_t *faults,
                                alluvium_buffer findings,
                                alluvium_error *error);

/**
 * What a directory holds, by its manifests and the lengths of its files; no segment is read, and no store needs to be open. A line for each, with tabs
 * between, and escapes as of `alluvium_verify`:
 *
 * - `manifest`, its number, the checkpoint's label (nothing where it is none of the host's), when it was made in ms since 1970, how many key groups the job
 *   has, the store's first and last one, how many segments it names, and the position in the changelog before which it has everything; in the order of
 *   the numbers;
 * - `state` behind its manifest, the state's number, `ALLUVIUM_KIND_...`, its name, and that of its merge operator (nothing where it has none);
 * - `unreadable` in place of a manifest that is damaged, its number, where in it, in bytes, and what is wrong;
 * - `file`, in the order of names: what it is (`manifest`, `segment`, `orphan`: a segment that no manifest names, `temporary`: never completed, `changelog`,
 *   `hot-list`, `lock`, or `other`: not of a store), its length in bytes, and its name.
 */
alluvium_status alluvium_describe(const char *path,
                                  alluvium_buffer buffer,
                                  alluvium_error *error);

/**
 * How much each state takes in the segments of a checkpoint, null for the newest that can be read: from the segments' directories, not from their records;
 * what a slice clips away counts too. A line for each state and level of segments, in their order, with tabs between, and escapes as of
 * `alluvium_verify`: the state's name, `ALLUVIUM_KIND_...`, the level (0 as flushed, 1 merged, 2 merged to the bottom), how many segments have anything of it, how
 * many records, tombstones and older versions included, how many of these are tombstones, and the bytes of keys, namespaces, user keys and
 * values. `ALLUVIUM_NO_CHECKPOINT` where there is none, `ALLUVIUM_CHECKPOINT` where none has the label.
 */
alluvium_status alluvium_usage(const char *path,
                               const uint64_t *label,
                               alluvium_buffer buffer,
                               alluvium_error *error);

/**
 * Appends an element to a list, without reading it.
 */
alluvium_status alluvium_writer_append(alluvium_writer writer,
                                       uint16_t state,
                                       const alluvium_key *key_,
                                       alluvium_slice element,
                                       alluvium_error *error);

/**
 * Appends several elements to a list, in order, without reading it: all of them or, where that fails, none.
 */
alluvium_status alluvium_writer_append_all(alluvium_writer writer,
                                           uint16_t state,
                                           const alluvium_key *key_,
                                           const alluvium_slice *elements,
                                           size_t elements_len,
                                           alluvium_error *error);

/**
 * The elements of a list, into a buffer: `len u32 | bytes` each, little-endian. `ALLUVIUM_NOT_FOUND` where it is empty.
 */
alluvium_status alluvium_writer_list(alluvium_writer writer,
                                     uint16_t state,
                                     const alluvium_key *key_,
                                     alluvium_buffer buffer,
                                     alluvium_error *error);

/**
 * Has `look` look at each element of a list where it lies, in order. `ALLUVIUM_NOT_FOUND` where it is empty.
 */
alluvium_status alluvium_writer_list_read(alluvium_writer writer,
                                          uint16_t state,
                                          const alluvium_key *key_,
                                          alluvium_read_fn look,
                                          void *context,
                                          alluvium_error *error);

/**
 * Replaces a list; an empty one deletes it.
 */
alluvium_status alluvium_writer_put_list(alluvium_writer writer,
                                         uint16_t state,
                                         const alluvium_key *key_,
                                         const alluvium_slice *elements,
                                         size_t elements_len,
                                         alluvium_error *error);

/**
 * Moves what a key holds in some namespaces to `key`'s own: lists are appended to its list, values merged into its value. For list and
 * merging states.
 */
alluvium_status alluvium_writer_merge_namespaces(alluvium_writer writer,
                                                 uint16_t state,
                                                 const alluvium_key *key_,
                                                 const alluvium_slice *sources,
                                                 size_t sources_len,
                                                 alluvium_error *error);

/**
 * The value of a map's entry, copied into `memory`, as by `alluvium_writer_get`.
 */
alluvium_status alluvium_writer_map_get(alluvium_writer writer,
                                        uint16_t state,
                                        const alluvium_key *key_,
                                        alluvium_slice user_key,
                                        uint8_t *memory,
                                        size_t capacity,
                                        size_t *len,
                                        alluvium_error *error);

/**
 * The value of a map's entry, into a buffer, as by `alluvium_writer_get_buffer`.
 */
alluvium_status alluvium_writer_map_get_buffer(alluvium_writer writer,
                                               uint16_t state,
                                               const alluvium_key *key_,
                                               alluvium_slice user_key,
                                               alluvium_buffer buffer,
                                               alluvium_error *error);

/**
 * Has `look` look at the value of a map's entry where it lies, as by `alluvium_writer_read`.
 */
alluvium_status alluvium_writer_map_read(alluvium_writer writer,
                                         uint16_t state,
                                         const alluvium_key *key_,
                                         alluvium_slice user_key,
                                         alluvium_read_fn look,
                                         void *context,
                                         alluvium_error *error);

/**
 * Whether a map has an entry: `ALLUVIUM_OK` or `ALLUVIUM_NOT_FOUND`.
 */
alluvium_status alluvium_writer_map_contains(alluvium_writer writer,
                                             uint16_t state,
                                             const alluvium_key *key_,
                                             alluvium_slice user_key,
                                             alluvium_error *error);

/**
 * Whether a map has any entry: `ALLUVIUM_OK` or `ALLUVIUM_NOT_FOUND`.
 */
alluvium_status alluvium_writer_map_any(alluvium_writer writer,
                                        uint16_t state,
                                        const alluvium_key *key_,
                                        alluvium_error *error);

/**
 * Puts an entry of a map.
 */
alluvium_status alluvium_writer_map_put(alluvium_writer writer,
                                        uint16_t state,
                                        const alluvium_key *key_,
                                        alluvium_slice user_key,
                                        alluvium_slice value,
                                        alluvium_error *error);

/**
 * Deletes an entry of a map.
 */
alluvium_status alluvium_writer_map_delete(alluvium_writer writer,
                                           uint16_t state,
                                           const alluvium_key *key_,
                                           alluvium_slice user_key,
                                           alluvium_error *error);

/**
 * Deletes the entries of a map in a range, whatever its direction; null: all of them.
 */
alluvium_status alluvium_writer_map_delete_range(alluvium_writer writer,
                                                 uint16_t state,
                                                 const alluvium_key *key_,
                                                 const alluvium_map_range *range,
                                                 alluvium_error *error);

/**
 * Deletes the entries of a map whose time is below `before`: those whose user keys begin with it, as 8 bytes, big-endian.
 */
alluvium_status alluvium_writer_map_expire(alluvium_writer writer,
                                           uint16_t state,
                                           const alluvium_key *key_,
                                           uint64_t before,
                                           alluvium_error *error);

/**
 * Deletes all entries of a map.
 */
alluvium_status alluvium_writer_map_clear(alluvium_writer writer,
                                          uint16_t state,
                                          const alluvium_key *key_,
                                          alluvium_error *error);

/**
 * The entry of a map with the smallest user key, into a buffer: a record as of `alluvium_writer_fetch`, with key group 0, and key and namespace empty.
 * `ALLUVIUM_NOT_FOUND` where there is none.
 */
alluvium_status alluvium_writer_map_first(alluvium_writer writer,
                                          uint16_t state,
                                          const alluvium_key *key_,
                                          alluvium_buffer buffer,
                                          alluvium_error *error);

/**
 * The entry of a map with the greatest user key, as by `alluvium_writer_map_first`.
 */
alluvium_status alluvium_writer_map_last(alluvium_writer writer,
                                         uint16_t state,
                                         const alluvium_key *key_,
                                         alluvium_buffer buffer,
                                         alluvium_error *error);

/**
 * Has `visit` look at the entries of a map in a range where they lie, in order, until it has seen enough; null: all of them. It must leave the range alone.
 * `ALLUVIUM_NOT_FOUND` where there are none. A cursor (`alluvium_cursor_entries`) is for more than a callback may look at in one call.
 */
alluvium_status alluvium_writer_map_scan(alluvium_writer writer,
                                         uint16_t state,
                                         const alluvium_key *key_,
                                         const alluvium_map_range *range,
                                         alluvium_entry_fn visit,
                                         void *context,
                                         alluvium_error *error);

/**
 * Takes the entry with the smallest user key out of a map, which it gives as `alluvium_writer_map_first` does.
 */
alluvium_status alluvium_writer_map_pop_first(alluvium_writer writer,
                                              uint16_t state,
                                              const alluvium_key *key_,
                                              alluvium_buffer buffer,
                                              alluvium_error *error);

/**
 * Takes all entries with user keys below `below` out of a map, in order, into a buffer, records as of
 * `alluvium_writer_map_first`: the timers that are due. `ALLUVIUM_NOT_FOUND` where there are none. What is in the buffer when this fails is taken out
 * all the same.
 */
alluvium_status alluvium_writer_map_pop_below(alluvium_writer writer,
                                              uint16_t state,
                                              const alluvium_key *key_,
                                              alluvium_slice below,
                                              alluvium_buffer buffer,
                                              alluvium_error *error);

/**
 * As `alluvium_writer_map_pop_first`, but leaves the entry where it is unless `takes` says so of it; in the buffer it is in any case. `taken` (may be null):
 * whether it was taken out, 0 or 1.
 */
alluvium_status alluvium_writer_map_pop_first_if(alluvium_writer writer,
                                                 uint16_t state,
                                                 const alluvium_key *key_,
                                                 alluvium_takes_fn takes,
                                                 void *context,
                                                 alluvium_buffer buffer,
                                                 uint32_t *taken,
                                                 alluvium_error *error);

/**
 * As `alluvium_writer_map_pop_below`, but takes out no more than `bytes_max` of the buffer's bytes, and says whether there are more (may be null): 0 or 1.
 * `ALLUVIUM_TOO_SMALL` where the first entry alone is longer: nothing is taken out then. For callers that may have no room for what is out of the map.
 */
alluvium_status alluvium_writer_map_pop_below_up_to(alluvium_writer writer,
                                                    uint16_t state,
                                                    const alluvium_key *key_,
                                                    alluvium_slice below,
                                                    size_t bytes_max,
                                                    alluvium_buffer buffer,
                                                    uint32_t *more,
                                                    alluvium_error *error);

/**
 * The operand that adds `count` times an element, into a buffer; a negative count takes away.
 */
alluvium_status alluvium_multiset_operand(alluvium_slice element,
                                          int64_t count,
                                          alluvium_buffer operand,
                                          alluvium_error *error);

/**
 * How often an element is in a multiset; 0 for bytes that are none. Callbacks may call this, too.
 */
alluvium_status alluvium_multiset_count(alluvium_slice multiset_,
                                        alluvium_slice element,
                                        int64_t *count,
                                        alluvium_error *error);

/**
 * The elements of a multiset, ascending, into a buffer: `count i64 | len u32 | element` each, little-endian, without padding. `ALLUVIUM_ARGUMENT` for
 * bytes that are none.
 */
alluvium_status alluvium_multiset_elements(alluvium_slice multiset_,
                                           alluvium_buffer elements,
                                           alluvium_error *error);

/**
 * The `k` greatest elements that count above 0, greatest first, as by `alluvium_multiset_elements`.
 */
alluvium_status alluvium_multiset_top(alluvium_slice multiset_,
                                      size_t k,
                                      alluvium_buffer elements,
                                      alluvium_error *error);

/**
 * How long it is until the next checkpoint is due by the store's policy, in us, 0 when it is due now, and why (`ALLUVIUM_REASON_...`); either
 * may be null. `ALLUVIUM_NOT_FOUND` where the policy knows of none. The library takes no checkpoint by itself: a host that wants them by
 * policy asks in its loop, and cuts one when it is due. Asking takes about as long as a barrier; what happens between two
 * times isn't noticed, so ask at least ten times within the policy's time, or when `*due_in_us` is over.
 */
alluvium_status alluvium_store_next_checkpoint(alluvium_store store,
                                               uint64_t *due_in_us,
                                               uint32_t *reason,
                                               alluvium_error *error);

/**
 * How long a recovery would take after a crash now, in us: opening the store, replaying what came in since the barrier of the newest
 * complete checkpoint and, where `alluvium_store_observe_rates` said enough for it, catching up; `UINT64_MAX` where there is no end to that. As
 * long as the host counts no input (`alluvium_store_observe_input`), or replayed none, the time since that barrier is taken for the replay.
 */
alluvium_status alluvium_store_predicted_recovery(alluvium_store store,
                                                  uint64_t *recovery_us,
                                                  alluvium_error *error);

/**
 * What stands in the way of `ALLUVIUM_POLICY_RECOVERY_TIME`, as of the last `alluvium_store_next_checkpoint`; `ALLUVIUM_NOT_FOUND` where nothing
 * does.
 */
alluvium_status alluvium_store_checkpoint_conflict(alluvium_store store,
                                                   alluvium_conflict *conflict,
                                                   alluvium_error *error);

/**
 * The host took so much from its sources: events or bytes, whatever it counts by. What it takes a second time after a recovery counts too.
 * Nothing comes of it in a store with a changelog, whose bytes are counted instead.
 */
alluvium_status alluvium_store_observe_input(alluvium_store store,
                                             uint64_t units,
                                             alluvium_error *error);

/**
 * After a recovery the host replayed so much from its sources, in units of `alluvium_store_observe_input`, in this time, in us. Nothing comes
 * of it while no input is counted, or in a store with a changelog, which measures its own.
 */
alluvium_status alluvium_store_observe_replay(alluvium_store store,
                                              uint64_t units,
                                              uint64_t took_us,
                                              alluvium_error *error);

/**
 * How fast input comes in, and how fast it could be worked off, per second, in any unit: then recovery includes catching up, and a
 * checkpoint begins early enough for input that comes at full speed. To be said again when it changes; `NAN` for what isn't known.
 */
alluvium_status alluvium_store_observe_rates(alluvium_store store,
                                             double input,
                                             double capacity,
                                             alluvium_error *error);

/**
 * How much processing time a checkpoint costs, in us, as the host measures it: throughput lost, not how long it takes. Until it is said, one
 * processor's time from the barrier to the end, divided by all processors. For `ALLUVIUM_POLICY_YOUNG`.
 */
alluvium_status alluvium_store_observe_checkpoint_cost(alluvium_store store,
                                                       uint64_t lost_us,
                                                       alluvium_error *error);

/**
 * The store as it was at a checkpoint that is kept, as a snapshot: `ALLUVIUM_CHECKPOINT` where none of this label is kept, and the error says which
 * are; `ALLUVIUM_BUSY` while as many as the options allow live. Nothing is flushed for it. States that were registered later are empty;
 * those that were migrated since are refused with `ALLUVIUM_STATE`. Close it with `alluvium_snapshot_close`.
 */
alluvium_status alluvium_store_as_of(alluvium_store store,
                                     uint64_t label,
                                     alluvium_snapshot *snapshot,
                                     alluvium_error *error);

/**
 * The position in the changelog behind everything that was done so far, committed or not; 0 where there never was one.
 */
alluvium_status alluvium_store_position(alluvium_store store, uint64_t *position, alluvium_error *error);

/**
 * The store as it was at a position of its changelog: every change that ends there or before; of a transactional store, what was committed
 * by then. Needs `history_checkpoints`: `ALLUVIUM_OPTIONS` without; `ALLUVIUM_POSITION` where the history doesn't go back so far, or
 * the changelog not so far forward; `ALLUVIUM_BUSY` as of `alluvium_store_snapshot`, with which these views are counted. Each read goes
 * through the changelog between the nearest checkpoint and the position. Close it with `alluvium_past_close`.
 */
alluvium_status alluvium_store_as_of_position(alluvium_store store,
                                              uint64_t position,
                                              alluvium_past *past,
                                              alluvium_error *error);

/**
 * The position that it is a view at.
 */
alluvium_status alluvium_past_position(alluvium_past past, uint64_t *position, alluvium_error *error);

/**
 * Sets the clock that decides what is expired, in ms; it begins at 0.
 */
alluvium_status alluvium_past_set_time(alluvium_past past, uint64_t now_ms, alluvium_error *error);

/**
 * A value, as by `alluvium_writer_get`. `ALLUVIUM_POSITION` where it can't be told: events of its key group, a bulk load or a migration lie
 * behind the nearest checkpoint.
 */
alluvium_status alluvium_past_get(alluvium_past past,
                                  uint16_t state,
                                  const alluvium_key *key_,
                                  uint8_t *memory,
                                  size_t capacity,
                                  size_t *len,
                                  alluvium_error *error);

/**
 * A value, into a buffer, as by `alluvium_writer_get_buffer`: a copy that stays, whatever becomes of the store.
 */
alluvium_status alluvium_past_get_buffer(alluvium_past past,
                                         uint16_t state,
                                         const alluvium_key *key_,
                                         alluvium_buffer buffer,
                                         alluvium_error *error);

/**
 * A list, as by `alluvium_writer_list`.
 */
alluvium_status alluvium_past_list(alluvium_past past,
                                   uint16_t state,
                                   const alluvium_key *key_,
                                   alluvium_buffer buffer,
                                   alluvium_error *error);

/**
 * The value of a map's entry, as by `alluvium_writer_map_get`.
 */
alluvium_status alluvium_past_map_get(alluvium_past past,
                                      uint16_t state,
                                      const alluvium_key *key_,
                                      alluvium_slice user_key,
                                      uint8_t *memory,
                                      size_t capacity,
                                      size_t *len,
                                      alluvium_error *error);

/**
 * The value of a map's entry, into a buffer, as by `alluvium_past_get_buffer`.
 */
alluvium_status alluvium_past_map_get_buffer(alluvium_past past,
                                             uint16_t state,
                                             const alluvium_key *key_,
                                             alluvium_slice user_key,
                                             alluvium_buffer buffer,
                                             alluvium_error *error);

/**
 * The entries of a map in a range, in order, all at once, into a buffer, records as of `alluvium_writer_map_first`; null: all of them.
 * `ALLUVIUM_NOT_FOUND` where there are none.
 */
alluvium_status alluvium_past_map_entries(alluvium_past past,
                                          uint16_t state,
                                          const alluvium_key *key_,
                                          const alluvium_map_range *range,
                                          alluvium_buffer buffer,
                                          alluvium_error *error);

/**
 * Closes a view: `ALLUVIUM_IN_USE` while a call uses it.
 */
alluvium_status alluvium_past_close(alluvium_past past, alluvium_error *error);

/**
 * Brings keys of a writer back to what they were at a moment (`ALLUVIUM_AS_OF_...`, and the label or position), each in the state at the same place of
 * `states`: values, lists, merged values and whole maps, with the times at which they expire. What wasn't there then is deleted, what is
 * equal isn't written. These are changes as any others. Where it fails, keys before the one that it failed at are brought back, and the
 * same call goes on. `ALLUVIUM_CHECKPOINT`, `ALLUVIUM_POSITION` and `ALLUVIUM_STATE` where it can't be told what they were.
 */
alluvium_status alluvium_writer_rollback_keys(alluvium_writer writer,
                                              const uint16_t *states,
                                              const alluvium_key *keys_,
                                              size_t keys_len,
                                              uint32_t as_of,
                                              uint64_t which,
                                              alluvium_rolled_back *done,
                                              alluvium_error *error);

/**
 * As `alluvium_writer_rollback_keys`, the keys of a state in a range of the writer's key groups that begin with a prefix, in all namespaces.
 */
alluvium_status alluvium_writer_rollback_prefix(alluvium_writer writer,
                                                uint16_t state,
                                                alluvium_range groups,
                                                alluvium_slice prefix,
                                                uint32_t as_of,
                                                uint64_t which,
                                                alluvium_rolled_back *done,
                                                alluvium_error *error);

/**
 * Makes a reader, of the whole store and beside its writers; with `committed` (0 or 1) of what is committed alone, in a transactional store. Close it with `alluvium_reader_close`.
 */
alluvium_status alluvium_reader_open(alluvium_store store,
                                     uint32_t committed,
                                     alluvium_reader *reader,
                                     alluvium_error *error);

/**
 * Sets the clock that decides what is expired, in ms; it begins at 0.
 */
alluvium_status alluvium_reader_set_time(alluvium_reader reader, uint64_t now_ms, alluvium_error *error);

/**
 * A value, as by `alluvium_writer_get`.
 */
alluvium_status alluvium_reader_get(alluvium_reader reader,
                                    uint16_t state,
                                    const alluvium_key *key_,
                                    uint8_t *memory,
                                    size_t capacity,
                                    size_t *len,
                                    alluvium_error *error);

/**
 * A value, into a buffer, as by `alluvium_writer_get_buffer`: a copy that stays, whatever becomes of the store.
 */
alluvium_status alluvium_reader_get_buffer(alluvium_reader reader,
                                           uint16_t state,
                                           const alluvium_key *key_,
                                           alluvium_buffer buffer,
                                           alluvium_error *error);

/**
 * A list, as by `alluvium_writer_list`.
 */
alluvium_status alluvium_reader_list(alluvium_reader reader,
                                     uint16_t state,
                                     const alluvium_key *key_,
                                     alluvium_buffer buffer,
                                     alluvium_error *error);

/**
 * The value of a map's entry, as by `alluvium_writer_map_get`.
 */
alluvium_status alluvium_reader_map_get(alluvium_reader reader,
                                        uint16_t state,
                                        const alluvium_key *key_,
                                        alluvium_slice user_key,
                                        uint8_t *memory,
                                        size_t capacity,
                                        size_t *len,
                                        alluvium_error *error);

/**
 * The value of a map's entry, into a buffer, as by `alluvium_reader_get_buffer`.
 */
alluvium_status alluvium_reader_map_get_buffer(alluvium_reader reader,
                                               uint16_t state,
                                               const alluvium_key *key_,
                                               alluvium_slice user_key,
                                               alluvium_buffer buffer,
                                               alluvium_error *error);

/**
 * Whether a map has an entry: `ALLUVIUM_OK` or `ALLUVIUM_NOT_FOUND`.
 */
alluvium_status alluvium_reader_map_contains(alluvium_reader reader,
                                             uint16_t state,
                                             const alluvium_key *key_,
                                             alluvium_slice user_key,
                                             alluvium_error *error);

/**
 * Closes a reader: `ALLUVIUM_IN_USE` while a call uses it.
 */
alluvium_status alluvium_reader_close(alluvium_reader reader, alluvium_error *error);

/**
 * Has what the reads of a packed batch would find on disk brought into memory, in the background and many keys at once, for operations that
 * are yet to come: those of events that wait to be processed, above all after a recovery. Its other operations are passed over, as are
 * keys of key groups that nobody has a writer of. `taken` (may be null) is how many of the reads were taken up: at most 131,072 of a store
 * wait, and of more the last are passed over. Who asks for one of the keys meanwhile reads it at once, and what is written meanwhile stays. Any
 * thread may call this. See `alluvium_writer_submit` for the batch, and `alluvium_writer_prefetch` for what is in memory already.
 */
alluvium_status alluvium_store_warm(alluvium_store store,
                                    alluvium_slice batch,
                                    uint64_t *taken,
                                    alluvium_error *error);

/**
 * As `alluvium_store_warm`, and gives what to ask for how far that is. Close it with `alluvium_warming_close`; until then the store stays open.
 */
alluvium_status alluvium_store_warming(alluvium_store store,
                                       alluvium_slice batch,
                                       alluvium_warming *warming,
                                       alluvium_error *error);

/**
 * How many keys were taken up: fewer than the batch has reads where too many wait already.
 */
alluvium_status alluvium_warming_keys(alluvium_warming warming, uint64_t *count, alluvium_error *error);

/**
 * How many of them were brought into memory so far: the others are there already, have nothing on disk, or are still to be seen to.
 */
alluvium_status alluvium_warming_brought(alluvium_warming warming,
                                         uint64_t *brought,
                                         alluvium_error *error);

/**
 * Whether all of them were seen to: 0 or 1.
 */
alluvium_status alluvium_warming_is_done(alluvium_warming warming, uint32_t *is_done, alluvium_error *error);

/**
 * Waits until all of them were seen to.
 */
alluvium_status alluvium_warming_wait(alluvium_warming warming, alluvium_error *error);

/**
 * Closes the handle; the keys are brought all the same. `ALLUVIUM_IN_USE` while a call waits.
 */
alluvium_status alluvium_warming_close(alluvium_warming warming, alluvium_error *error);

/**
 * How far a store is with coming back since it was opened: with replaying the changelog and with warming up. It serves all the while.
 */
alluvium_status alluvium_store_recovery(alluvium_store store,
                                        alluvium_recovery *recovery,
                                        alluvium_error *error);

/**
 * Takes bad events back: what they and the events that depend on them wrote becomes what it would be had they never come. Once for each event: one
 * that was taken back is passed over. `way_` is `ALLUVIUM_WAY_...`. The events have to be in this writer's key groups, and to have changed `traced`
 * states alone. It lasts with the next commit or checkpoint, as a whole. Close `repair` with `alluvium_repair_close`.
 *
 * `ALLUVIUM_EVENT` where the changelog doesn't have one of the events any more, where no checkpoint is left from before it, where the way isn't sure, or
 * where applying the events again doesn't come to what is there: nothing has changed then. `ALLUVIUM_EVENT_HANDLER` where a handler isn't there in the
 * version that applied them.
 */
alluvium_status alluvium_writer_repair(alluvium_writer writer,
                                       const alluvium_event_id *bad,
                                       size_t bad_len,
                                       uint32_t way_,
                                       alluvium_repair *repair,
                                       alluvium_error *error);

/**
 * What `alluvium_writer_repair` would do, without doing it. What would change isn't known before.
 */
alluvium_status alluvium_writer_plan_repair(alluvium_writer writer,
                                            const alluvium_event_id *bad,
                                            size_t bad_len,
                                            uint32_t way_,
                                            alluvium_repair *repair,
                                            alluvium_error *error);

/**
 * What changed by repairs whose retractions the host hasn't said that it has, also before the store was opened: of the writer's key groups.
 */
alluvium_status alluvium_writer_retractions(alluvium_writer writer,
                                            alluvium_repair *repair,
                                            alluvium_error *error);

/**
 * Says that the host has the retractions of an event that was taken back in a key group: they aren't kept any longer than until the next commit
 * or checkpoint. `ALLUVIUM_EVENT` where it was not taken back.
 */
alluvium_status alluvium_writer_acknowledge(alluvium_writer writer,
                                            uint16_t group,
                                            alluvium_event_id event,
                                            alluvium_error *error);

/**
 * The events that depend on some events, these included, and how much they wrote: of the states that are `traced`, as far back as the changelog
 * goes. `ALLUVIUM_EVENT` where the changelog doesn't have one of them.
 */
alluvium_status alluvium_store_closure(alluvium_store store,
                                       const alluvium_event_id *events,
                                       size_t events_len,
                                       alluvium_repair *repair,
                                       alluvium_error *error);

/**
 * The events that the content of a key comes from, by way of other keys, too, in the order in which they were applied. Of a map, those of an entry,
 * or, where `user_key` is null, of all entries.
 */
alluvium_status alluvium_store_provenance(alluvium_store store,
                                          uint16_t state,
                                          const alluvium_key *key_,
                                          const alluvium_slice *user_key,
                                          alluvium_repair *repair,
                                          alluvium_error *error);

/**
 * Whether an event, or one of its source behind it, was applied to a key group: 0 or 1.
 */
alluvium_status alluvium_store_already_applied(alluvium_store store,
                                               uint16_t group,
                                               alluvium_event_id event,
                                               uint32_t *applied,
                                               alluvium_error *error);

/**
 * How much there is of all that follows.
 */
alluvium_status alluvium_repair_counts(alluvium_repair repair, alluvium_counts *counts, alluvium_error *error);

/**
 * An event of those that depend on each other, by its place, in the order in which they were applied. `ALLUVIUM_NOT_FOUND` where there is no such place.
 */
alluvium_status alluvium_repair_event(alluvium_repair repair,
                                      size_t index,
                                      alluvium_event_at *event,
                                      alluvium_error *error);

/**
 * What was done, or would be, in a key group, by its place. `ALLUVIUM_NOT_FOUND` where there is no such place.
 */
alluvium_status alluvium_repair_group(alluvium_repair repair,
                                      size_t index,
                                      alluvium_group_repair *group,
                                      alluvium_error *error);

/**
 * A bad event of a key group, by the group's place and its own. `ALLUVIUM_NOT_FOUND` where there is no such place.
 */
alluvium_status alluvium_repair_bad(alluvium_repair repair,
                                    size_t group,
                                    size_t index,
                                    alluvium_event_id *event,
                                    alluvium_error *error);

/**
 * What changed, by its place, in the order of key groups, states and keys. `ALLUVIUM_NOT_FOUND` where there is no such place.
 */
alluvium_status alluvium_repair_retraction(alluvium_repair repair,
                                           size_t index,
                                           alluvium_retraction *retraction,
                                           alluvium_error *error);

/**
 * An event that had been taken back before, by its place. `ALLUVIUM_NOT_FOUND` where there is no such place.
 */
alluvium_status alluvium_repair_before(alluvium_repair repair,
                                       size_t index,
                                       alluvium_event_id *event,
                                       alluvium_error *error);

/**
 * Closes what a repair or question came to.
 */
alluvium_status alluvium_repair_close(alluvium_repair repair, alluvium_error *error);

/**
 * Takes key groups, with these states or, with none, all of them, back to a checkpoint that is kept, at once, while the store goes on: writers and
 * readers see them as they were at the checkpoint. It takes some milliseconds at most, however much it undoes. `info` says where the sources of
 * these key groups are to go on from (`alluvium_info_offset`), and has the checkpoint's label, number, metadata and position; close it with
 * `alluvium_info_close`. It lasts with the next commit of a store with a changelog, else with the next checkpoint.
 *
 * `ALLUVIUM_CHECKPOINT` where none of this label is kept, or it can't be gone back to; `ALLUVIUM_OUTSIDE_RANGE` and `ALLUVIUM_STATE` where the store
 * doesn't have these key groups or states; `ALLUVIUM_BUSY` where something is staged in them. Nothing has changed then.
 */
alluvium_status alluvium_store_rollback(alluvium_store store,
                                        alluvium_range groups,
                                        const uint16_t *states,
                                        size_t states_len,
                                        uint64_t label,
                                        alluvium_info *info,
                                        alluvium_error *error);

/**
 * The same to a position of the changelog, as commits and checkpoints tell them: as far back as `history_checkpoints` says. The changes between the
 * nearest checkpoint before it and the position are done again beside the store, events by their handlers, and then swapped in; meanwhile the
 * store goes on. `info` has the position, label and number of that checkpoint (0 where there is none), and offsets and metadata of the last commit
 * there, or of the checkpoint.
 *
 * `ALLUVIUM_POSITION` where the history doesn't have the position, or a bulk load or a migration lies on the way; `ALLUVIUM_EVENT_HANDLER` where a
 * handler isn't there in the version that applied an event on the way; else as `alluvium_store_rollback`. Nothing has changed then.
 */
alluvium_status alluvium_store_rollback_to_position(alluvium_store store,
                                                    alluvium_range groups,
                                                    const uint16_t *states,
                                                    size_t states_len,
                                                    uint64_t position,
                                                    alluvium_info *info,
                                                    alluvium_error *error);

/**
 * Takes a snapshot, of a transactional store as the last commit left it: `ALLUVIUM_BUSY` while as many as the options allow live. It keeps
 * files on disk until it is closed with `alluvium_snapshot_close`.
 */
alluvium_status alluvium_store_snapshot(alluvium_store store,
                                        alluvium_snapshot *snapshot,
                                        alluvium_error *error);

/**
 * Sets the clock that decides what is expired, in ms; it begins at 0.
 */
alluvium_status alluvium_snapshot_set_time(alluvium_snapshot snapshot, uint64_t now_ms, alluvium_error *error);

/**
 * A value, as by `alluvium_writer_get`.
 */
alluvium_status alluvium_snapshot_get(alluvium_snapshot snapshot,
                                      uint16_t state,
                                      const alluvium_key *key_,
                                      uint8_t *memory,
                                      size_t capacity,
                                      size_t *len,
                                      alluvium_error *error);

/**
 * A value, into a buffer, as by `alluvium_writer_get_buffer`: a copy that stays, whatever becomes of the store.
 */
alluvium_status alluvium_snapshot_get_buffer(alluvium_snapshot snapshot,
                                             uint16_t state,
                                             const alluvium_key *key_,
                                             alluvium_buffer buffer,
                                             alluvium_error *error);

/**
 * A list, as by `alluvium_writer_list`.
 */
alluvium_status alluvium_snapshot_list(alluvium_snapshot snapshot,
                                       uint16_t state,
                                       const alluvium_key *key_,
                                       alluvium_buffer buffer,
                                       alluvium_error *error);

/**
 * The value of a map's entry, as by `alluvium_writer_map_get`.
 */
alluvium_status alluvium_snapshot_map_get(alluvium_snapshot snapshot,
                                          uint16_t state,
                                          const alluvium_key *key_,
                                          alluvium_slice user_key,
                                          uint8_t *memory,
                                          size_t capacity,
                                          size_t *len,
                                          alluvium_error *error);

/**
 * The value of a map's entry, into a buffer, as by `alluvium_snapshot_get_buffer`.
 */
alluvium_status alluvium_snapshot_map_get_buffer(alluvium_snapshot snapshot,
                                                 uint16_t state,
                                                 const alluvium_key *key_,
                                                 alluvium_slice user_key,
                                                 alluvium_buffer buffer,
                                                 alluvium_error *error);

/**
 * Waits until what a snapshot holds is flushed. Reads do so by themselves.
 */
alluvium_status alluvium_snapshot_wait(alluvium_snapshot snapshot, alluvium_error *error);

/**
 * Closes a snapshot: `ALLUVIUM_IN_USE` while a call uses it.
 */
alluvium_status alluvium_snapshot_close(alluvium_snapshot snapshot, alluvium_error *error);

/**
 * Fills in what is usual; `name` is left to be set.
 */
alluvium_status alluvium_state_options_init(alluvium_state_options *options);

/**
 * Registers a state, or finds it where there is one of this name, kind and merge operator, and says its number, which is good for this store alone.
 * The time to live is to be given each time: without it, what is written from now on never expires; what was written before keeps its expiry.
 * `ALLUVIUM_STATE` where the options contradict what is known of the state: its kind, its operator or, for list and merging states, whether values expire.
 * Contexts are the library's from this call on, whatever it comes to, unless that is `ALLUVIUM_ABI`.
 */
alluvium_status alluvium_store_state(alluvium_store store,
                                     const alluvium_state_options *options_,
                                     uint16_t *state,
                                     alluvium_error *error);

/**
 * How many states a store has; their numbers are those below.
 */
alluvium_status alluvium_store_states(alluvium_store store, size_t *count, alluvium_error *error);

/**
 * A state's kind (may be null), its name in one buffer and its schema in another; the two must differ. `ALLUVIUM_NOT_FOUND` where there is
 * no such state.
 */
alluvium_status alluvium_store_describe(alluvium_store store,
                                        uint16_t state,
                                        uint32_t *kind,
                                        alluvium_buffer name,
                                        alluvium_buffer schema,
                                        alluvium_error *error);

/**
 * When values of a state expire: `ttl_ms` after they were written, 0 for never, and whether reading starts that anew; `purge_ms` after their
 * own time, 0 for never, which begins at `purge_time_at`. Any of them may be null. `ALLUVIUM_NOT_FOUND` where there is no such
 * state.
 */
alluvium_status alluvium_store_expiry(alluvium_store store,
                                      uint16_t state,
                                      uint64_t *ttl_ms,
                                      uint32_t *ttl_refresh_on_read,
                                      uint64_t *purge_ms,
                                      uint32_t *purge_time_at,
                                      alluvium_error *error);

/**
 * The name of a merging state's operator, into a buffer: that of a built-in one, or of the host's own. `ALLUVIUM_NOT_FOUND` where there is no such state,
 * or none that merges.
 */
alluvium_status alluvium_store_operator(alluvium_store store,
                                        uint16_t state,
                                        alluvium_buffer name,
                                        alluvium_error *error);

/**
 * How what handlers of events change in a state is logged (`ALLUVIUM_LOG_...`), and whether it is logged which events read and wrote what: 0 or 1. Either
 * may be null. `ALLUVIUM_NOT_FOUND` where there is no such state.
 */
alluvium_status alluvium_store_logging(alluvium_store store,
                                       uint16_t state,
                                       uint32_t *log_mode,
                                       uint32_t *traced,
                                       alluvium_error *error);

/**
 * Migrates a state to another schema: from the return of this call on every value that is read went through `conversion`. What is
 * on disk is converted as it is read, and rewritten in the background (`alluvium_store_migration`). Nobody may use the state
 * during the call.
 */
alluvium_status alluvium_store_migrate(alluvium_store store,
                                       uint16_t state,
                                       alluvium_slice schema,
                                       const alluvium_conversion *conversion_,
                                       alluvium_error *error);

/**
 * How far the migrations of a state are: segments and bytes (either may be null) that are still to be rewritten.
 * `ALLUVIUM_NOT_FOUND` where none is under way; `ALLUVIUM_CONVERSION` where one can't go on, for want of its conversion.
 */
alluvium_status alluvium_store_migration(alluvium_store store,
                                         uint16_t state,
                                         uint64_t *segments,
                                         uint64_t *segment_bytes,
                                         alluvium_error *error);

/**
 * Fills in what is usual.
 */
alluvium_status alluvium_store_options_init(alluvium_store_options *options);

/**
 * Creates a store in a directory that has none (`ALLUVIUM_EXISTS` else); a missing one is made with its parents. Segments that a process left there
 * which died before its first checkpoint was complete are deleted. Null for the usual options. Close it with `alluvium_store_close`.
 */
alluvium_status alluvium_store_create(alluvium_engine engine,
                                      const char *path,
                                      const alluvium_store_options *options,
                                      alluvium_store *store,
                                      alluvium_error *error);

/**
 * Opens a store at its newest checkpoint, and at the last commit behind it that lasts where there is a changelog; a directory with neither is
 * refused (`ALLUVIUM_NO_CHECKPOINT`).
 */
alluvium_status alluvium_store_open(alluvium_engine engine,
                                    const char *path,
                                    const alluvium_store_options *options,
                                    alluvium_store *store,
                                    alluvium_error *error);

/**
 * As `alluvium_store_open`, or creates a store where there is none.
 */
alluvium_status alluvium_store_open_or_create(alluvium_engine engine,
                                              const char *path,
                                              const alluvium_store_options *options,
                                              alluvium_store *store,
                                              alluvium_error *error);

/**
 * Opens a store at the checkpoint of this label in place of the newest: what was done after it is given up. Checkpoints that are younger stay on
 * disk only until the next one of this store is complete. With a changelog, what was committed after this checkpoint is void, and
 * `alluvium_store_open` doesn't find the younger ones any more. Whoever may want them back copies the directory first. `ALLUVIUM_CHECKPOINT` where
 * there is none of this label.
 */
alluvium_status alluvium_store_open_checkpoint(alluvium_engine engine,
                                               const char *path,
                                               uint64_t label,
                                               const alluvium_store_options *options,
                                               alluvium_store *store,
                                               alluvium_error *error);

/**
 * Makes a new store in `path` with the key groups of the options, from checkpoints that together cover them: one from one, several from
 * one, one from several. No data is read: segments are linked.
 */
alluvium_status alluvium_store_restore(alluvium_engine engine,
                                       const char *path,
                                       const alluvium_source *sources,
                                       size_t sources_len,
                                       const alluvium_store_options *options,
                                       alluvium_store *store,
                                       alluvium_error *error);

/**
 * As `alluvium_store_restore`, from the manifests of checkpoints (`alluvium_files_manifest`) whose segments are elsewhere: it serves at
 * once, and what it needs is asked of the host (`alluvium_store_fetches`). Needs the option `fetch`.
 */
alluvium_status alluvium_store_restore_absent(alluvium_engine engine,
                                              const char *path,
                                              const alluvium_slice *manifests,
                                              size_t manifests_len,
                                              const alluvium_store_options *options,
                                              alluvium_store *store,
                                              alluvium_error *error);

/**
 * Waits for what is under way and closes a store: `ALLUVIUM_HAS_CHILDREN` while anything made from it is open, then nothing happens. What
 * was written after the last checkpoint is lost, with a changelog what was after the last commit. With any other failure than a misuse the store is closed, and had failed before.
 */
alluvium_status alluvium_store_close(alluvium_store store,
                                     alluvium_error *error);

/**
 * A store's key groups, and how many the whole job has. Either may be null.
 */
alluvium_status alluvium_store_key_groups(alluvium_store store,
                                          alluvium_range *range,
                                          uint32_t *key_groups,
                                          alluvium_error *error);

/**
 * The key group that a key's hash gives it in a store.
 */
alluvium_status alluvium_store_group_of(alluvium_store store,
                                        alluvium_slice key,
                                        uint16_t *group,
                                        alluvium_error *error);

/**
 * Merges all that can be merged now, and waits for it. Not needed for anything but measuring space.
 */
alluvium_status alluvium_store_compact(alluvium_store store, alluvium_error *error);

/**
 * What a store counted since it was opened, in the text format of Prometheus, into a buffer.
 */
alluvium_status alluvium_store_metrics(alluvium_store store, alluvium_buffer buffer, alluvium_error *error);

/**
 * The same with labels that go with every sample: the name of the store, say, where a host has several.
 */
alluvium_status alluvium_store_metrics_labelled(alluvium_store store,
                                                const alluvium_label *labels,
                                                size_t labels_len,
                                                alluvium_buffer buffer,
                                                alluvium_error *error);

/**
 * The answers that came since the ticket was last asked, in no particular order, into a buffer: `index u32 | status i32 | len u32 | value`
 * each, little-endian, the value of a list packed as by `alluvium_writer_list`. `ALLUVIUM_OK` while there are more to come;
 * `ALLUVIUM_NOT_FOUND` when all were taken, those in the buffer included. Values that were read from disk are kept in memory.
 * `ALLUVIUM_ARGUMENT` for a ticket of another store.
 */
alluvium_status alluvium_writer_poll(alluvium_writer writer,
                                     alluvium_ticket ticket,
                                     alluvium_buffer buffer,
                                     alluvium_error *error);

/**
 * As `alluvium_writer_poll`, from any thread; what was read from disk is not kept in memory.
 */
alluvium_status alluvium_ticket_poll(alluvium_ticket ticket, alluvium_buffer buffer, alluvium_error *error);

/**
 * Waits until every answer is there to be taken.
 */
alluvium_status alluvium_ticket_wait(alluvium_ticket ticket, alluvium_error *error);

/**
 * Whether every answer is there to be taken: 0 or 1.
 */
alluvium_status alluvium_ticket_is_complete(alluvium_ticket ticket, uint32_t *is_complete, alluvium_error *error);

/**
 * Has `done` called once, when every answer is there to be taken: now, if they are, else by a thread of the library, which reads
 * nothing more until it returns. Closing the ticket doesn't take that back: `context` has to be there until `done` was called. Of several only
 * the last one is called.
 */
alluvium_status alluvium_ticket_on_complete(alluvium_ticket ticket,
                                            alluvium_done_fn done,
                                            void *context,
                                            alluvium_error *error);

/**
 * Closes a ticket. Answers that weren't taken are lost.
 */
alluvium_status alluvium_ticket_close(alluvium_ticket ticket, alluvium_error *error);

/**
 * Commits what all writers of the store wrote, as one, with where the sources stand and the host's metadata: what is staged, in a transactional
 * store. It lasts with the next checkpoint, and where the store has a changelog soon by itself: `alluvium_store_commit_lasting` says when.
 * `info` may be null; else close it with `alluvium_info_close`. `ALLUVIUM_OPTIONS` where the store is neither transactional nor has a changelog.
 */
alluvium_status alluvium_store_commit(alluvium_store store,
                                      const alluvium_offset *offsets,
                                      size_t offsets_len,
                                      alluvium_slice metadata,
                                      alluvium_info *info,
                                      alluvium_error *error);

/**
 * `alluvium_store_commit` of the writer's store, all its writers included, the shorter way.
 */
alluvium_status alluvium_writer_commit(alluvium_writer writer,
                                       const alluvium_offset *offsets,
                                       size_t offsets_len,
                                       alluvium_slice metadata,
                                       alluvium_info *info,
                                       alluvium_error *error);

/**
 * Undoes what is staged, by all writers of the store, as one. `ALLUVIUM_OPTIONS` where the store isn't transactional.
 */
alluvium_status alluvium_store_abort_transaction(alluvium_store store, alluvium_error *error);

/**
 * `alluvium_store_abort_transaction` of the writer's store, the shorter way.
 */
alluvium_status alluvium_writer_abort_transaction(alluvium_writer writer, alluvium_error *error);

/**
 * What was committed last; before the first commit, what the store was opened with: no offsets and no metadata where that was nothing. Close it with
 * `alluvium_info_close`.
 */
alluvium_status alluvium_store_last_commit(alluvium_store store,
                                           alluvium_info *info,
                                           alluvium_error *error);

/**
 * How much is staged, in bytes, about.
 */
alluvium_status alluvium_store_staged_bytes(alluvium_store store, uint64_t *staged_bytes, alluvium_error *error);

/**
 * Has the host told (`alluvium_store_fired`) of an event with an id, as long as the store is open. Says the trigger's number.
 */
alluvium_status alluvium_store_watch_event(alluvium_store store,
                                           alluvium_event_id event,
                                           uint64_t *trigger,
                                           alluvium_error *error);

/**
 * Has the host told of events that come late: by the writer's clock they lie before one that their key group has had since.
 */
alluvium_status alluvium_store_watch_stragglers(alluvium_store store,
                                                uint64_t *trigger,
                                                alluvium_error *error);

/**
 * Has the host told of events after which something doesn't hold. It is looked at after each event that is known by its id. The context is the
 * library's from this call on, whatever it comes to; it is let go when the trigger is no longer looked at (`alluvium_store_unwatch`), or the store is closed.
 *
 * Where `holds` fails, `alluvium_writer_apply_event_once` does, with the status that it returned or `ALLUVIUM_EVENT_HANDLER`: the event was applied all
 * the same, the other triggers are looked at, and this one doesn't fire.
 */
alluvium_status alluvium_store_watch_invariant(alluvium_store store,
                                               alluvium_invariant_fn holds,
                                               void *context,
                                               alluvium_release_fn release,
                                               uint64_t *trigger,
                                               alluvium_error *error);

/**
 * Has the host not told of a trigger any more.
 */
alluvium_status alluvium_store_unwatch(alluvium_store store, uint64_t trigger, alluvium_error *error);

/**
 * What fired since this was last asked, into a buffer: `trigger u64 | offset u64 | source u32 | group u16` each, little-endian, without padding; and
 * how much more fired than was kept, which is 65,536 at most (may be null). `ALLUVIUM_NOT_FOUND` where nothing did.
 */
alluvium_status alluvium_store_fired(alluvium_store store,
                                     alluvium_buffer buffer,
                                     uint64_t *more,
                                     alluvium_error *error);

/**
 * Claims a range of key groups for writing: `ALLUVIUM_RANGE_CLAIMED` while another writer holds any of them, `ALLUVIUM_OUTSIDE_RANGE` where the store
 * doesn't. The writer belongs to the calling thread. Close it with `alluvium_writer_close`.
 */
alluvium_status alluvium_writer_open(alluvium_store store,
                                     alluvium_range range_,
                                     alluvium_writer *writer,
                                     alluvium_error *error);

/**
 * Lets a writer's range go; what it wrote stays, and so do tickets of it. By its thread alone, or by any where it is shared: `ALLUVIUM_IN_USE` while
 * another one is inside.
 */
alluvium_status alluvium_writer_close(alluvium_writer writer,
                                      alluvium_error *error);

/**
 * Gives a writer up to the thread that adopts it first (`alluvium_writer_adopt`). By its thread alone.
 */
alluvium_status alluvium_writer_give_away(alluvium_writer writer, alluvium_error *error);

/**
 * Makes a writer the calling thread's that was given away, or whose thread has ended: `ALLUVIUM_WRONG_THREAD` else.
 */
alluvium_status alluvium_writer_adopt(alluvium_writer writer, alluvium_error *error);

/**
 * Lets any thread use a writer from now on, one waiting for the other, which costs each call a lock. By its thread alone.
 */
alluvium_status alluvium_writer_share(alluvium_writer writer,
                                      alluvium_error *error);

/**
 * The key groups of a writer.
 */
alluvium_status alluvium_writer_range(alluvium_writer writer, alluvium_range *range, alluvium_error *error);

/**
 * Sets the clock that decides what is expired, in ms. It is the caller's, begins at 0 with each writer, and only moves when it is set: so it is
 * set before the first operation where anything expires. Compaction purges by the lowest clock of the store's writers: one that never sets it keeps everything.
 */
alluvium_status alluvium_writer_set_time(alluvium_writer writer,
                                         uint64_t now_ms,
                                         alluvium_error *error);

/**
 * A value, copied into `memory`, and its length. `ALLUVIUM_NOT_FOUND` where there is none, and `*len` is 0; `ALLUVIUM_TOO_SMALL` where it is longer than
 * `capacity`: then `*len` says how long. For value and merging states.
 */
alluvium_status alluvium_writer_get(alluvium_writer writer,
                                    uint16_t state,
                                    const alluvium_key *key_,
                                    uint8_t *memory,
                                    size_t capacity,
                                    size_t *len,
                                    alluvium_error *error);

/**
 * A value, into a buffer, which grows as it must: for values whose length nobody knows. `ALLUVIUM_NOT_FOUND` where there is none.
 */
alluvium_status alluvium_writer_get_buffer(alluvium_writer writer,
                                           uint16_t state,
                                           const alluvium_key *key_,
                                           alluvium_buffer buffer,
                                           alluvium_error *error);

/**
 * Has `look` look at a value where it lies, which copies nothing: for large values of which little is wanted. `ALLUVIUM_NOT_FOUND` where there
 * is none; then `look` isn't called. For value and merging states.
 */
alluvium_status alluvium_writer_read(alluvium_writer writer,
                                     uint16_t state,
                                     const alluvium_key *key_,
                                     alluvium_read_fn look,
                                     void *context,
                                     alluvium_error *error);

/**
 * Puts a value. For value and merging states.
 */
alluvium_status alluvium_writer_put(alluvium_writer writer,
                                    uint16_t state,
                                    const alluvium_key *key_,
                                    alluvium_slice value,
                                    alluvium_error *error);

/**
 * Deletes a value, a list, or a merging state's value.
 */
alluvium_status alluvium_writer_delete(alluvium_writer writer,
                                       uint16_t state,
                                       const alluvium_key *key_,
                                       alluvium_error *error);

/**
 * Merges an operand into a value, without reading it. For merging states.
 */
alluvium_status alluvium_writer_merge(alluvium_writer writer,
                                      uint16_t state,
                                      const alluvium_key *key_,
                                      alluvium_slice operand,
                                      alluvium_error *error);

/**
 * Reads a value and writes what `change` makes of it, in one step. For value states. Where `change` returns what it may not, the value is kept
 * (`ALLUVIUM_KEEP`) and the call fails.
 */
alluvium_status alluvium_writer_update(alluvium_writer writer,
                                       uint16_t state,
                                       const alluvium_key *key_,
                                       alluvium_update_fn change,
                                       void *context,
                                       alluvium_error *error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ALLUVIUM_H */
