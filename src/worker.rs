//! The one thread that takes requests from tiny_http. It answers what can be answered at once, and waits for nobody.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tiny_http::{Request, Server};

use crate::exchange::Exchange;
use crate::lines::Lines;
use crate::metrics::Metrics;
use crate::probe::Probe;
use crate::{log, sockets};

/// How many requests of one client may wait: as many as clients pipeline that mean well.
const MOST_WAITING: usize = 16;
/// How many are taken at a time: enough for each of hundreds of floods to show.
const MOST_TAKEN: usize = 16_384;
/// tiny_http takes memory for what is left of a body when its request is dropped: 1 TB would end the process.
const LARGEST_BODY: usize = 16 << 20;

/// The whole drain: the longest `/simulate-load` takes 10 s, and systemd's own bound must be above this.
const DRAIN_LIMIT: Duration = Duration::from_secs(12);
/// No request for this long: whoever had connected before has had the time to ask.
const QUIET: Duration = Duration::from_millis(250);
/// Clients that keep their connection may never be quiet; they get this long, and find the connection closed.
const PATIENCE: Duration = Duration::from_secs(1);

pub struct Worker {
    server: Arc<Server>,
    probe: Arc<Probe>,
    metrics: Arc<Metrics>,
    lines: Lines,
}

impl Worker {
    pub fn new(server: Arc<Server>, probe: Arc<Probe>) -> Worker {
        Worker { server, probe, metrics: Arc::new(Metrics::new()), lines: Lines::default() }
    }

    /// Works until the service is to stop.
    pub fn work(&self, stopping: &AtomicBool) {
        while !stopping.load(Ordering::Acquire) {
            if let Err(error) = self.turn(sockets::IDLE) {
                log::give_up(&format!("cannot accept connections any more: {error}"));
            }
        }
    }

    /// Ends accepting, and answers what was accepted. Who connects meanwhile waits in systemd's socket for the next process.
    pub fn drain(&self, listener: &TcpListener) {
        // The accept loop takes what waits, finds nothing more, and ends; it sleeps in a call that began before.
        let _ = listener.set_nonblocking(true);
        let _ = listener.local_addr().and_then(|address| sockets::knock(&address));
        let (start, mut closed) = (Instant::now(), None);
        while start.elapsed() < DRAIN_LIMIT {
            let turn = self.turn(QUIET);
            if turn.is_err() {
                closed = Some(Instant::now());
            }
            let is_quiet = matches!(turn, Ok(false));
            if closed.is_some_and(|closed| is_quiet || closed.elapsed() > PATIENCE) && self.lines.are_done() {
                return;
            }
        }
        log::warning(&format!("left requests unanswered that took longer than {} s", DRAIN_LIMIT.as_secs()));
    }

    /// Waits for requests, at most this long, and serves all that there are: tiny_http's queue has no bound, and who sends
    /// faster than he is answered shows in it. False when there are none, an error when the accept loop has ended.
    fn turn(&self, timeout: Duration) -> io::Result<bool> {
        let mut requests = Vec::new();
        let mut next = self.server.recv_timeout(timeout);
        while let Ok(Some(request)) = next {
            requests.push(request);
            next = if requests.len() < MOST_TAKEN { self.server.try_recv() } else { Ok(None) };
        }
        let floods = floods(&requests);
        self.end(&floods);
        let (is_some, mut faulty) = (!requests.is_empty(), HashSet::new());
        for request in requests {
            let client = *request.remote_addr().expect("over TCP there is one");
            let exchange = Exchange::begin(request, client, self.probe.is_own(&client), self.metrics.clone());
            if floods.contains(&client) || faulty.contains(&client) {
                exchange.discard();
            } else if !self.serve(exchange) {
                faulty.insert(client);
            }
        }
        self.end(&faulty);
        next.map(|_| is_some)
    }

    /// Answers, or hands on what takes time. False when the client's connection has to end.
    fn serve(&self, exchange: Exchange) -> bool {
        if exchange.unread > LARGEST_BODY || self.lines.is_full(&exchange.client) {
            exchange.discard();
            return false;
        }
        self.lines.take(exchange).map_or(true, Exchange::finish)
    }

    fn end(&self, clients: &HashSet<SocketAddr>) {
        if !clients.is_empty() {
            self.metrics.cut.inc_by(sockets::end(clients) as u64);
        }
    }
}

/// Who has more requests waiting than anybody may.
fn floods(requests: &[Request]) -> HashSet<SocketAddr> {
    let mut waiting = HashMap::new();
    requests.iter().filter_map(Request::remote_addr).for_each(|client| *waiting.entry(*client).or_insert(0) += 1);
    waiting.into_iter().filter(|(_, count)| *count > MOST_WAITING).map(|(client, _)| client).collect()
}
