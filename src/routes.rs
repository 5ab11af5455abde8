//! The routes: which requests exist, what work each one needs, and the responses.

use std::io::Cursor;

use tiny_http::{Header, Method, Request, Response};

use crate::load::Load;

/// The method and path of a request, reduced to `METHODS` and `ENDPOINTS`. These are the metrics'
/// labels, so clients cannot create new series.
#[derive(Clone, Copy)]
pub struct Route {
    pub method: &'static str,
    pub endpoint: &'static str,
}

/// The work that a request needs before its response can be sent.
pub enum Work {
    Respond(Reply),
    Metrics,
    Load(Load),
}

/// A response with its whole body.
pub type Reply = Response<Cursor<Vec<u8>>>;

const OTHER: &str = "other";
const METHODS: [&str; 3] = ["GET", "HEAD", OTHER];
const ENDPOINTS: [&str; 5] = ["/", "/health", "/simulate-load", "/metrics", OTHER];

const ROOT: &str = concat!(
    r#"{"name":"metrics-service","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#"","routes":["/","/health","/simulate-load","/metrics"]}"#
);
const NOT_FOUND: &str = r#"{"error":"no such path; see / for the routes"}"#;
const METHOD_NOT_ALLOWED: &str = r#"{"error":"method not allowed; use GET or HEAD"}"#;
const BUSY: &str = r#"{"error":"too many /simulate-load requests in progress; try again later"}"#;

impl Route {
    pub fn from_request(request: &Request) -> (Route, Work) {
        let (path, query) = split(request.url());
        let method = match request.method() {
            Method::Get => "GET",
            Method::Head => "HEAD",
            _ => OTHER,
        };
        let endpoint = ENDPOINTS.into_iter().find(|endpoint| *endpoint == path).unwrap_or(OTHER);
        let work = match (method, endpoint) {
            (_, OTHER) => Work::Respond(json(404, NOT_FOUND)),
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

    /// Returns every route that can occur.
    pub fn all() -> impl Iterator<Item = Route> {
        METHODS.into_iter().flat_map(|method| ENDPOINTS.map(|endpoint| Route { method, endpoint }))
    }

    /// Returns every status that can occur on this route; 500 wherever its work might panic.
    pub fn statuses(self) -> &'static [u16] {
        match (self.method, self.endpoint) {
            (_, OTHER) => &[404],
            (OTHER, _) => &[405],
            (_, "/simulate-load") => &[200, 400, 500, 503],
            _ => &[200, 500],
        }
    }
}

/// Builds a JSON response. The body must be valid JSON already.
pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    reply(status, "application/json", body)
}

pub fn reply(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
    let reply = Response::from_data(body).with_status_code(status).with_header(header("Content-Type", content_type));
    // Not chunked, because the length is known, unless the client's TE header asks for it.
    reply.with_chunked_threshold(usize::MAX)
}

pub fn busy() -> Reply {
    json(503, BUSY).with_header(header("Retry-After", "1"))
}

/// Confirms a persistent connection. Without this, an HTTP/1.0 client waits for it to close.
pub fn confirm_keep_alive(reply: Reply) -> Reply {
    // tiny_http drops a `Connection` header from a response, so it is part of another one's value.
    // The timeout is below `sockets::IDLE_TIMEOUT`: the client closes an idle connection first.
    reply.with_header(header("Keep-Alive", "timeout=15\r\nConnection: keep-alive"))
}

fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("header names and values here are ASCII")
}

/// Splits `/path?query` into path and query, or `http://host/path?query`, as proxies receive it.
fn split(target: &str) -> (&str, &str) {
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find(['/', '?']).map_or("/", |start| &rest[start..]),
        None => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (if path.is_empty() { "/" } else { path }, query)
}
