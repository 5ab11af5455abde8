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
    cut: IntCounterVec,
    /// Connections that clients have open.
    pub open: IntGauge,
    /// Connections that have ended and that tiny_http does not let go of.
    pub leaked: IntGauge,
}

/// Why a connection was cut.
#[derive(Clone, Copy)]
pub enum Cut {
    /// It sent more requests ahead than may wait.
    Flood,
    /// What it sent piled up unread: a head without end, or more requests than can be parsed.
    Full,
    /// It sent no request for too long.
    Idle,
    /// It sent no request for a while when the process had grown too large.
    Pressure,
    /// It did not read its answers.
    Unread,
}

impl Cut {
    const ALL: [Cut; 5] = [Cut::Flood, Cut::Full, Cut::Idle, Cut::Pressure, Cut::Unread];

    fn label(self) -> &'static str {
        match self {
            Cut::Flood => "flood",
            Cut::Full => "full",
            Cut::Idle => "idle",
            Cut::Pressure => "pressure",
            Cut::Unread => "unread",
        }
    }
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
        let cut = IntCounterVec::new(
            Opts::new(
                "metrics_service_connections_cut_total",
                "Connections that were cut: for a flood of requests, too much to read, being idle, being idle under pressure, or unread answers.",
            ),
            &["reason"],
        )
        .expect("valid metric");
        let open = IntGauge::new("metrics_service_open_connections", "TCP connections that clients have open.")
            .expect("valid metric");
        let leaked = IntGauge::new(
            "metrics_service_leaked_connections",
            "TCP connections that have ended and that the HTTP library does not let go of.",
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

        for reason in Cut::ALL {
            cut.with_label_values(&[reason.label()]);
        }

        let registry = Registry::new();
        for collector in [
            Box::new(requests.clone()) as Box<dyn prometheus::core::Collector>,
            Box::new(durations.clone()),
            Box::new(in_flight.clone()),
            Box::new(cut.clone()),
            Box::new(open.clone()),
            Box::new(leaked.clone()),
            Box::new(build),
            Box::new(ProcessCollector::for_self()),
        ] {
            registry.register(collector).expect("registered once");
        }
        Metrics { registry, requests, durations, in_flight, cut, open, leaked }
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

    /// Counts a connection that is cut.
    pub fn count_cut(&self, reason: Cut) {
        self.cut.with_label_values(&[reason.label()]).inc();
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
