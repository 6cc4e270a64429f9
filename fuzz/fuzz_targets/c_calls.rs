//! Calls of the C interface in any order, with handles in every state: null, made up, closed, of another kind, good. Each returns a
//! status that the header has, no call panics, and in the end everything can be closed, and was.
//!
//! All by one thread, and callbacks that do what they may: what goes wrong in them is shown by C programs (`ffi/c/tests`). Left out are what says
//! something of a number alone (`ffi/c/tests/interface/fuzzed.rs` names it), and what handlers of events call, but for what the one here does. No
//! segment is ever elsewhere, as nobody would bring it, so what fetches are answered with is but refused; and they are waited for but for a moment.
#![no_main]

#[path = "c_calls/callbacks.rs"]
mod callbacks;

#[path = "c_calls/arguments.rs"]
mod arguments;

use alluvium_c::{
    batches::*, buffer::*, bulk::*, checkpoint::*, commit::*, compensation::*, cursor::*, engine::*, error::*,
    events::*, fetches::*, files::*, inspect::*, lists::*, maps::*, multiset::*, pacing::*, past::*, reader::*,
    recovery::*, repair::*, rollback::*, snapshot::*, state::*, store::*, ticket::*, transaction::*, triggers::*,
    types::*, writer::*,
};
use alluvium_ffi::Status;
use arguments::{Argument, Source};
use libfuzzer_sys::fuzz_target;

/// How many calls are made of one input.
const CALLS_MAX: usize = 200;

/// Calls a function with arguments that the input says: one for each word behind its name.
macro_rules! call {
    ($source:ident, $function:ident $($argument:ident)*) => {{
        // SAFETY: pointers are null or lead to what the header says, and as much of it as any length of these arguments.
        let status = unsafe { $function($({ stringify!($argument); Argument::make($source) }),*) };
        $source.called(stringify!($function), status)
    }};
}

/// A function for each number, as far as there are any.
macro_rules! calls {
    ($source:ident, $number:expr; $($function:ident ($($argument:ident)*);)*) => {{
        const NAMES: &[&str] = &[$(stringify!($function)),*];
        let wanted = NAMES[usize::from($number) % NAMES.len()];
        $(if wanted == stringify!($function) {
            call!($source, $function $($argument)*)
        })*
    }};
}

/// Makes things, so that there is something to be used.
fn make(source: &mut Source<'_>, number: u8) {
    calls!(source, number;
        alluvium_engine_open(a b c);
        alluvium_share_open(a b c d e);
        alluvium_store_create(a b c d e);
        alluvium_store_open(a b c d e);
        alluvium_store_open_or_create(a b c d e);
        alluvium_store_open_checkpoint(a b c d e f);
        alluvium_store_restore(a b c d e f g);
        alluvium_store_restore_absent(a b c d e f g);
        alluvium_store_state(a b c d);
        alluvium_writer_open(a b c d);
        alluvium_reader_open(a b c d);
        alluvium_store_snapshot(a b c);
        alluvium_store_as_of(a b c d);
        alluvium_store_as_of_position(a b c d);
        alluvium_cursor_keys(a b c d e);
        alluvium_cursor_keys_in_namespace(a b c d e f);
        alluvium_cursor_keys_and_namespaces(a b c d e);
        alluvium_cursor_entries(a b c d e f);
        alluvium_writer_submit(a b c d);
        alluvium_bulk_begin(a b c d);
        alluvium_store_barrier(a b c d);
        alluvium_writer_barrier(a b c d);
        alluvium_store_checkpoint(a b c d);
        alluvium_store_restored(a b c);
        alluvium_store_files(a b c d);
        alluvium_store_iterate(a b c d);
        alluvium_store_commit_lasting(a b c d e f g);
        alluvium_writer_commit_lasting(a b c d e f g);
        alluvium_store_last_commit(a b c);
        alluvium_store_fetches(a b c);
        alluvium_store_warming(a b c d);
        alluvium_store_handler(a b c d);
        alluvium_buffer_new(a b);
    );
}

/// Changes and reads.
fn work(source: &mut Source<'_>, number: u8) {
    calls!(source, number;
        alluvium_writer_set_time(a b c);
        alluvium_writer_get(a b c d e f g);
        alluvium_writer_get_buffer(a b c d e);
        alluvium_writer_put(a b c d e);
        alluvium_writer_delete(a b c d);
        alluvium_writer_merge(a b c d e);
        alluvium_writer_append(a b c d e);
        alluvium_writer_append_all(a b c d e f);
        alluvium_writer_list(a b c d e);
        alluvium_writer_put_list(a b c d e f);
        alluvium_writer_merge_namespaces(a b c d e f);
        alluvium_writer_map_get(a b c d e f g h);
        alluvium_writer_map_get_buffer(a b c d e f);
        alluvium_writer_map_contains(a b c d e);
        alluvium_writer_map_any(a b c d);
        alluvium_writer_map_put(a b c d e f);
        alluvium_writer_map_delete(a b c d e);
        alluvium_writer_map_delete_range(a b c d e);
        alluvium_writer_map_expire(a b c d e);
        alluvium_writer_map_clear(a b c d);
        alluvium_writer_map_first(a b c d e);
        alluvium_writer_map_last(a b c d e);
        alluvium_writer_map_pop_first(a b c d e);
        alluvium_writer_map_pop_below(a b c d e f);
        alluvium_writer_apply(a b c);
        alluvium_writer_get_many(a b c d e f g h);
        alluvium_writer_prefetch(a b c d e f);
        alluvium_writer_is_full(a b c);
        alluvium_writer_poll(a b c d);
        alluvium_writer_fetch(a b c d);
        alluvium_reader_set_time(a b c);
        alluvium_reader_get(a b c d e f g);
        alluvium_reader_list(a b c d e);
        alluvium_reader_map_get(a b c d e f g h);
        alluvium_reader_map_contains(a b c d e);
        alluvium_reader_fetch(a b c d);
        alluvium_snapshot_set_time(a b c);
        alluvium_snapshot_get(a b c d e f g);
        alluvium_snapshot_list(a b c d e);
        alluvium_snapshot_map_get(a b c d e f g h);
        alluvium_snapshot_fetch(a b c d);
        alluvium_cursor_set_batch(a b c d);
        alluvium_past_set_time(a b c);
        alluvium_past_get(a b c d e f g);
        alluvium_past_list(a b c d e);
        alluvium_past_map_get(a b c d e f g h);
        alluvium_past_map_entries(a b c d e f);
        alluvium_bulk_set_time(a b c);
        alluvium_bulk_put(a b c d e);
        alluvium_bulk_put_list(a b c d e f);
        alluvium_bulk_map_put(a b c d e f);
        alluvium_ticket_poll(a b c);
        alluvium_ticket_wait(a b);
        alluvium_ticket_is_complete(a b c);
    );
}

/// Everything else.
fn manage(source: &mut Source<'_>, number: u8) {
    calls!(source, number;
        alluvium_engine_options_init(a);
        alluvium_store_options_init(a);
        alluvium_state_options_init(a);
        alluvium_engine_memory(a b c d);
        alluvium_engine_set_budget(a b c);
        alluvium_share_used(a b c);
        alluvium_share_set_limit(a b c);
        alluvium_store_key_groups(a b c d);
        alluvium_store_group_of(a b c d);
        alluvium_store_compact(a b);
        alluvium_store_metrics(a b c);
        alluvium_store_states(a b c);
        alluvium_store_describe(a b c d e f);
        alluvium_store_expiry(a b c d e f g);
        alluvium_store_migration(a b c d e);
        alluvium_writer_give_away(a b);
        alluvium_writer_adopt(a b);
        alluvium_writer_share(a b);
        alluvium_writer_range(a b c);
        alluvium_pending_wait(a b c);
        alluvium_pending_poll(a b c);
        alluvium_pending_abort(a b);
        alluvium_info_numbers(a b c);
        alluvium_info_metadata(a b c);
        alluvium_info_offset(a b c d);
        alluvium_info_position(a b c);
        alluvium_store_checkpoints(a b c);
        alluvium_store_retain(a b c);
        alluvium_store_release(a b c);
        alluvium_store_confirm(a b c);
        alluvium_store_abort(a b c);
        alluvium_store_subsume(a b c);
        alluvium_store_export(a b c d);
        alluvium_files_get(a b c d);
        alluvium_files_manifest(a b c);
        alluvium_files_read(a b c d e f);
        alluvium_iterator_next(a b c);
        alluvium_commit_wait(a b);
        alluvium_commit_poll(a b);
        alluvium_commit_position(a b c);
        alluvium_commit_info(a b c);
        alluvium_store_commit(a b c d e f);
        alluvium_writer_commit(a b c d e f);
        alluvium_store_abort_transaction(a b);
        alluvium_writer_abort_transaction(a b);
        alluvium_store_staged_bytes(a b c);
        alluvium_store_position(a b c);
        alluvium_writer_rollback_keys(a b c d e f g h);
        alluvium_writer_rollback_prefix(a b c d e f g h);
        alluvium_store_rollback(a b c d e f g);
        alluvium_store_rollback_to_position(a b c d e f g);
        alluvium_store_warm(a b c d);
        alluvium_store_recovery(a b c);
        alluvium_store_next_checkpoint(a b c d);
        alluvium_store_predicted_recovery(a b c);
        alluvium_store_checkpoint_conflict(a b c);
        alluvium_store_observe_input(a b c);
        alluvium_store_observe_replay(a b c d);
        alluvium_store_observe_checkpoint_cost(a b c);
        alluvium_buffer_data(a b c);
        alluvium_error_get(a b c d);
        alluvium_open_handles(a);
    );
}

/// Looks at what is there.
fn look(source: &mut Source<'_>, number: u8) {
    calls!(source, number;
        alluvium_verify(a b c d);
        alluvium_describe(a b c);
        alluvium_usage(a b c d);
        alluvium_store_operator(a b c d);
        alluvium_store_logging(a b c d e);
        alluvium_pending_label(a b c);
        alluvium_files_info(a b c);
        alluvium_past_position(a b c);
        alluvium_reader_get_buffer(a b c d e);
        alluvium_reader_map_get_buffer(a b c d e f);
        alluvium_snapshot_get_buffer(a b c d e);
        alluvium_snapshot_map_get_buffer(a b c d e f);
        alluvium_snapshot_wait(a b);
        alluvium_past_get_buffer(a b c d e);
        alluvium_past_map_get_buffer(a b c d e f);
        alluvium_store_metrics_labelled(a b c d e);
        alluvium_multiset_operand(a b c d);
        alluvium_multiset_count(a b c d);
        alluvium_multiset_elements(a b c);
        alluvium_multiset_top(a b c d);
    );
}

/// Has callbacks do something.
fn call_back(source: &mut Source<'_>, number: u8) {
    calls!(source, number;
        alluvium_writer_read(a b c d e f);
        alluvium_writer_update(a b c d e f);
        alluvium_writer_update_many(a b c d e f g);
        alluvium_writer_list_read(a b c d e f);
        alluvium_writer_map_read(a b c d e f g);
        alluvium_writer_map_scan(a b c d e f g);
        alluvium_writer_map_pop_first_if(a b c d e f g h);
        alluvium_writer_map_pop_below_up_to(a b c d e f g h);
        alluvium_writer_apply_event(a b c d e);
        alluvium_writer_apply_event_once(a b c d e f g);
        alluvium_ticket_on_complete(a b c d);
        alluvium_commit_on_lasting(a b c d e);
        alluvium_store_migrate(a b c d e);
        alluvium_store_watch_invariant(a b c d e f);
        alluvium_store_watch_event(a b c d);
        alluvium_store_watch_stragglers(a b c);
        alluvium_store_unwatch(a b c);
        alluvium_store_fired(a b c d);
    );
}

/// Takes events back, and asks about them.
fn repair(source: &mut Source<'_>, number: u8) {
    calls!(source, number;
        alluvium_writer_repair(a b c d e f);
        alluvium_writer_plan_repair(a b c d e f);
        alluvium_writer_retractions(a b c);
        alluvium_writer_acknowledge(a b c d);
        alluvium_writer_compensate(a b c d e f g);
        alluvium_store_closure(a b c d e);
        alluvium_store_provenance(a b c d e f);
        alluvium_store_already_applied(a b c d e);
        alluvium_repair_counts(a b c);
        alluvium_repair_event(a b c d);
        alluvium_repair_group(a b c d);
        alluvium_repair_bad(a b c d e);
        alluvium_repair_retraction(a b c d);
        alluvium_repair_before(a b c d);
    );
}

/// `alluvium_fetches_wait`, for a moment.
unsafe fn fetches_wait(
    fetches: alluvium_fetches,
    requests: *mut alluvium_fetch_request,
    len: usize,
    count: *mut usize,
    error: *mut alluvium_error,
) -> i32 {
    // SAFETY: the caller's arguments.
    unsafe { alluvium_fetches_wait(fetches, 1, requests, len, count, error) }
}

/// `alluvium_fetches_wait_demanded`, for a moment.
unsafe fn fetches_wait_demanded(
    fetches: alluvium_fetches,
    requests: *mut alluvium_fetch_request,
    len: usize,
    count: *mut usize,
    error: *mut alluvium_error,
) -> i32 {
    // SAFETY: the caller's arguments.
    unsafe { alluvium_fetches_wait_demanded(fetches, 1, requests, len, count, error) }
}

/// Has something brought, and asks how far that is.
fn bring(source: &mut Source<'_>, number: u8) {
    calls!(source, number;
        fetches_wait(a b c d e);
        fetches_wait_demanded(a b c d e);
        alluvium_fetches_wake(a b);
        alluvium_fetches_prefer(a b c d e);
        alluvium_fetches_complete(a b c d);
        alluvium_fetches_fail(a b c d);
        alluvium_fetches_refuse(a b c d e);
        alluvium_fetches_cancel(a b);
        alluvium_fetches_absent(a b c);
        alluvium_fetches_absent_bytes(a b c);
        alluvium_warming_keys(a b c);
        alluvium_warming_brought(a b c);
        alluvium_warming_is_done(a b c);
        alluvium_warming_wait(a b);
        alluvium_store_observe_rates(a b c d);
    );
}

/// Ends things, whatever they are.
fn close(source: &mut Source<'_>, number: u8) {
    calls!(source, number;
        alluvium_error_free(a);
        alluvium_buffer_free(a);
        alluvium_ticket_close(a b);
        alluvium_cursor_close(a b);
        alluvium_iterator_close(a b);
        alluvium_pending_close(a b);
        alluvium_info_close(a b);
        alluvium_commit_close(a b);
        alluvium_files_close(a b);
        alluvium_snapshot_close(a b);
        alluvium_past_close(a b);
        alluvium_repair_close(a b);
        alluvium_fetches_close(a b);
        alluvium_warming_close(a b);
        alluvium_bulk_finish(a b);
        alluvium_bulk_abandon(a b);
        alluvium_writer_close(a b);
        alluvium_reader_close(a b);
        alluvium_store_close(a b);
        alluvium_share_close(a b);
        alluvium_engine_close(a b);
        alluvium_engine_close_within(a b c d);
    );
}

impl Source<'_> {
    /// Looks at what a call returned, and keeps what it made.
    fn called(&mut self, name: &str, status: i32) {
        assert!(Status::ALL.iter().any(|known| known.code() == status), "{name} returned {status}");
        assert_ne!(status, ALLUVIUM_PANIC, "{name} panicked");
        self.settle();
    }
}

/// Closes everything, children first; in the end nothing is open.
fn close_all(source: &mut Source<'_>) {
    source.settle();
    let none = std::ptr::null_mut();
    let handles = source.handles.clone();
    // SAFETY: handles of any kind, and no place for errors.
    unsafe {
        for &id in &handles {
            alluvium_error_free(alluvium_error { id });
            alluvium_ticket_close(alluvium_ticket { id }, none);
            alluvium_cursor_close(alluvium_cursor { id }, none);
            alluvium_iterator_close(alluvium_iterator { id }, none);
            alluvium_pending_close(alluvium_pending { id }, none);
            alluvium_info_close(alluvium_info { id }, none);
            alluvium_commit_close(alluvium_commit { id }, none);
            alluvium_files_close(alluvium_files { id }, none);
            alluvium_snapshot_close(alluvium_snapshot { id }, none);
            alluvium_past_close(alluvium_past { id }, none);
            alluvium_repair_close(alluvium_repair { id }, none);
            alluvium_fetches_close(alluvium_fetches { id }, none);
            alluvium_warming_close(alluvium_warming { id }, none);
            alluvium_bulk_abandon(alluvium_bulk_load { id }, none);
            alluvium_buffer_free(alluvium_buffer { id });
        }
        // A writer that was given away is nobody's; a commit's info is its child.
        for &id in &handles {
            alluvium_writer_adopt(alluvium_writer { id }, none);
            alluvium_commit_close(alluvium_commit { id }, none);
            alluvium_pending_close(alluvium_pending { id }, none);
            alluvium_writer_close(alluvium_writer { id }, none);
            alluvium_reader_close(alluvium_reader { id }, none);
        }
        for &id in &handles {
            alluvium_store_close(alluvium_store { id }, none);
        }
        for &id in &handles {
            alluvium_share_close(alluvium_share { id }, none);
        }
        for &id in &handles {
            alluvium_engine_close(alluvium_engine { id }, none);
        }
        let mut open = usize::MAX;
        assert_eq!(alluvium_open_handles(&raw mut open), ALLUVIUM_OK);
        assert_eq!(open, 0, "of {} handles {open} are still open", handles.len());
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut source = Source::new(bytes);
    // Most inputs would never come to a store otherwise.
    source.begin();
    for _ in 0..CALLS_MAX {
        let Some((group, number)) = source.next_call() else { break };
        match group % 12 {
            0 | 1 => make(&mut source, number),
            2..=4 => work(&mut source, number),
            5 | 6 => manage(&mut source, number),
            7 => look(&mut source, number),
            8 => call_back(&mut source, number),
            9 => repair(&mut source, number),
            10 => bring(&mut source, number),
            _ => close(&mut source, number),
        }
    }
    close_all(&mut source);
});
