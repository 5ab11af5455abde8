//! Which methods and paths there are, what each asks for, and what it answers.

use std::io::Cursor;

use tiny_http::{Header, Method, Request, Response};

use crate::load::Load;

/// A request's method and path as far as the service tells them apart: one of `METHODS` and one of `ENDPOINTS`. They are
/// the metrics' labels, and nothing else that a client sends becomes one.
#[derive(Clone, Copy)]
pub struct Route {
    pub method: &'static str,
    pub endpoint: &'static str,
}

/// What it takes to answer a request.
pub enum Work {
    /// Nothing: this is the answer.
    Respond(Reply),
    /// To write down the metrics.
    Metrics,
    /// To simulate load, which takes its time.
    Load(Load),
}

/// An answer, with all of its body.
pub type Reply = Response<Cursor<Vec<u8>>>;

const OTHER: &str = "other";
const METHODS: [&str; 3] = ["GET", "HEAD", OTHER];
const ENDPOINTS: [&str; 5] = ["/", "/health", "/simulate-load", "/metrics", OTHER];

const ROOT: &str = concat!(
    r#"{"name":"metrics-service","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#"","routes":["/","/health","/simulate-load","/metrics"]}"#
);
const METHOD_NOT_ALLOWED: &str = r#"{"error":"only GET and HEAD are answered here"}"#;

impl Route {
    /// The route of a request, and the work behind it.
    pub fn from_request(request: &Request) -> (Route, Work) {
        let (path, query) = split(request.url());
        let method = match request.method() {
            Method::Get => "GET",
            Method::Head => "HEAD",
            _ => OTHER,
        };
        let endpoint = ENDPOINTS.into_iter().find(|endpoint| *endpoint == path).unwrap_or(OTHER);
        let work = match (method, endpoint) {
            (_, OTHER) => Work::Respond(json(404, r#"{"error":"no such path; see / for the routes"}"#)),
            (OTHER, _) => Work::Respond(json(405, METHOD_NOT_ALLOWED).with_header(header("Allow", "GET, HEAD"))),
            (_, "/") => Work::Respond(json(200, ROOT)),
            (_, "/health") => Work::Respond(json(200, r#"{"status":"ok"}"#)),
            (_, "/metrics") => Work::Metrics,
            _ => match Load::parse(query) {
                Ok(load) => Work::Load(load),
                Err(problem) => Work::Respond(json(400, format!(r#"{{"error":"{problem}"}}"#))),
            },
        };
        (Route { method, endpoint }, work)
    }

    /// Every route there can be.
    pub fn all() -> impl Iterator<Item = Route> {
        METHODS.into_iter().flat_map(|method| ENDPOINTS.map(|endpoint| Route { method, endpoint }))
    }

    /// Every status that this route can answer with; 500 wherever code runs that might panic.
    pub fn statuses(self) -> &'static [u16] {
        match (self.method, self.endpoint) {
            (_, OTHER) => &[404],
            (OTHER, _) => &[405],
            (_, "/simulate-load") => &[200, 400, 500, 503],
            _ => &[200, 500],
        }
    }
}

/// A JSON answer. The body is a fixed string or has numbers put into one, so that nothing needs escaping.
pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    reply(status, "application/json", body)
}

/// An answer of this content type.
pub fn reply(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
    let reply = Response::from_data(body).with_status_code(status).with_header(header("Content-Type", content_type));
    // The length is known: say it rather than answer in chunks.
    reply.with_chunked_threshold(usize::MAX)
}

/// The refusal of load that finds no thread.
pub fn busy() -> Reply {
    let body = r#"{"error":"as much load is being simulated as can be; try again later"}"#;
    json(503, body).with_header(header("Retry-After", "1"))
}

/// Confirms a persistent connection. An HTTP/1.0 client that finds no confirmation waits for the connection to close.
///
/// tiny_http drops a response's `Connection` header, but leaves the values of other headers as they are.
pub fn confirm_keep_alive(reply: Reply) -> Reply {
    // Shorter than `sockets::IDLE_TIMEOUT`, so that the client closes an idle connection first.
    reply.with_header(header("Keep-Alive", "timeout=15\r\nConnection: keep-alive"))
}

fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("our headers are ASCII")
}

/// Path and query of a request's target; a proxy's form, `http://host/path?query`, is one too.
fn split(target: &str) -> (&str, &str) {
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find(['/', '?']).map_or("/", |start| &rest[start..]),
        None => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (if path.is_empty() { "/" } else { path }, query)
}
