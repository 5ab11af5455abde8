//! The metrics, described for users in docs/metrics.md.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, DEFAULT_BUCKETS};
use prometheus::{Opts, Registry, TextEncoder};

use crate::routes::Route;

/// Most responses take far less than the first default bucket, 5 ms.
const FAST_BUCKETS: [f64; 5] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025];

pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    active: IntGauge,
    /// Connections that the service closed because of what the client did.
    pub aborted: IntCounter,
}

/// A request in flight. Dropping it lowers the gauge, so the gauge is right however the request ends.
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Registers every series that can occur, each at 0. Panics only if a name or label is invalid.
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let requests = Opts::new("http_requests_total", "HTTP requests, by method, endpoint and response status.");
        let durations = HistogramOpts::new(
            "http_request_duration_seconds",
            "Time from receiving a request to having its response ready to send.",
        )
        .buckets([&FAST_BUCKETS[..], DEFAULT_BUCKETS].concat());
        let active = Opts::new("active_connections", "HTTP requests in flight, except those to /metrics.");
        let aborted =
            Opts::new("metrics_service_connections_aborted_total", "Connections closed for a client's misbehavior.");
        let build = Opts::new("metrics_service_build_info", "Always 1; the label is the running version.")
            .const_label("version", env!("CARGO_PKG_VERSION"));

        let requests = add(&registry, IntCounterVec::new(requests, &["method", "endpoint", "status"]));
        let durations = add(&registry, HistogramVec::new(durations, &["method", "endpoint"]));
        let active = add(&registry, IntGauge::with_opts(active));
        let aborted = add(&registry, IntCounter::with_opts(aborted));
        add(&registry, Gauge::with_opts(build)).set(1.0);
        registry.register(Box::new(ProcessCollector::for_self())).expect("registered once");

        for route in Route::all() {
            durations.with_label_values(&[route.method, route.endpoint]);
            for status in route.statuses() {
                requests.with_label_values(&[route.method, route.endpoint, &status.to_string()]);
            }
        }
        Metrics { registry, requests, durations, active, aborted }
    }

    /// Counts a request as in flight, except a scrape, so an idle service reads 0.
    pub fn begin(&self, route: Route) -> Option<InFlight> {
        (route.endpoint != "/metrics").then(|| {
            self.active.inc();
            InFlight(self.active.clone())
        })
    }

    /// Counts a response and the time it took.
    pub fn record(&self, route: Route, status: u16, took: Duration) {
        self.requests.with_label_values(&[route.method, route.endpoint, &status.to_string()]).inc();
        self.durations.with_label_values(&[route.method, route.endpoint]).observe(took.as_secs_f64());
    }

    /// Returns all metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("metrics are valid UTF-8")
    }
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    let metric = metric.expect("the name and the labels are valid");
    registry.register(Box::new(metric.clone())).expect("registered once");
    metric
}
