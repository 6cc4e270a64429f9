//! Tickets: the answers to reads that were submitted.

use crate::entry::{Outcome, answer, class_of, natives};
use crate::wire::Response;
use crate::writer;
use alluvium::ticket::Answer;
use alluvium::{StateKind, Ticket};
use alluvium_ffi::handles::{self, Handle, One};
use alluvium_ffi::{Failure, Kind, Object};
use jni::sys::{jint, jlong};

/// What a ticket's handle stands for.
#[derive(Debug)]
pub struct TicketObject {
    pub(crate) ticket: Ticket,
}

// SAFETY: the only type of this kind.
unsafe impl Object for TicketObject {
    const KIND: Kind = Kind::Ticket;
    type Mode = One;
}

/// Leaves answers: whether all were taken (i32, 0 or 1), then `index i32 | status i32 | class i32 | len i32 | value` each: the value of a list
/// packed, that of a failure its words.
fn leave(answers: &[Answer], ticket: &Ticket, into: jlong, capacity: jint) -> Outcome {
    let mut out = Response::default();
    out.int(ticket.is_done().into());
    for one in answers {
        out.int(one.index() as i32);
        match one.value() {
            Ok(None) => out.int(1).int(0).bytes(b""),
            Ok(Some(_)) if one.kind() == StateKind::List => {
                let mut list = Response::default();
                one.elements().for_each(|element| {
                    list.bytes(element);
                });
                out.int(0).int(0).bytes(&list.0)
            }
            Ok(Some(value)) => out.int(0).int(0).bytes(value),
            Err(error) => {
                let failure = Failure::from(error);
                out.int(failure.status().code()).int(class_of(&failure)).bytes(failure.to_string().as_bytes())
            }
        };
    }
    answer(out.0, into, capacity)
}

natives! {
    /// The answers that came since the ticket was last asked, which are kept in the writer's memory.
    fn writerPoll(writer: jlong, ticket: jlong, into: jlong, capacity: jint) {
        let mut object = writer::of(writer)?;
        let mut ticket = handles::get::<TicketObject>(ticket as Handle)?;
        let ticket = &mut ticket.as_mut().ticket;
        let answers = object.writer.poll(ticket)?;
        leave(&answers, ticket, into, capacity)
    }

    /// The same, from any thread; nothing is kept in memory.
    fn ticketPoll(ticket: jlong, into: jlong, capacity: jint) {
        let mut ticket = handles::get::<TicketObject>(ticket as Handle)?;
        let ticket = &mut ticket.as_mut().ticket;
        let answers = ticket.poll();
        leave(&answers, ticket, into, capacity)
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
