//! The one thread that takes requests from tiny_http. It answers what can be answered at once, and waits for nobody.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tiny_http::{Request, Server};

use crate::blocking::Blocking;
use crate::exchange::Exchange;
use crate::metrics::Metrics;
use crate::watchdog::Probe;
use crate::{log, sockets};

/// How many requests of one client may wait: as many as clients pipeline that mean well.
const MAX_PIPELINED: usize = 16;
/// How many are taken at a time: enough for each of hundreds of floods to show.
const MAX_BATCH: usize = 16_384;
/// tiny_http takes memory for what is left of a body when its request is dropped: 1 TB would end the process.
const MAX_BODY_BYTES: usize = 16 << 20;

/// The whole drain: the longest `/simulate-load` takes 10 s, and systemd's own bound must be above this.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(12);
/// No request for this long: whoever had connected before has had the time to ask.
const QUIET_PERIOD: Duration = Duration::from_millis(250);
/// Clients that keep their connection may never be quiet; they get this long, and find the connection closed.
const KEEP_ALIVE_GRACE: Duration = Duration::from_secs(1);

pub struct Worker {
    server: Arc<Server>,
    probe: Arc<Probe>,
    metrics: Arc<Metrics>,
    blocking: Blocking,
}

impl Worker {
    pub fn new(server: Arc<Server>, probe: Arc<Probe>) -> Worker {
        Worker { server, probe, metrics: Arc::new(Metrics::new()), blocking: Blocking::default() }
    }

    /// Works until the service is to stop.
    pub fn work(&self, stopping: &AtomicBool) {
        while !stopping.load(Ordering::Acquire) {
            if let Err(error) = self.serve_queued(sockets::IDLE_TIMEOUT) {
                log::fatal(&format!("cannot accept connections any more: {error}"));
            }
        }
    }

    /// Ends accepting, and answers what was accepted. Who connects meanwhile waits in systemd's socket for the next process.
    pub fn drain(&self, listener: &TcpListener) {
        // The accept loop takes what waits, finds nothing more, and ends; it sleeps in a call that began before.
        let _ = listener.set_nonblocking(true);
        let _ = listener.local_addr().and_then(|address| sockets::wake_acceptor(&address));
        let (start, mut closed) = (Instant::now(), None);
        while start.elapsed() < DRAIN_TIMEOUT {
            let turn = self.serve_queued(QUIET_PERIOD);
            if turn.is_err() {
                closed = Some(Instant::now());
            }
            let is_quiet = matches!(turn, Ok(false));
            if closed.is_some_and(|closed| is_quiet || closed.elapsed() > KEEP_ALIVE_GRACE)
                && self.blocking.is_drained()
            {
                return;
            }
        }
        log::warning(&format!("left requests unanswered that took longer than {} s", DRAIN_TIMEOUT.as_secs()));
    }

    /// Waits for requests, at most this long, and serves all that there are: tiny_http's queue has no bound, and who sends
    /// faster than he is answered shows in it. False when there are none, an error when the accept loop has ended.
    fn serve_queued(&self, timeout: Duration) -> io::Result<bool> {
        let mut requests = Vec::new();
        let mut next = self.server.recv_timeout(timeout);
        while let Ok(Some(request)) = next {
            requests.push(request);
            next = if requests.len() < MAX_BATCH { self.server.try_recv() } else { Ok(None) };
        }
        let flooding = flooding_clients(&requests);
        self.close_connections(&flooding);
        let (is_some, mut failed) = (!requests.is_empty(), HashSet::new());
        for request in requests {
            let client = *request.remote_addr().expect("over TCP there is one");
            let exchange = Exchange::begin(request, client, self.probe.is_probe(&client), self.metrics.clone());
            if flooding.contains(&client) || failed.contains(&client) {
                exchange.discard();
            } else if !self.serve(exchange) {
                failed.insert(client);
            }
        }
        self.close_connections(&failed);
        next.map(|_| is_some)
    }

    /// Answers, or hands on what takes time. False when the client's connection has to end.
    fn serve(&self, exchange: Exchange) -> bool {
        if exchange.unread > MAX_BODY_BYTES || self.blocking.is_at_limit(&exchange.client) {
            exchange.discard();
            return false;
        }
        self.blocking.spawn_if_slow(exchange).map_or(true, Exchange::finish)
    }

    fn close_connections(&self, clients: &HashSet<SocketAddr>) {
        if !clients.is_empty() {
            self.metrics.aborted.inc_by(sockets::shut_down(clients) as u64);
        }
    }
}

/// Who has more requests waiting than anybody may.
fn flooding_clients(requests: &[Request]) -> HashSet<SocketAddr> {
    let mut waiting = HashMap::new();
    requests.iter().filter_map(Request::remote_addr).for_each(|client| *waiting.entry(*client).or_insert(0) += 1);
    waiting.into_iter().filter(|(_, count)| *count > MAX_PIPELINED).map(|(client, _)| client).collect()
}
