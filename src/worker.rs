//! The one thread that takes requests from tiny_http's queue. It never waits for a body, and waits
//! at most 1 ms for a client to read a response. A client here is one connection.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tiny_http::{Request, Server};

use crate::blocking::Blocking;
use crate::exchange::Exchange;
use crate::metrics::Metrics;
use crate::{log, sockets};

/// Queued requests per client. Well-behaved clients do not pipeline more.
const MAX_PIPELINED: usize = 16;
/// Requests taken from the queue at a time. Bounds memory, and is enough to recognize hundreds of
/// flooding clients.
const MAX_BATCH: usize = 16_384;
/// Largest declared body. tiny_http allocates the unread rest when a request is dropped.
const MAX_BODY_BYTES: usize = 16 << 20;

/// Limit of `drain`: above the longest `/simulate-load` (10 s), below `TimeoutStopSec=`.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(12);
/// After this long without a request, connected clients are expected to send no more.
const QUIET_PERIOD: Duration = Duration::from_millis(250);
/// After the accept loop has ended, clients that keep sending are served this much longer.
const KEEP_ALIVE_GRACE: Duration = Duration::from_secs(1);

pub struct Worker {
    server: Arc<Server>,
    waker: SyncSender<()>,
    probe_url: String,
    metrics: Arc<Metrics>,
    blocking: Blocking,
}

impl Worker {
    pub fn new(server: Arc<Server>, waker: SyncSender<()>, probe_url: String) -> Worker {
        Worker { server, waker, probe_url, metrics: Arc::new(Metrics::new()), blocking: Blocking::default() }
    }

    /// Serves requests until the service stops.
    pub fn run(&self, stopping: &AtomicBool) {
        while !stopping.load(Ordering::Acquire) {
            if let Err(error) = self.serve_queued(sockets::IDLE_TIMEOUT) {
                log::fatal(&format!("cannot accept connections: {error}"));
            }
        }
    }

    /// Finishes accepted requests, except those that wait for a body. systemd queues new connections.
    pub fn drain(&self, listener: &TcpListener) {
        // tiny_http's accept loop blocks in `accept`. Once awake, it empties the accept queue and exits.
        let _ = listener.set_nonblocking(true);
        let _ = listener.local_addr().and_then(|address| sockets::wake_acceptor(&address));
        let (start, mut closed_at, mut has_input) = (Instant::now(), None, true);
        while start.elapsed() < DRAIN_TIMEOUT {
            let served = self.serve_queued(QUIET_PERIOD);
            closed_at = closed_at.or_else(|| served.is_err().then(Instant::now));
            let is_over = |at: Instant| matches!(served, Ok(false)) || has_input && at.elapsed() > KEEP_ALIVE_GRACE;
            if closed_at.is_some_and(is_over) && self.blocking.is_drained() {
                if !has_input {
                    return;
                }
                sockets::end_input();
                has_input = false;
            }
        }
        log::warning(&format!("drain timed out after {} s with requests unanswered", DRAIN_TIMEOUT.as_secs()));
    }

    /// Waits up to `timeout` for a request, then serves up to `MAX_BATCH` queued ones. tiny_http's
    /// queue is unbounded, so clients that send faster than they are served are detected in it.
    /// Returns whether there was a request, and once an error: the accept loop has ended.
    fn serve_queued(&self, timeout: Duration) -> io::Result<bool> {
        let mut requests = Vec::new();
        let mut next = self.server.recv_timeout(timeout);
        while let Ok(Some(request)) = next {
            requests.push(request);
            next = if requests.len() < MAX_BATCH { self.server.try_recv() } else { Ok(None) };
        }
        // Makes the waker (sockets.rs) count connections now. A full channel means that it soon will.
        let _ = self.waker.try_send(());
        let flooding = if requests.len() > MAX_PIPELINED { flooding_clients(&requests) } else { HashSet::new() };
        self.metrics.aborted.inc_by(sockets::shut_down(&flooding));
        let (received, has_served, mut closing) = (Instant::now(), !requests.is_empty(), flooding.clone());
        for request in requests {
            let is_probe = request.url() == self.probe_url;
            let exchange = Exchange::begin(request, received, is_probe, self.metrics.clone());
            let client = exchange.client;
            if closing.contains(&client) || exchange.unread > MAX_BODY_BYTES || self.blocking.is_at_limit(&client) {
                closing.insert(client);
                exchange.discard();
            } else if !self.blocking.spawn_if_slow(exchange).map_or(true, Exchange::finish) {
                closing.insert(client);
            }
        }
        self.metrics.aborted.inc_by(sockets::shut_down(&(&closing - &flooding)));
        next.map(|_| has_served)
    }
}

/// Returns the clients with more than `MAX_PIPELINED` of these requests.
fn flooding_clients(requests: &[Request]) -> HashSet<SocketAddr> {
    let mut queued = HashMap::new();
    requests.iter().filter_map(Request::remote_addr).for_each(|client| *queued.entry(*client).or_insert(0) += 1);
    queued.into_iter().filter(|(_, count)| *count > MAX_PIPELINED).map(|(client, _)| client).collect()
}
