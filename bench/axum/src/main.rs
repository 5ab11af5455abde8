//! The same service in axum, as one would write it with tokio and the prometheus crate.

use std::hint::spin_loop;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Query, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, serve};
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    DEFAULT_BUCKETS, Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TEXT_FORMAT,
    TextEncoder,
};
use tokio::sync::Semaphore;

const ROOT: &str =
    r#"{"name":"metrics-service","version":"0.1.0","routes":["/","/health","/simulate-load","/metrics"]}"#;
/// At most this many simulated loads at once.
const LOADS: usize = 32;

struct App {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    in_flight: IntGauge,
    loads: Semaphore,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = Arc::new(App::new()?);
    let router = Router::new()
        .route("/", get(|| async { json(200, ROOT) }))
        .route("/health", get(|| async { json(200, r#"{"status":"ok"}"#) }))
        .route("/simulate-load", get(simulate_load))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(|| async {
            let allow = [(header::ALLOW, "GET, HEAD")];
            (allow, json(405, r#"{"error":"only GET and HEAD are answered here"}"#))
        })
        .fallback(|| async { json(404, r#"{"error":"no such path; see / for the routes"}"#) })
        .layer(from_fn_with_state(app.clone(), measured))
        .with_state(app);
    let address = std::env::args().nth(1).expect("usage: metrics-service-axum ADDRESS:PORT");
    serve(tokio::net::TcpListener::bind(address).await?, router).await?;
    Ok(())
}

impl App {
    fn new() -> prometheus::Result<App> {
        let requests = IntCounterVec::new(
            Opts::new("http_requests_total", "HTTP requests answered."),
            &["method", "endpoint", "status"],
        )?;
        let buckets = [&[0.0001, 0.00025, 0.0005, 0.001, 0.0025][..], DEFAULT_BUCKETS].concat();
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "http_request_duration_seconds",
                "Time from the receipt of a request to its answer being ready to send.",
            )
            .buckets(buckets),
            &["method", "endpoint"],
        )?;
        let in_flight = IntGauge::new(
            "active_connections",
            "HTTP requests in flight, from their receipt to the end of the answer, without those of /metrics.",
        )?;
        let build = Gauge::with_opts(
            Opts::new("metrics_service_build_info", "Always 1; the label tells which version runs.")
                .const_label("version", "0.1.0"),
        )?;
        build.set(1.0);
        for method in ["GET", "HEAD", "other"] {
            for endpoint in ["/", "/health", "/simulate-load", "/metrics", "other"] {
                let statuses: &[&str] = match (method, endpoint) {
                    (_, "other") => &["404"],
                    ("other", _) => &["405"],
                    (_, "/simulate-load") => &["200", "400", "500", "503"],
                    _ => &["200", "500"],
                };
                durations.with_label_values(&[method, endpoint]);
                for status in statuses {
                    requests.with_label_values(&[method, endpoint, status]);
                }
            }
        }
        let registry = Registry::new();
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        registry.register(Box::new(in_flight.clone()))?;
        registry.register(Box::new(build))?;
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(App { registry, requests, durations, in_flight, loads: Semaphore::new(LOADS) })
    }
}

/// Brings the gauge down when the request ends, also where its client has gone.
struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

async fn measured(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    // Labels are a closed set: nothing that a client sends becomes one.
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        _ => "other",
    };
    let endpoint = match request.uri().path() {
        "/" => "/",
        "/health" => "/health",
        "/simulate-load" => "/simulate-load",
        "/metrics" => "/metrics",
        _ => "other",
    };
    let _in_flight = (endpoint != "/metrics").then(|| {
        app.in_flight.inc();
        InFlight(app.in_flight.clone())
    });
    let response = next.run(request).await;
    app.requests.with_label_values(&[method, endpoint, response.status().as_str()]).inc();
    app.durations.with_label_values(&[method, endpoint]).observe(start.elapsed().as_secs_f64());
    response
}

async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let text = TextEncoder::new().encode_to_string(&app.registry.gather()).expect("our metrics are valid");
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], text)
}

struct Load {
    milliseconds: u64,
    cpu: bool,
    error_rate: f64,
}

impl Load {
    fn parse(query: Vec<(String, String)>) -> Result<Load, &'static str> {
        let (mut milliseconds, mut mode, mut error_rate) = (None, None, None);
        for (name, value) in query {
            let given_before = match name.as_str() {
                "duration_ms" => {
                    let parsed = value.parse().ok().filter(|ms| (0..=10_000).contains(ms));
                    milliseconds.replace(parsed.ok_or("duration_ms must be a whole number from 0 to 10000")?).is_some()
                }
                "mode" => match value.as_str() {
                    "sleep" => mode.replace(false).is_some(),
                    "cpu" => mode.replace(true).is_some(),
                    _ => return Err("mode must be sleep or cpu"),
                },
                "error_rate" => {
                    let parsed = value.parse().ok().filter(|rate| (0.0..=1.0).contains(rate));
                    error_rate.replace(parsed.ok_or("error_rate must be a number from 0 to 1")?).is_some()
                }
                _ => return Err("unknown parameter; there are duration_ms, mode and error_rate"),
            };
            if given_before {
                return Err("duration_ms, mode and error_rate may be given once each");
            }
        }
        Ok(Load {
            milliseconds: milliseconds.unwrap_or_else(|| rand::random_range(50..=500)),
            cpu: mode.unwrap_or(false),
            error_rate: error_rate.unwrap_or(0.0),
        })
    }
}

async fn simulate_load(State(app): State<Arc<App>>, Query(query): Query<Vec<(String, String)>>) -> Response {
    let load = match Load::parse(query) {
        Ok(load) => load,
        Err(reason) => return json(400, format!(r#"{{"error":"{reason}"}}"#)),
    };
    let Ok(_permit) = app.loads.try_acquire() else {
        let busy = json(503, r#"{"error":"as much load is being simulated as can be; try again later"}"#);
        return ([(header::RETRY_AFTER, "1")], busy).into_response();
    };
    let duration = Duration::from_millis(load.milliseconds);
    if load.cpu {
        let burn = move || {
            let start = Instant::now();
            while start.elapsed() < duration {
                spin_loop();
            }
        };
        tokio::task::spawn_blocking(burn).await.expect("burning does not panic");
    } else {
        tokio::time::sleep(duration).await;
    }
    let (status, word) = if rand::random_bool(load.error_rate) {
        (500, r#""error":"simulated, as error_rate asks for""#)
    } else {
        (200, r#""status":"ok""#)
    };
    let mode = if load.cpu { "cpu" } else { "sleep" };
    json(status, format!(r#"{{{word},"mode":"{mode}","duration_ms":{}}}"#, load.milliseconds))
}

fn json(status: u16, body: impl IntoResponse) -> Response {
    let status = StatusCode::from_u16(status).expect("a valid status");
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
