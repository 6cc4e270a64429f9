//! Tickets: the answers to reads that were submitted.

use crate::entry::{Outcome, answer, class_of, natives};
use crate::wire::Response;
use crate::writer;
use alluvium::ticket::Answer;
use alluvium::{StateKind, Ticket};
use alluvium_ffi::handles::{self, Handle, One};
use alluvium_ffi::{Failure, Kind, Misuse, Object};
use jni::sys::{jint, jlong};
use std::borrow::Cow;
use std::collections::VecDeque;

/// So many bytes of answers are left at once, or one answer: the caller has memory for them, however many there are.
const LEFT_BYTES_MAX: usize = 512 << 10;

/// What a ticket's handle stands for.
#[derive(Debug)]
pub struct TicketObject {
    ticket: Ticket,
    /// Answers that were taken of it, and not left to the caller yet.
    taken: VecDeque<Answer>,
}

impl TicketObject {
    /// Takes a ticket over.
    pub const fn new(ticket: Ticket) -> Self {
        Self { ticket, taken: VecDeque::new() }
    }
}

// SAFETY: the only type of this kind.
unsafe impl Object for TicketObject {
    const KIND: Kind = Kind::Ticket;
    type Mode = One;
}

/// The bytes of an answer: the value, of a list its elements, packed.
fn bytes_of(one: &Answer) -> Result<Option<Cow<'_, [u8]>>, Failure> {
    let Some(value) = one.value()? else { return Ok(None) };
    if one.kind() != StateKind::List {
        return Ok(Some(Cow::Borrowed(value)));
    }
    let mut list = Response::default();
    one.elements().for_each(|element| {
        list.bytes(element);
    });
    if i32::try_from(list.0.len()).is_err() {
        return Err(Misuse::Argument("the elements of a list have more than 2 GiB").into());
    }
    Ok(Some(Cow::Owned(list.0)))
}

fn add(one: &Answer, out: &mut Response) {
    out.int(one.index() as i32);
    match bytes_of(one) {
        Ok(None) => out.int(1).int(0).bytes(b""),
        Ok(Some(value)) => out.int(0).int(0).bytes(&value),
        Err(failure) => out.int(failure.status().code()).int(class_of(&failure)).bytes(failure.to_string().as_bytes()),
    };
}

/// Leaves answers: whether all were left (i32, 0 or 1), then `index i32 | status i32 | class i32 | len i32 | value` each: the value of a list
/// packed, that of a failure its words.
fn leave(object: &mut TicketObject, into: jlong, capacity: jint) -> Outcome {
    let mut out = Response::default();
    out.int(0);
    let head = out.0.len();
    while let Some(one) = object.taken.front() {
        let len = one.value().map_or(0, |value| value.map_or(0, <[u8]>::len));
        if out.0.len() > head && out.0.len() + len > LEFT_BYTES_MAX {
            break;
        }
        add(one, &mut out);
        object.taken.pop_front();
    }
    let is_done = object.taken.is_empty() && object.ticket.is_done();
    out.0[..head].copy_from_slice(&i32::from(is_done).to_le_bytes());
    answer(out.0, into, capacity)
}

natives! {
    /// Answers that came since the ticket was last asked, which are kept in the writer's memory.
    fn writerPoll(writer: jlong, ticket: jlong, into: jlong, capacity: jint) {
        let mut object = writer::of(writer)?;
        let mut ticket = handles::get::<TicketObject>(ticket as Handle)?;
        let ticket = ticket.as_mut();
        if ticket.taken.is_empty() {
            ticket.taken = object.writer.poll(&mut ticket.ticket)?.into();
        }
        leave(ticket, into, capacity)
    }

    /// The same, from any thread; nothing is kept in memory.
    fn ticketPoll(ticket: jlong, into: jlong, capacity: jint) {
        let mut ticket = handles::get::<TicketObject>(ticket as Handle)?;
        let ticket = ticket.as_mut();
        if ticket.taken.is_empty() {
            ticket.taken = ticket.ticket.poll().into();
        }
        leave(ticket, into, capacity)
    }

    /// Waits until every answer is there to be taken.
    fn ticketWait(ticket: jlong) {
        handles::get::<TicketObject>(ticket as Handle)?.ticket.wait();
        Ok(0)
    }

    /// Whether every answer is there to be taken: 0 or 1.
    fn ticketIsComplete(ticket: jlong) {
        Ok(handles::get::<TicketObject>(ticket as Handle)?.ticket.is_complete().into())
    }
}
