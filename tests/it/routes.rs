//! Every route and every error response.

use crate::http::Client;
use crate::service::Service;

const ROOT: &str =
    r#"{"name":"metrics-service","version":"0.1.0","routes":["/","/health","/simulate-load","/metrics"]}"#;
const NOT_FOUND: &str = r#"{"error":"no such path; see / for the routes"}"#;

#[test]
fn routes_and_their_bodies() {
    let service = Service::start();
    for (target, status, body) in [
        ("/", 200, ROOT),
        ("/?any=query", 200, ROOT),
        ("/health", 200, r#"{"status":"ok"}"#),
        ("/health?any=query", 200, r#"{"status":"ok"}"#),
        ("http://any.host:1/health", 200, r#"{"status":"ok"}"#),
        ("/simulate-load?duration_ms=0", 200, r#"{"status":"ok","mode":"sleep","duration_ms":0}"#),
        ("/simulate-load?duration_ms=3&mode=cpu", 200, r#"{"status":"ok","mode":"cpu","duration_ms":3}"#),
        (
            "/simulate-load?duration_ms=0&error_rate=1",
            500,
            r#"{"error":"simulated error (error_rate)","mode":"sleep","duration_ms":0}"#,
        ),
        ("/nope", 404, NOT_FOUND),
        ("/health/", 404, NOT_FOUND),
        ("/HEALTH", 404, NOT_FOUND),
        ("//", 404, NOT_FOUND),
        ("*", 404, NOT_FOUND),
    ] {
        let reply = service.call("GET", target);
        assert_eq!((reply.status, reply.body.as_str()), (status, body), "{target}");
        assert_eq!(reply.header("content-type"), Some("application/json"), "{target}");
    }
}

#[test]
fn default_durations_are_from_50_to_500_ms() {
    let service = Service::start();
    let mut clients: Vec<Client> = (0..32).map(|_| Client::connect(service.address)).collect();
    for client in &mut clients {
        client.send("GET", "/simulate-load");
    }
    let duration = |client: &mut Client| -> u64 {
        let body = client.try_reply("GET").unwrap().body;
        let rest = body.strip_prefix(r#"{"status":"ok","mode":"sleep","duration_ms":"#).unwrap();
        rest.strip_suffix('}').unwrap().parse().unwrap()
    };
    let durations: Vec<u64> = clients.iter_mut().map(duration).collect();
    assert!(durations.iter().all(|ms| (50..=500).contains(ms)), "{durations:?}");
    assert!(durations.iter().any(|ms| *ms != durations[0]), "{durations:?}");
}

#[test]
fn error_rate_is_the_share_of_errors() {
    let service = Service::start();
    let mut client = Client::connect(service.address);
    let mut errors = |rate| {
        let target = format!("/simulate-load?duration_ms=0&error_rate={rate}");
        (0..1000).filter(|_| client.call("GET", &target).status == 500).count()
    };
    assert_eq!((errors("0"), errors("1")), (0, 1000));
    // 250 are expected. The bounds are more than ten standard deviations of 14 away.
    assert!((100..400).contains(&errors("0.25")));
}

#[test]
fn metrics_have_their_own_content_type() {
    let reply = Service::start().call("GET", "/metrics");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/plain; version=0.0.4")));
}

#[test]
fn head_has_the_status_and_headers_of_get() {
    let service = Service::start();
    let targets = ["/", "/health", "/metrics", "/nope", "/simulate-load?duration_ms=0", "/simulate-load?mode=x"];
    for target in targets {
        let (get, head) = (service.call("GET", target), service.call("HEAD", target));
        assert_eq!(head.status, get.status, "{target}");
        // The date changes, and so does the length of /metrics.
        let fixed = |name: &String| name != "date" && (target, name.as_str()) != ("/metrics", "content-length");
        let without = |headers: Vec<(String, String)>| -> Vec<_> {
            headers.into_iter().filter(|(name, _)| fixed(name)).collect()
        };
        assert_eq!(without(head.headers), without(get.headers), "{target}");
    }
}

#[test]
fn head_has_no_body() {
    let service = Service::start();
    for target in ["/", "/health", "/metrics", "/nope", "/simulate-load?duration_ms=0"] {
        let mut client = Client::connect(service.address);
        client.write(&format!("HEAD {target} HTTP/1.1\r\nConnection: close\r\n\r\n"));
        let all = client.rest();
        assert!(all.ends_with("\r\n\r\n") && all.matches("\r\n\r\n").count() == 1, "{target}: {all:?}");
    }
}

#[test]
fn other_methods_get_405_with_the_allowed_ones() {
    let service = Service::start();
    for target in ["/", "/health", "/simulate-load", "/metrics"] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "BREW"] {
            let reply = service.call(method, target);
            assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")), "{method} {target}");
            assert_eq!(reply.body, r#"{"error":"method not allowed; use GET or HEAD"}"#);
        }
    }
    // An unknown path allows no method.
    assert_eq!(service.call("POST", "/nope").status, 404);
}

#[test]
fn the_body_of_a_405_does_not_break_the_connection() {
    let service = Service::start();
    let mut client = Client::connect(service.address);
    client.write("POST /health HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.try_reply("POST").unwrap().status, 405);
    assert_eq!(client.call("GET", "/health").status, 200);
}

#[test]
fn invalid_parameters_are_named_with_their_range() {
    let service = Service::start();
    let duration = "duration_ms must be a whole number from 0 to 10000";
    let rate = "error_rate must be a number from 0 to 1";
    let mode = "mode must be sleep or cpu";
    let unknown = "unknown parameter; expected duration_ms, mode or error_rate";
    let twice = "repeated parameter; duration_ms, mode and error_rate are allowed once each";
    for (query, reason) in [
        ("duration_ms=10001", duration),
        ("duration_ms=-1", duration),
        ("duration_ms=1.5", duration),
        ("duration_ms=65546", duration),
        ("duration_ms=99999999999999999999", duration),
        ("duration_ms=NaN", duration),
        ("duration_ms=inf", duration),
        ("duration_ms=", duration),
        ("duration_ms", duration),
        ("duration_ms=%31", duration),
        ("mode=cpu&duration_ms=x", duration),
        ("error_rate=1.0000001", rate),
        ("error_rate=-0.1", rate),
        ("error_rate=NaN", rate),
        ("error_rate=inf", rate),
        ("error_rate=-inf", rate),
        ("error_rate=1e999", rate),
        ("error_rate=", rate),
        ("error_rate=0,5", rate),
        ("mode=CPU", mode),
        ("mode=", mode),
        ("mode", mode),
        ("sleep=1", unknown),
        ("Duration_ms=1", unknown),
        ("=1", unknown),
        ("duration_ms=1&duration_ms=1", twice),
        ("mode=cpu&mode=sleep", twice),
        ("error_rate=0&error_rate=0", twice),
    ] {
        let reply = service.call("GET", &format!("/simulate-load?{query}"));
        assert_eq!((reply.status, reply.body), (400, format!(r#"{{"error":"{reason}"}}"#)), "{query}");
    }
}

#[test]
fn the_limits_of_each_range_are_valid() {
    let service = Service::start();
    for (query, status) in [
        ("duration_ms=0", 200),
        ("duration_ms=0&error_rate=0", 200),
        ("duration_ms=0&error_rate=0.0", 200),
        ("duration_ms=0&error_rate=1", 500),
        ("duration_ms=0&error_rate=1.0", 500),
        ("duration_ms=0&mode=sleep", 200),
        ("&duration_ms=0&&mode=cpu&", 200),
    ] {
        assert_eq!(service.call("GET", &format!("/simulate-load?{query}")).status, status, "{query}");
    }
    // The longest load is accepted. The test does not wait for it.
    Client::connect(service.address).send("GET", "/simulate-load?duration_ms=10000");
    service.wait_for("active_connections", 1.0);
}
