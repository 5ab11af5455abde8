//! One request on its way to its answer: counted, timed, and answered even when its handler panics.

use std::net::SocketAddr;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Instant;

use tiny_http::Request;

use crate::answer::Answer;
use crate::metrics::{InFlight, Metrics};
use crate::routes::Route;

/// A request with its book-keeping. It may move to another thread.
pub struct Exchange {
    request: Request,
    route: Route,
    received: Instant,
    /// None for the service's own requests, which count nowhere.
    metrics: Option<Arc<Metrics>>,
    /// Held to the end of the answer, whatever that end is.
    _in_flight: Option<InFlight>,
}

impl Exchange {
    /// Takes a request; from here on it is in flight. Without `metrics` it counts nowhere.
    pub fn begin(request: Request, route: Route, metrics: Option<Arc<Metrics>>) -> Exchange {
        Exchange {
            _in_flight: metrics.as_ref().and_then(|metrics| metrics.begin(route)),
            metrics,
            received: Instant::now(),
            request,
            route,
        }
    }

    /// The client; over TCP there always is one.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.request.remote_addr().copied()
    }

    /// Does the work, calls `then`, and sends the answer. A panic of the work is a 500. False when the client does not read.
    ///
    /// The answer is counted before it is sent: who has got it finds it counted.
    pub fn finish(self, work: impl FnOnce() -> Answer, then: impl FnOnce()) -> bool {
        let answer = self.answer(work);
        then();
        // tiny_http ignores that a client has gone, and panics at some ways to go.
        !matches!(catch_unwind(AssertUnwindSafe(|| self.request.respond(answer.into()))), Ok(Err(_)))
    }

    /// The same, but the request's body is never touched; tiny_http does not let go of the connection any more.
    pub fn finish_and_leak(self, work: impl FnOnce() -> Answer) {
        let answer = self.answer(work);
        // tiny_http panics at a TE of NaNs, and then once more as it drops the request, which would end the process.
        if self.request.headers().iter().any(|header| header.field.equiv("TE")) {
            return self.leak();
        }
        // The one way to answer without dropping the body's reader. What it offers to upgrade to is what there is.
        let upgrade = || std::mem::forget(self.request.upgrade("HTTP/1.1", answer.into()));
        let _ = catch_unwind(AssertUnwindSafe(upgrade));
    }

    /// Leaves the request unanswered, and lets nobody drop it.
    pub fn leak(self) {
        std::mem::forget(self.request);
    }

    /// Drops the request unanswered, which only one whose connection is cut may be: the next answer would take its place.
    pub fn discard(self) {
        drop(self.request.into_writer());
    }

    fn answer(&self, work: impl FnOnce() -> Answer) -> Answer {
        let answer =
            catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Answer::json(500, r#"{"error":"internal error"}"#));
        if let Some(metrics) = &self.metrics {
            metrics.record(self.route, answer.status, self.received.elapsed());
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_panic_is_a_500_and_counted_and_the_thread_lives() {
        let server = tiny_http::Server::http("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(server.server_addr().to_ip().unwrap()).unwrap();
        client.write_all(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        let request = server.recv().unwrap();

        let (route, metrics) = (Route::of(&request), Arc::new(Metrics::new()));
        let exchange = Exchange::begin(request, route, Some(metrics.clone()));
        assert!(metrics.text().contains("\nactive_connections 1\n"));
        assert!(exchange.finish(|| panic!("a handler's panic, wanted by this test"), || ()));

        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        let text = metrics.text();
        assert!(text.contains("\nactive_connections 0\n"), "{text}");
        assert!(text.contains(r#"http_requests_total{endpoint="/health",method="GET",status="500"} 1"#), "{text}");
    }
}
