//! The service's metrics: what is counted, under which names and labels, and their text form.

use std::time::Duration;

use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder, DEFAULT_BUCKETS,
};

use crate::routes::{Endpoint, Route};

/// Most answers take well under the client library's first bucket of 5 ms.
const FAST_BUCKETS: [f64; 5] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025];

/// All metrics of the process, with every series there can be from the start, at 0.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    in_flight: IntGauge,
}

/// A request in flight, counted as long as this lives; so a panic ends it too.
pub struct InFlight(IntGauge);

impl Metrics {
    /// Registers everything.
    ///
    /// # Panics
    /// Only when a name or a label here is wrong.
    pub fn new() -> Metrics {
        let requests = IntCounterVec::new(
            Opts::new("http_requests_total", "HTTP requests answered."),
            &["method", "endpoint", "status"],
        )
        .expect("valid metric");
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "http_request_duration_seconds",
                "Time from the receipt of a request to its answer being ready to send.",
            )
            .buckets([&FAST_BUCKETS[..], DEFAULT_BUCKETS].concat()),
            &["method", "endpoint"],
        )
        .expect("valid metric");
        let in_flight = IntGauge::new(
            "active_connections",
            "HTTP requests in flight, from their receipt to the end of the answer, without those of /metrics.",
        )
        .expect("valid metric");
        let build = Gauge::with_opts(
            Opts::new("metrics_service_build_info", "Always 1; the label tells which version runs.")
                .const_label("version", env!("CARGO_PKG_VERSION")),
        )
        .expect("valid metric");
        build.set(1.0);

        for route in Route::all() {
            durations.with_label_values(&[route.method.label(), route.endpoint.label()]);
            for status in route.statuses() {
                requests.with_label_values(&[route.method.label(), route.endpoint.label(), &status.to_string()]);
            }
        }

        let registry = Registry::new();
        for collector in [
            Box::new(requests.clone()) as Box<dyn prometheus::core::Collector>,
            Box::new(durations.clone()),
            Box::new(in_flight.clone()),
            Box::new(build),
            Box::new(ProcessCollector::for_self()),
        ] {
            registry.register(collector).expect("registered once");
        }
        Metrics { registry, requests, durations, in_flight }
    }

    /// Counts a request in flight until the guard is dropped. A scrape is not counted, so that an idle service reads 0.
    pub fn begin(&self, route: Route) -> Option<InFlight> {
        (route.endpoint != Endpoint::Metrics).then(|| {
            self.in_flight.inc();
            InFlight(self.in_flight.clone())
        })
    }

    /// Counts an answer and the time that it took to make.
    pub fn record(&self, route: Route, status: u16, took: Duration) {
        let (method, endpoint) = (route.method.label(), route.endpoint.label());
        self.requests.with_label_values(&[method, endpoint, &status.to_string()]).inc();
        self.durations.with_label_values(&[method, endpoint]).observe(took.as_secs_f64());
    }

    /// All metrics in Prometheus' text format 0.0.4.
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("our metrics can be written as text")
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
