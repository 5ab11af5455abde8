//! A worker: takes requests from tiny_http and answers them, or hands them on where the answer takes time.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;

use rand::rngs::SmallRng;
use tiny_http::{Request, Server};

use crate::answer::Answer;
use crate::body;
use crate::clients::Clients;
use crate::drain::Phase;
use crate::exchange::Exchange;
use crate::metrics::{Cut, Metrics};
use crate::pool::{Pool, Slot};
use crate::probe::Probe;
use crate::routes::Route;
use crate::server::Stop;
use crate::work::Work;

/// How many requests of one client may wait: as many as pipelining clients send ahead at most.
const MOST_WAITING: usize = 16;
/// How many requests are taken in one turn: enough for each of a thousand floods to show.
const MOST_TAKEN: usize = 16_384;

/// What the workers share.
pub struct Shared {
    /// Where the service reaches itself.
    pub address: SocketAddr,
    /// Where requests come from.
    pub server: Server,
    /// Held by the worker that takes requests.
    pub turn: Mutex<Turn>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Threads for simulated load.
    pub pool: Pool,
    /// Who has sent requests.
    pub clients: Clients,
    /// The thread that takes the census, once it has been started.
    pub census: OnceLock<Thread>,
    /// Knows the service's own requests.
    pub probe: Arc<Probe>,
    /// How far the server is with stopping.
    pub phase: Arc<Phase>,
    /// Requests taken so far.
    pub received: AtomicU64,
    /// What ends the server.
    pub stop: Sender<Stop>,
}

/// The turn to take requests.
pub struct Turn {
    /// Which one it is.
    pub number: u64,
    /// Draws what requests for load leave open.
    pub random: SmallRng,
}

/// Takes and answers requests until the server has stopped.
pub fn work(shared: &Arc<Shared>) {
    while !shared.phase.has_stopped() {
        for (exchange, work) in take(shared) {
            shared.answer(exchange, work, || ());
        }
    }
}

/// Takes all requests that wait, hands on what takes time, and returns what can be answered at once.
///
/// All, because tiny_http parses ahead into a queue without a bound: who sends faster than he is answered shows in it.
fn take(shared: &Arc<Shared>) -> Vec<(Exchange, Work)> {
    // One worker at a time: a client's request for load must be known before another worker meets what is behind it.
    let mut turn = shared.turn.lock().unwrap_or_else(PoisonError::into_inner);
    turn.number += 1;
    let (mut ready, mut taken) = (Vec::new(), 0);
    let mut next = shared.server.recv().map(Some);
    while let Ok(Some(request)) = next {
        ready.extend(sort(shared, request, &mut turn));
        taken += 1;
        next = if taken < MOST_TAKEN { shared.server.try_recv() } else { Ok(None) };
    }
    if let Err(error) = next {
        // The accept loop has ended: as it should where the server drains, by a failure otherwise.
        shared.phase.accept_has_ended();
        if !shared.phase.is_draining() {
            let _ = shared.stop.send(Stop::Deaf(error.to_string()));
        }
    }
    ready
}

/// Hands a request on, or returns it.
fn sort(shared: &Arc<Shared>, request: Request, turn: &mut Turn) -> Option<(Exchange, Work)> {
    shared.received.fetch_add(1, Ordering::AcqRel);
    let peer = *request.remote_addr()?;
    let mut client = shared.clients.hear(peer, turn.number);
    if client.requests == 1 {
        // Others that came with it may be waiting for somebody to wake them.
        shared.wake_census();
    }
    if client.waiting > MOST_WAITING {
        shared.cut(&peer, Cut::Flood);
        client.is_cut = true;
    }
    let unread = body::unread(&request);
    if client.is_cut && unread == 0 {
        // Without an answer, which is right only as its connection ends: the next answer would take its place.
        drop(request.into_writer());
        return None;
    }
    let route = Route::of(&request);
    let work = Work::of(&request, route, &mut turn.random);
    let own = shared.probe.is_own(&peer);
    let exchange = Exchange::begin(request, route, (!own).then(|| shared.metrics.clone()));
    if unread > 0 {
        body::answer(shared, exchange, work, unread);
        return None;
    }
    // Answers go out in the order of the requests: whoever answers what is behind load waits for it.
    let is_behind = client.in_pool > 0;
    if !is_behind && !matches!(work, Work::Load(_)) {
        return Some((exchange, work));
    }
    match shared.pool.reserve() {
        Some(slot) => answer_in_pool(shared, slot, peer, exchange, work),
        None if is_behind => {
            shared.cut(&peer, Cut::Flood);
            exchange.discard();
        }
        None => return Some((exchange, Work::Refuse(busy()))),
    }
    None
}

fn answer_in_pool(shared: &Arc<Shared>, slot: Slot, peer: SocketAddr, exchange: Exchange, work: Work) {
    shared.clients.enter_pool(&peer);
    let in_pool = shared.clone();
    shared.pool.run(slot, move || {
        // Before the answer goes: with it the client may send its next request, which is not behind this one any more.
        in_pool.answer(exchange, work, || in_pool.clients.leave_pool(&peer));
    });
}

fn busy() -> Answer {
    Answer::json(503, r#"{"error":"as much load is being simulated as can be; try again later"}"#)
        .with("Retry-After", "1")
}

impl Shared {
    /// Answers, with a call when the answer is there and not yet sent, and cuts a client that does not read.
    pub fn answer(&self, exchange: Exchange, work: Work, then: impl FnOnce()) {
        let peer = exchange.peer();
        // Whoever is cut, or has gone, does not hold a thread of the pool; and nobody who gets his port is taken for him.
        let is_wanted = || !peer.and_then(|peer| self.clients.get(&peer)).is_some_and(|client| client.is_cut);
        if !exchange.finish(|| work.answer(&self.metrics, is_wanted), then) {
            peer.iter().for_each(|peer| self.cut(peer, Cut::Unread));
        }
    }

    /// Asks for a census at once.
    fn wake_census(&self) {
        if let Some(thread) = self.census.get() {
            thread.unpark();
        }
    }

    /// Has the census end this client's connection; false when it is asked for already.
    pub fn end(&self, peer: &SocketAddr) -> bool {
        let is_news = self.clients.mark_cut(peer);
        if is_news {
            self.wake_census();
        }
        is_news
    }

    fn cut(&self, peer: &SocketAddr, reason: Cut) {
        if self.end(peer) {
            self.metrics.count_cut(reason);
        }
    }
}
