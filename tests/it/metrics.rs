//! The metrics: their series, initial values and counts.

use std::collections::BTreeSet;

use crate::http::Client;
use crate::service::Service;

const ENDPOINTS: [&str; 5] = ["/", "/health", "/metrics", "/simulate-load", "other"];
const BUCKETS: [&str; 17] = [
    "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1",
    "2.5", "5", "10", "+Inf",
];
const PROCESS: [&str; 7] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];

/// Every series that can occur.
fn expected() -> BTreeSet<String> {
    let mut series = BTreeSet::new();
    for method in ["GET", "HEAD", "other"] {
        for endpoint in ENDPOINTS {
            let statuses: &[u16] = match (method, endpoint) {
                (_, "other") => &[404],
                ("other", _) => &[405],
                (_, "/simulate-load") => &[200, 400, 500, 503],
                _ => &[200, 500],
            };
            for status in statuses {
                series.insert(format!(
                    r#"http_requests_total{{endpoint="{endpoint}",method="{method}",status="{status}"}}"#
                ));
            }
            let (name, labels) =
                ("http_request_duration_seconds", format!(r#"endpoint="{endpoint}",method="{method}""#));
            for le in BUCKETS {
                series.insert(format!(r#"{name}_bucket{{{labels},le="{le}"}}"#));
            }
            series.insert(format!("{name}_sum{{{labels}}}"));
            series.insert(format!("{name}_count{{{labels}}}"));
        }
    }
    series.insert("active_connections".to_string());
    series.insert("metrics_service_connections_aborted_total".to_string());
    series.insert(r#"metrics_service_build_info{version="0.1.0"}"#.to_string());
    series.extend(PROCESS.map(str::to_string));
    series
}

/// Splits a scrape into series and values.
fn samples(text: &str) -> Vec<(&str, &str)> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap()).collect()
}

fn names(text: &str) -> BTreeSet<String> {
    samples(text).into_iter().map(|(series, _)| series.to_string()).collect()
}

#[test]
fn the_first_scrape_has_every_series_at_zero() {
    let text = Service::start().call("GET", "/metrics").body;
    assert_eq!(names(&text), expected());
    for (series, value) in samples(&text) {
        let zero = ["http_", "active_connections", "metrics_service_connections_aborted"];
        if zero.iter().any(|name| series.starts_with(name)) {
            assert_eq!(value, "0", "{series}");
        }
        if series.starts_with("metrics_service_build_info") {
            assert_eq!(value, "1");
        }
    }
    let types: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let mut expected_types = BTreeSet::from([
        "active_connections gauge",
        "http_request_duration_seconds histogram",
        "http_requests_total counter",
        "metrics_service_build_info gauge",
        "metrics_service_connections_aborted_total counter",
        "process_cpu_seconds_total counter",
    ]);
    let gauges: Vec<String> = PROCESS[1..].iter().map(|name| format!("{name} gauge")).collect();
    expected_types.extend(gauges.iter().map(String::as_str));
    assert_eq!(types, expected_types);
}

#[test]
fn no_request_creates_a_series() {
    let service = Service::start();
    for method in ["GET", "HEAD", "POST", "OPTIONS", "MADE-UP"] {
        for target in ["/", "/health", "/metrics", "/made/up", "/simulate-load?duration_ms=0", "/simulate-load?x=y"] {
            service.call(method, target);
        }
        service.call(method, "/simulate-load?duration_ms=0&error_rate=1");
    }
    assert_eq!(names(&service.call("GET", "/metrics").body), expected());
}

#[test]
fn each_response_is_counted_once_under_its_labels() {
    let service = Service::start();
    let requests = [
        ("GET", "/", "/", "GET", 200),
        ("HEAD", "/health", "/health", "HEAD", 200),
        ("GET", "/simulate-load?duration_ms=0", "/simulate-load", "GET", 200),
        ("GET", "/simulate-load?duration_ms=x", "/simulate-load", "GET", 400),
        ("HEAD", "/simulate-load?duration_ms=0&error_rate=1", "/simulate-load", "HEAD", 500),
        ("DELETE", "/metrics", "/metrics", "other", 405),
        ("GET", "/nope", "other", "GET", 404),
        ("PUT", "/nope", "other", "other", 404),
    ];
    for (method, target, ..) in requests {
        service.call(method, target);
    }
    let text = service.call("GET", "/metrics").body;
    let counted: BTreeSet<(&str, &str)> = samples(&text)
        .into_iter()
        .filter(|(series, value)| series.starts_with("http_requests") && *value != "0")
        .collect();
    let expected: Vec<String> = requests
        .iter()
        .map(|(_, _, endpoint, method, status)| {
            format!(r#"http_requests_total{{endpoint="{endpoint}",method="{method}",status="{status}"}}"#)
        })
        .collect();
    assert_eq!(counted, expected.iter().map(|series| (series.as_str(), "1")).collect());
    let timed: f64 = samples(&text)
        .into_iter()
        .filter(|(series, _)| series.starts_with("http_request_duration_seconds_count"))
        .map(|(_, count)| count.parse::<f64>().unwrap())
        .sum();
    assert_eq!(timed, requests.len() as f64);
}

#[test]
fn durations_are_in_seconds() {
    let service = Service::start();
    service.call("GET", "/simulate-load?duration_ms=30");
    let labels = r#"endpoint="/simulate-load",method="GET""#;
    assert_eq!(service.metric(&format!(r#"http_request_duration_seconds_bucket{{{labels},le="0.025"}}"#)), 0.0);
    let sum = service.metric(&format!("http_request_duration_seconds_sum{{{labels}}}"));
    assert!((0.03..30.0).contains(&sum), "{sum}");
}

#[test]
fn the_gauge_counts_requests_in_flight_and_returns_to_zero() {
    let service = Service::start();
    let gauge = "active_connections";
    // Would be 1 if the scrape counted itself.
    assert_eq!(service.metric(gauge), 0.0);

    let mut clients = ["error_rate=0", "error_rate=1", "mode=cpu", "mode=sleep"].map(|query| {
        let mut client = Client::connect(service.address);
        client.send("GET", &format!("/simulate-load?duration_ms=5000&{query}"));
        client
    });
    service.wait_for(gauge, 4.0);
    // One client disconnects before its response.
    let (gone, waiting) = clients.split_last_mut().unwrap();
    gone.hang_up();
    for client in waiting {
        client.try_reply("GET").unwrap();
    }
    service.wait_for(gauge, 0.0);
}
