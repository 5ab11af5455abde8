//! The service's metrics: what is counted, under which names and labels, and their text form.

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, DEFAULT_BUCKETS};
use prometheus::{Opts, Registry, TextEncoder};

use crate::routes::Route;

/// Most answers take well under the client library's first bucket of 5 ms.
const FAST_BUCKETS: [f64; 5] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025];

/// All metrics of the process, with every series there can be from the start, at 0.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    active: IntGauge,
    in_flight: InFlight,
    /// Connections that the service ended.
    pub aborted: IntCounter,
}

/// Each request in flight has a clone of the one that is counted, and takes it along whatever its end is.
pub type InFlight = Arc<()>;

impl Metrics {
    /// Registers everything. Panics only when a name or a label here is wrong.
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let requests = Opts::new("http_requests_total", "HTTP requests answered.");
        let durations = HistogramOpts::new(
            "http_request_duration_seconds",
            "Time from the receipt of a request to its answer being ready to send.",
        )
        .buckets([&FAST_BUCKETS[..], DEFAULT_BUCKETS].concat());
        let active = Opts::new(
            "active_connections",
            "HTTP requests in flight, from their receipt to the end of the answer, without those of /metrics.",
        );
        let aborted = Opts::new(
            "metrics_service_connections_cut_total",
            "Connections ended as their clients sent too far ahead, did not read, or declared too large a body.",
        );
        let build = Opts::new("metrics_service_build_info", "Always 1; the label tells which version runs.")
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
        Metrics { registry, requests, durations, active, in_flight: InFlight::default(), aborted }
    }

    /// Counts a request as long as this is kept. A scrape is not counted, so that an idle service reads 0.
    pub fn begin(&self, route: Route) -> Option<InFlight> {
        (route.endpoint != "/metrics").then(|| self.in_flight.clone())
    }

    /// Counts an answer and the time that it took to make.
    pub fn record(&self, route: Route, status: u16, took: Duration) {
        self.requests.with_label_values(&[route.method, route.endpoint, &status.to_string()]).inc();
        self.durations.with_label_values(&[route.method, route.endpoint]).observe(took.as_secs_f64());
    }

    /// All metrics in Prometheus' text format 0.0.4.
    pub fn text(&self) -> String {
        self.active.set(Arc::strong_count(&self.in_flight) as i64 - 1);
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("our metrics can be written as text")
    }
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    let metric = metric.expect("a valid name and valid labels");
    registry.register(Box::new(metric.clone())).expect("registered once");
    metric
}
