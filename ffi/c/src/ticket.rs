//! Tickets: the answers to reads that were submitted.

use crate::arguments::{Context, call, give};
use crate::buffer::{self, Buffer};
use crate::lists;
use crate::types::*;
use crate::writer::with;
use alluvium::ticket::Answer;
use alluvium::{StateKind, Ticket};
use alluvium_ffi::handles::{self, Handle, One};
use alluvium_ffi::threads::callback;
use alluvium_ffi::{Failure, Kind, Misuse, Object, Status};
use std::ffi::c_void;

/// What a ticket's handle stands for.
#[derive(Debug)]
pub struct TicketObject {
    pub(crate) ticket: Ticket,
    /// The store's handle.
    pub(crate) store: Handle,
}

// SAFETY: the only type of this kind.
unsafe impl Object for TicketObject {
    const KIND: Kind = Kind::Ticket;
    type Mode = One;
}

/// Adds an answer: `index u32 | status i32 | len u32 | value`.
fn push(out: &mut Buffer, answer: &Answer) {
    let mut value = Buffer::default();
    let status = match answer.value() {
        Ok(None) => Status::NotFound,
        Ok(Some(bytes)) => {
            if answer.kind() == StateKind::List {
                answer.elements().for_each(|element| lists::push(&mut value, element));
            } else {
                value.bytes.extend_from_slice(bytes);
            }
            Status::Ok
        }
        Err(error) => Failure::from(error).status(),
    };
    out.bytes.extend_from_slice(&(answer.index() as u32).to_le_bytes());
    out.bytes.extend_from_slice(&status.code().to_le_bytes());
    out.bytes.extend_from_slice(&(value.bytes.len() as u32).to_le_bytes());
    out.bytes.extend_from_slice(&value.bytes);
    out.records += 1;
}

/// The answers that came since the ticket was last asked, in no particular order, into a buffer: `index u32 | status i32 | len u32 | value`
/// each, little-endian, the value of a list packed as by `alluvium_writer_list`. `ALLUVIUM_OK` while there are more to come;
/// `ALLUVIUM_NOT_FOUND` when all were taken, those in the buffer included. Values that were read from disk are kept in memory.
/// `ALLUVIUM_ARGUMENT` for a ticket of another store.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_poll(
    writer: alluvium_writer,
    ticket: alluvium_ticket,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let mut ticket = handles::get::<TicketObject>(ticket.id)?;
            if ticket.store != object.store {
                return Err(Misuse::Argument("a ticket of another store").into());
            }
            let ticket = &mut ticket.as_mut().ticket;
            buffer::filling(buffer, |out| {
                object.writer.poll(ticket)?.iter().for_each(|answer| push(out, answer));
                Ok(if ticket.is_done() { Status::NotFound } else { Status::Ok })
            })
        })
    }
}

/// As `alluvium_writer_poll`, from any thread; what was read from disk is not kept in memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_ticket_poll(
    ticket: alluvium_ticket,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let mut ticket = handles::get::<TicketObject>(ticket.id)?;
            let ticket = &mut ticket.as_mut().ticket;
            buffer::filling(buffer, |out| {
                ticket.poll().iter().for_each(|answer| push(out, answer));
                Ok(if ticket.is_done() { Status::NotFound } else { Status::Ok })
            })
        })
    }
}

/// Waits until every answer is there to be taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_ticket_wait(ticket: alluvium_ticket, error: *mut alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<TicketObject>(ticket.id)?.ticket.wait();
            Ok(Status::Ok)
        })
    }
}

/// Whether every answer is there to be taken: 0 or 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_ticket_is_complete(
    ticket: alluvium_ticket,
    is_complete: *mut u32,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let complete = handles::get::<TicketObject>(ticket.id)?.ticket.is_complete();
            give(is_complete, "is_complete", u32::from(complete))?;
            Ok(Status::Ok)
        })
    }
}

/// Has `done` called once, when every answer is there to be taken: now, if they are, else by a thread of the library, which reads
/// nothing more until it returns. Closing the ticket doesn't take that back: `context` has to be there until `done` was called. Of several only
/// the last one is called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_ticket_on_complete(
    ticket: alluvium_ticket,
    done: alluvium_done_fn,
    context: *mut c_void,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let done = done.ok_or(Misuse::Null("done"))?;
            let context = Context::new(context, None);
            handles::get::<TicketObject>(ticket.id)?.ticket.on_complete(move || {
                let context = &context;
                callback(|| done(context.pointer));
            });
            Ok(Status::Ok)
        })
    }
}

/// Closes a ticket. Answers that weren't taken are lost.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_ticket_close(ticket: alluvium_ticket, error: *mut alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(handles::remove::<TicketObject>(ticket.id).map(|_| Status::Ok)?)) }
}
