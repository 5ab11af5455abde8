//! A worker: takes requests from tiny_http and answers them, or hands them on where the answer takes time.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::Arc;

use tiny_http::{Request, Server};

use crate::answer::Answer;
use crate::drain::Phase;
use crate::exchange::Exchange;
use crate::load::Load;
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::probe::Probe;
use crate::routes::{self, Endpoint, Method, Route};
use crate::server::Stop;
use crate::wake::Waker;

/// How many clients a worker remembers, some 64 KB; a forgotten one costs a nudge too many.
const KNOWN_CLIENTS: usize = 1024;

/// What the workers share.
pub struct Shared {
    /// Where requests come from.
    pub server: Server,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Threads for simulated load.
    pub pool: Pool,
    /// Whom to tell about a new client.
    pub waker: Waker,
    /// Knows the service's own requests.
    pub probe: Arc<Probe>,
    /// How far the server is with stopping.
    pub phase: Arc<Phase>,
    /// Requests taken so far.
    pub received: AtomicU64,
    /// What ends the server.
    pub stop: Sender<Stop>,
}

/// Takes and answers requests until the server has stopped.
pub fn work(shared: &Shared) {
    let mut known = HashSet::new();
    while !shared.phase.has_stopped() {
        match shared.server.recv() {
            Ok(request) => take(shared, &mut known, request),
            // The accept loop has ended: as it should where the server drains, by a failure otherwise.
            Err(error) => {
                shared.phase.accept_has_ended();
                if !shared.phase.is_draining() {
                    let _ = shared.stop.send(Stop::Deaf(error));
                }
            }
        }
    }
}

fn take(shared: &Shared, known: &mut HashSet<SocketAddr>, request: Request) {
    shared.received.fetch_add(1, Ordering::AcqRel);
    let route = Route::of(&request);
    if let Some(peer) = request.remote_addr() {
        if shared.probe.is_own(peer) {
            // The answer alone: the service's own requests count nowhere.
            let _ = request.respond(route.answer(&shared.metrics).into());
            return;
        }
        if known.len() == KNOWN_CLIENTS {
            known.clear();
        }
        if known.insert(*peer) {
            shared.waker.nudge();
        }
    }
    if route.endpoint == Endpoint::SimulateLoad && route.method != Method::Other {
        simulate_load(shared, route, request);
    } else {
        Exchange::begin(request, route, &shared.metrics).finish(|| route.answer(&shared.metrics));
    }
}

fn simulate_load(shared: &Shared, route: Route, request: Request) {
    let load = Load::parse(routes::split(request.url()).1);
    let exchange = Exchange::begin(request, route, &shared.metrics);
    match (load, shared.pool.reserve()) {
        (Err(refusal), _) => exchange.finish(|| refusal),
        (Ok(_), None) => exchange.finish(busy),
        (Ok(load), Some(slot)) => shared.pool.run(slot, move |random| exchange.finish(|| load.perform(random))),
    }
}

fn busy() -> Answer {
    Answer::json(503, r#"{"error":"as much load is being simulated as can be; try again later"}"#)
        .with("Retry-After", "1")
}
