//! Which methods and paths there are, and what each answers.
//!
//! `Method` and `Endpoint` are closed sets: they are the metrics' labels, and nothing that a client sends becomes one.

use tiny_http::Request;

use crate::answer::Answer;
use crate::metrics::Metrics;

/// A request's method, as far as the service tells them apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`: answered as `GET` is, without the body.
    Head,
    /// Any other: refused.
    Other,
}

/// A request's path, as far as the service tells them apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Endpoint {
    /// `/`
    Root,
    /// `/health`
    Health,
    /// `/simulate-load`
    SimulateLoad,
    /// `/metrics`
    Metrics,
    /// Any other path.
    Other,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path.
    pub endpoint: Endpoint,
}

impl Method {
    /// The value of the label `method`.
    pub fn label(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Other => "other",
        }
    }
}

impl Endpoint {
    /// The value of the label `endpoint`; for the four routes it is their path.
    pub fn label(self) -> &'static str {
        match self {
            Endpoint::Root => "/",
            Endpoint::Health => "/health",
            Endpoint::SimulateLoad => "/simulate-load",
            Endpoint::Metrics => "/metrics",
            Endpoint::Other => "other",
        }
    }
}

impl Route {
    /// The route of a request.
    pub fn of(request: &Request) -> Route {
        let method = match request.method() {
            tiny_http::Method::Get => Method::Get,
            tiny_http::Method::Head => Method::Head,
            _ => Method::Other,
        };
        let endpoint = match split(request.url()).0 {
            "/" => Endpoint::Root,
            "/health" => Endpoint::Health,
            "/simulate-load" => Endpoint::SimulateLoad,
            "/metrics" => Endpoint::Metrics,
            _ => Endpoint::Other,
        };
        Route { method, endpoint }
    }

    /// Every route there can be.
    pub fn all() -> impl Iterator<Item = Route> {
        use Endpoint::*;
        let endpoints = [Root, Health, SimulateLoad, Metrics, Other];
        [Method::Get, Method::Head, Method::Other]
            .into_iter()
            .flat_map(move |method| endpoints.map(|endpoint| Route { method, endpoint }))
    }

    /// Every status that this route can answer with; 500 wherever code runs that might panic.
    pub fn statuses(self) -> &'static [u16] {
        match (self.method, self.endpoint) {
            (_, Endpoint::Other) => &[404],
            (Method::Other, _) => &[405],
            (_, Endpoint::SimulateLoad) => &[200, 400, 500, 503],
            _ => &[200, 500],
        }
    }

    /// The answer of a route that answers at once. `/simulate-load` does not, see `load`.
    pub fn answer(self, metrics: &Metrics) -> Answer {
        match (self.method, self.endpoint) {
            (_, Endpoint::Other) => Answer::json(404, NOT_FOUND),
            (Method::Other, _) => Answer::json(405, METHOD_NOT_ALLOWED).with("Allow", "GET, HEAD"),
            (_, Endpoint::Root) => Answer::json(200, ROOT),
            (_, Endpoint::Health) => Answer::json(200, HEALTH),
            (_, Endpoint::Metrics) => Answer::text(prometheus::TEXT_FORMAT, metrics.text()),
            (_, Endpoint::SimulateLoad) => unreachable!("simulated load runs in its pool"),
        }
    }
}

/// Path and query of a request's target; a proxy's form, `http://host/path?query`, is one too.
pub fn split(target: &str) -> (&str, &str) {
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find(['/', '?']).map_or("/", |start| &rest[start..]),
        None => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (if path.is_empty() { "/" } else { path }, query)
}

const ROOT: &str = concat!(
    r#"{"name":"metrics-service","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#"","routes":["/","/health","/simulate-load","/metrics"]}"#
);
const HEALTH: &str = r#"{"status":"ok"}"#;
const NOT_FOUND: &str = r#"{"error":"no such path; see / for the routes"}"#;
const METHOD_NOT_ALLOWED: &str = r#"{"error":"only GET and HEAD are answered here"}"#;

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn targets() {
        for (target, path, query) in [
            ("/", "/", ""),
            ("/health?", "/health", ""),
            ("/a?b?c", "/a", "b?c"),
            ("http://host:1/health?a=b", "/health", "a=b"),
            ("http://host", "/", ""),
            ("http://host?a", "/", "a"),
            ("*", "*", ""),
        ] {
            assert_eq!(split(target), (path, query), "{target}");
        }
    }
}
