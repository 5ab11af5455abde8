//! The census of connections, some times a second: who is cut, who leaks, who may be waiting.
//!
//! tiny_http has no timeouts. A client that sends nothing, or its request byte by byte, keeps a thread and two
//! descriptors; one that sends a head without end takes memory. None of them completes a request.
//!
//! And tiny_http hands a new connection to an idle thread if it believes that there is one. In a burst several
//! connections count on the same idle thread, and all but one wait until another connection comes or goes. So some come.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::clients::{self, Client};
use crate::listener::knock;
use crate::memory;
use crate::metrics::Cut;
use crate::server::Stop;
use crate::sockets::{self, Sockets};
use crate::worker::Shared;

/// How often: memory can't grow far in between, and who waits is not kept waiting. Some thousandths of a core.
const PERIOD: Duration = Duration::from_millis(25);
/// The rest after each, as workers may ask for one at any time: at a thousand connections each takes some milliseconds.
const REST: Duration = Duration::from_millis(10);

/// How long a connection may be without a request: longer than Alloy's 15 s between two scrapes, so that it keeps its own.
const IDLE: Duration = Duration::from_secs(20);
/// How long under pressure: whoever is served at all has been served by then.
const IDLE_UNDER_PRESSURE: Duration = Duration::from_secs(1);
/// Pressure by memory, in KiB, beside what threads take: a hundred heads without end reach it within a moment.
const PRESSURE_KIB: usize = 64 << 10;

/// How long this much may wait to be read while no request comes of it, or more than one at a time: a few looks in a row.
const FULL: Duration = Duration::from_millis(50);
/// As much as tiny_http reads at once; most heads are smaller.
const FULL_BYTES: usize = 1 << 10;

/// How many connections to itself at most: a thousand clients that wait are awake within a quarter of a second.
const MOST_KNOCKS: usize = 256;

/// How long a connection that was cut may take to go; its thread has to wake up, no more.
const GRACE: Duration = Duration::from_secs(5);
/// How many connections may leak before the process has to be started anew: each takes 20 KB, a thread, two descriptors.
const LEAK_BUDGET: usize = 1000;
/// From here on it no longer waits for a moment without simulated load.
const LEAK_LIMIT: usize = LEAK_BUDGET * 3 / 2;
/// Memory that may stay for so long, in KiB, beside what threads take, before the process has to be started anew:
/// tiny_http's queue never shrinks. By then all that were idle have been cut.
const KEPT_KIB: usize = 32 << 10;
const KEPT: Duration = Duration::from_secs(25);

/// A descriptor of a connection, as the census knows it.
struct Connection {
    peer: Option<SocketAddr>,
    since: Instant,
    /// Since when much waits to be read and nothing, or too much, comes of it.
    full: Option<Instant>,
    /// Since when it should be gone.
    over: Option<Instant>,
    /// When the census last saw it.
    seen: Instant,
}

impl Connection {
    fn new(peer: Option<SocketAddr>, since: Instant) -> Connection {
        Connection { peer, since, full: None, over: None, seen: since }
    }

    /// Why it has to be cut, if it has.
    fn fault(&mut self, fd: RawFd, client: Option<Client>, now: Instant, limit: Duration) -> Option<Cut> {
        let heard = client.map_or(self.since, |client| client.heard);
        let is_ahead = client.is_some_and(|client| client.waiting > 1);
        let waits_for_pool = client.is_some_and(|client| client.in_pool > 0);
        let unread = sockets::unread(fd);
        self.full = match self.full {
            _ if unread < FULL_BYTES => None,
            Some(since) if heard <= since || is_ahead => Some(since),
            _ => Some(now),
        };
        match self.full {
            Some(since) if now - since >= FULL => Some(Cut::Full),
            // Whoever waits for simulated load has nothing to send meanwhile; that is looked at where memory is short.
            _ if waits_for_pool && (unread == 0 || limit == IDLE) => None,
            _ => (now.saturating_duration_since(heard) >= limit).then_some(Cut::Idle),
        }
    }
}

/// What the census remembers. The memory for it is there from the start: it has waited for more, while it was taken, up to
/// 0.7 s behind a hundred threads that grew what they held.
struct Census {
    sockets: Sockets,
    /// By their descriptors.
    connections: Vec<Option<Connection>>,
    /// The clients that are connected, without those that were cut: their addresses may soon be somebody else's.
    peers: HashSet<SocketAddr>,
    /// Those that were cut this time.
    cut: HashSet<SocketAddr>,
    /// When memory was last no more than may be kept.
    slim: Instant,
}

/// Starts the thread that takes the census until the server has stopped, and at once whenever it is woken.
pub fn start(shared: Arc<Shared>, sockets: Sockets) -> io::Result<Thread> {
    // Only written to: the first census empties them.
    let (mut connections, mut peers, mut cut) = (Vec::new(), HashSet::new(), HashSet::new());
    connections.resize_with(2 * clients::ROOM, || None);
    peers.extend(clients::dummies());
    cut.extend(clients::dummies());
    let mut census = Census { sockets, connections, peers, cut, slim: Instant::now() };
    let thread = thread::Builder::new().name("census".into()).spawn(move || {
        while !shared.phase.has_stopped() {
            census.take(&shared);
            thread::sleep(REST);
            // Not a channel, which has a lock: while a hundred threads are busy, whoever holds it may not run for long.
            thread::park_timeout(PERIOD);
        }
    })?;
    Ok(thread.thread().clone())
}

impl Census {
    fn take(&mut self, shared: &Shared) {
        let now = Instant::now();
        let memory = memory::beside_threads_kib();
        let (limit, idle) =
            if memory > PRESSURE_KIB { (IDLE_UNDER_PRESSURE, Cut::Pressure) } else { (IDLE, Cut::Idle) };

        self.peers.clear();
        self.cut.clear();
        let mut unheard = 0;
        for (fd, peer) in self.sockets.all() {
            // The service's connections to itself are the other side's business.
            if peer == Some(shared.address) {
                continue;
            }
            let index = fd as usize;
            if index >= self.connections.len() {
                self.connections.resize_with(index + 1, || None);
            }
            let connection = self.connections[index].get_or_insert_with(|| Connection::new(peer, now));
            connection.seen = now;
            let Some(client) = peer else {
                connection.over.get_or_insert(now);
                continue;
            };
            if connection.peer != peer || connection.over.is_some() && !sockets::is_cut(fd) {
                // The number belongs to another connection by now, though it may have come from the same port.
                *connection = Connection::new(peer, now);
            }
            if connection.over.is_some() {
                continue;
            }
            let known = shared.clients.get(&client);
            unheard += usize::from(self.peers.insert(client) && known.is_none());
            let fault = connection.fault(fd, known, now, limit);
            // A worker has asked for it, or its other descriptor was at fault: both have the same end.
            let is_cut = known.is_some_and(|client| client.is_cut) || self.cut.contains(&client);
            if !(fault.is_some() || is_cut) || !sockets::cut(fd, client) {
                continue;
            }
            connection.over = Some(now);
            if let (Some(fault), false) = (fault, is_cut) {
                shared.metrics.count_cut(if matches!(fault, Cut::Idle) { idle } else { fault });
                self.cut.insert(client);
            }
        }
        let is_gone = |connection: &&mut Option<Connection>| connection.as_ref().is_some_and(|known| known.seen != now);
        self.connections.iter_mut().filter(is_gone).for_each(|connection| *connection = None);
        self.connections.truncate(self.connections.iter().rposition(Option::is_some).map_or(0, |last| last + 1));
        shared.clients.keep(&self.peers, now);

        let is_leaked = |connection: &&Connection| connection.over.is_some_and(|over| now - over >= GRACE);
        let leaked = self.connections.iter().flatten().filter(is_leaked).count() / 2;
        shared.metrics.open.set(self.peers.len() as i64);
        shared.metrics.leaked.set(leaked as i64);

        if memory <= KEPT_KIB {
            self.slim = now;
        }
        // While it drains, whoever knocks would be the next process's client.
        if !shared.phase.is_draining() {
            (0..unheard.min(MOST_KNOCKS)).for_each(|_| knock(&shared.address));
        }

        let is_idle = shared.pool.is_idle();
        if leaked >= LEAK_LIMIT || leaked >= LEAK_BUDGET && is_idle {
            used_up(shared, &format!("the HTTP library does not let go of {leaked} connections that have ended"));
        } else if now - self.slim >= KEPT && is_idle {
            used_up(shared, &format!("the HTTP library does not let go of {} MB of memory", memory >> 10));
        }
    }
}

fn used_up(shared: &Shared, why: &str) {
    let _ = shared.stop.send(Stop::Broken(why.to_string()));
}
