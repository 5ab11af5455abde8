//! One request with its response: counted, timed, and finished even if its work panics.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Instant;

use tiny_http::Request;

use crate::metrics::{InFlight, Metrics};
use crate::routes::{self, Route, Work};
use crate::sockets;

/// tiny_http reads bodies up to this size before it queues the request.
const READ_AHEAD_BYTES: usize = 1024;

/// A request in flight. It can move to another thread.
pub struct Exchange {
    pub client: SocketAddr,
    pub work: Work,
    /// The declared length of a body that tiny_http has not read yet, else 0. Dropping the request
    /// blocks until this body has arrived.
    pub unread: usize,
    request: Request,
    route: Route,
    received: Instant,
    metrics: Arc<Metrics>,
    /// Probes are not counted.
    is_probe: bool,
    _in_flight: Option<InFlight>,
}

impl Exchange {
    /// Counts a request as in flight. Its clock started when it was taken from the queue.
    pub fn begin(request: Request, received: Instant, is_probe: bool, metrics: Arc<Metrics>) -> Exchange {
        let client = *request.remote_addr().expect("a TCP client has an address");
        let expects = || request.headers().iter().any(|header| header.field.equiv("Expect"));
        let unread = request.body_length().filter(|&length| length > READ_AHEAD_BYTES || expects()).unwrap_or(0);
        let (route, work) = Route::from_request(&request);
        let _in_flight = if is_probe { None } else { metrics.begin(route) };
        Exchange { client, work, unread, request, route, received, metrics, is_probe, _in_flight }
    }

    pub fn is_load(&self) -> bool {
        matches!(self.work, Work::Load(_))
    }

    /// Does the work and sends the response, a 500 if the work panics. Returns false if the response
    /// could not be sent: then the connection must be closed. The response is counted before it is
    /// sent, so a client that has it also finds it in /metrics.
    pub fn finish(self) -> bool {
        let reply = catch_unwind(AssertUnwindSafe(|| match self.work {
            Work::Respond(reply) => reply,
            Work::Metrics => routes::reply(200, prometheus::TEXT_FORMAT, self.metrics.text()),
            Work::Load(load) => {
                let (status, body) = load.run();
                routes::json(status, body)
            }
        }))
        .unwrap_or_else(|_| routes::json(500, r#"{"error":"internal error"}"#));
        let reply = if asks_for_keep_alive(&self.request) { routes::confirm_keep_alive(reply) } else { reply };
        if !self.is_probe {
            self.metrics.record(self.route, reply.status_code().0, self.received.elapsed());
        }
        // An error means that the client does not read. On some TE headers tiny_http panics instead.
        matches!(catch_unwind(AssertUnwindSafe(|| self.request.respond(reply))), Ok(Ok(())))
    }

    /// Finishes it, and closes the connection if the response could not be sent.
    pub fn finish_or_close(self) {
        let (client, metrics) = (self.client, self.metrics.clone());
        if !self.finish() {
            metrics.aborted.inc_by(sockets::shut_down(&HashSet::from([client])));
        }
    }

    /// Drops the request without a response. Only for connections that are being closed: on an open
    /// one, the client would take the next response for this one.
    pub fn discard(self) {
        if self.unread == 0 {
            drop(self.request.into_writer());
        } else {
            // Leaks the request and its connection's thread, because dropping it would block.
            std::mem::forget(self.request);
        }
    }
}

/// Whether the client asks for a persistent connection and tiny_http will keep it open.
fn asks_for_keep_alive(request: &Request) -> bool {
    let header = request.headers().iter().find(|header| header.field.equiv("Connection"));
    let value = header.map_or(String::new(), |header| header.value.as_str().to_ascii_lowercase());
    value.contains("keep-alive") && !value.contains("close") && !value.contains("upgrade")
}
