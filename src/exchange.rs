//! One request on its way to its answer: counted, timed, and answered even when its handler panics.

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
    metrics: Arc<Metrics>,
    /// Held to the end of the answer, whatever that end is.
    _in_flight: Option<InFlight>,
}

impl Exchange {
    /// Takes a request; from here on it is in flight.
    pub fn begin(request: Request, route: Route, metrics: &Arc<Metrics>) -> Exchange {
        Exchange {
            _in_flight: metrics.begin(route),
            metrics: metrics.clone(),
            received: Instant::now(),
            request,
            route,
        }
    }

    /// Does the work and sends its answer. A panic of the work is a 500.
    ///
    /// The answer is counted before it is sent: who has got it finds it counted.
    pub fn finish(self, work: impl FnOnce() -> Answer) {
        let answer =
            catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Answer::json(500, r#"{"error":"internal error"}"#));
        self.metrics.record(self.route, answer.status, self.received.elapsed());
        // An error means that the client has gone; tiny_http panics at some of them.
        let _ = catch_unwind(AssertUnwindSafe(|| self.request.respond(answer.into())));
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
        let exchange = Exchange::begin(request, route, &metrics);
        assert!(metrics.text().contains("\nactive_connections 1\n"));
        exchange.finish(|| panic!("a handler's panic, wanted by this test"));

        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        let text = metrics.text();
        assert!(text.contains("\nactive_connections 0\n"), "{text}");
        assert!(text.contains(r#"http_requests_total{endpoint="/health",method="GET",status="500"} 1"#), "{text}");
    }
}
