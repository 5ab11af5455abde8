//! Requests with a body that tiny_http has not read yet, answered aside.
//!
//! tiny_http reads the rest of a body when its request is dropped. It waits for the client then, without a limit, and
//! takes memory for all that was declared, at once. No request here needs a body, so it is never read before.

use std::sync::mpsc::channel;
use std::sync::Arc;
use std::thread;

use tiny_http::{Header, Request};

use crate::answer::Answer;
use crate::exchange::Exchange;
use crate::work::Work;
use crate::worker::Shared;

/// What tiny_http has read before it hands out a request.
const READ_AHEAD: usize = 1024;
/// What tiny_http may take for a moment. Where more is declared the connection leaks, as 1 TB would end the process.
const LARGEST_DROPPED: usize = 1 << 20;
/// To answer and to drop takes little of a stack; a thousand clients may want one at a time.
const STACK_BYTES: usize = 64 << 10;

/// The length of a body that is still to be read, 0 for none.
pub fn unread(request: &Request) -> usize {
    let waits = |header: &Header| header.field.equiv("Expect");
    match request.body_length() {
        Some(length) if length > READ_AHEAD || request.headers().iter().any(waits) => length,
        _ => 0,
    }
}

/// Answers in a thread of its own, which waits for the body until the client has sent it, has gone, or is cut.
pub fn answer(shared: &Arc<Shared>, exchange: Exchange, work: Work, length: usize) {
    // The pool is bounded so that load is; nothing else may take time.
    let work = match work {
        Work::Load(_) => Work::Refuse(Answer::json(400, r#"{"error":"a request for load has no body"}"#)),
        other => other,
    };
    let (give, take) = channel::<(Exchange, Work)>();
    let shared = shared.clone();
    let aside = move || {
        for (exchange, work) in take {
            if length <= LARGEST_DROPPED {
                shared.answer(exchange, work, || ());
            } else {
                let peer = exchange.peer();
                exchange.finish_and_leak(|| work.answer(&shared.metrics, || true));
                // The end of this answer is the end of its connection.
                if let Some(peer) = peer {
                    shared.end(&peer);
                }
            }
        }
    };
    match thread::Builder::new().name("body".into()).stack_size(STACK_BYTES).spawn(aside) {
        Ok(_) => drop(give.send((exchange, work))),
        // Where there is no thread, nothing of it may be dropped.
        Err(_) => exchange.leak(),
    }
}
