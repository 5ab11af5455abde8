//! One request on its way to its answer: counted, timed, and answered even when its work panics.

use std::net::SocketAddr;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Instant;

use tiny_http::Request;

use crate::metrics::{InFlight, Metrics};
use crate::routes::{self, Route, Work};

/// What tiny_http has read of a body before it hands out the request.
const READ_AHEAD_BYTES: usize = 1024;

/// A request with its book-keeping. It may move to another thread.
pub struct Exchange {
    pub client: SocketAddr,
    /// The length of a body that tiny_http has not read yet, 0 for none: to drop the request is to wait for it.
    pub unread: usize,
    pub work: Work,
    request: Request,
    route: Route,
    received: Instant,
    metrics: Arc<Metrics>,
    /// The service's own requests count nowhere.
    is_probe: bool,
    /// Held to the end of the answer, whatever that end is.
    _in_flight: Option<InFlight>,
}

impl Exchange {
    /// Takes a request of this client; from here on it is in flight.
    pub fn begin(request: Request, client: SocketAddr, is_probe: bool, metrics: Arc<Metrics>) -> Exchange {
        let expects = || request.headers().iter().any(|header| header.field.equiv("Expect"));
        let unread = request.body_length().filter(|&length| length > READ_AHEAD_BYTES || expects()).unwrap_or(0);
        let (route, work) = Route::from_request(&request);
        let _in_flight = if is_probe { None } else { metrics.begin(route) };
        Exchange { client, unread, work, request, route, received: Instant::now(), metrics, is_probe, _in_flight }
    }

    /// Whether it asks for load.
    pub fn is_load(&self) -> bool {
        matches!(self.work, Work::Load(_))
    }

    /// Does the work and sends the answer. A panic of the work is a 500. False when the client does not read.
    ///
    /// The answer is counted before it is sent: who has got it finds it counted.
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
        // tiny_http ignores that a client has gone, and panics at some headers.
        !matches!(catch_unwind(AssertUnwindSafe(|| self.request.respond(reply))), Ok(Err(_)))
    }

    /// Ends it without an answer, for a client whose connection ends: otherwise the next answer would take its place.
    pub fn discard(self) {
        if self.unread == 0 {
            drop(self.request.into_writer());
        } else {
            // Nor does the connection's thread end then, or its memory come back.
            std::mem::forget(self.request);
        }
    }
}

/// Whether the client asks for a persistent connection in a form that tiny_http obeys.
fn asks_for_keep_alive(request: &Request) -> bool {
    let header = request.headers().iter().find(|header| header.field.equiv("Connection"));
    let value = header.map_or(String::new(), |header| header.value.as_str().to_ascii_lowercase());
    value.contains("keep-alive") && !value.contains("close") && !value.contains("upgrade")
}
