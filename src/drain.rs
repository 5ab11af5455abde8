//! The orderly end: no new connection is accepted, what was accepted is answered, and nothing takes longer than a bound.
//!
//! Under systemd, whoever connects meanwhile waits in the queue of its socket for the next process.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::worker::Shared;
use crate::{listener, log};

/// The whole drain: the longest `/simulate-load` takes 10 s, and systemd's own bound must be above this.
const LIMIT: Duration = Duration::from_secs(12);
/// No request for this long: whoever had connected before has had the time to ask.
const QUIET: Duration = Duration::from_millis(250);
/// Clients that keep their connection may never be quiet; they get this long, and find the connection closed.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the drain looks.
const STEP: Duration = Duration::from_millis(5);

/// How far the server is with stopping; each flag is set once and stays.
#[derive(Default)]
pub struct Phase {
    draining: AtomicBool,
    accept_ended: AtomicBool,
    stopped: AtomicBool,
}

impl Phase {
    /// Whether the server is about to leave.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether no more requests are to be taken.
    pub fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// tiny_http accepts no connection any more.
    pub fn accept_has_ended(&self) {
        self.accept_ended.store(true, Ordering::Release);
    }
}

/// Ends accepting, answers what was accepted, and ends the workers.
pub fn drain(listener: &TcpListener, shared: &Shared, workers: &[JoinHandle<()>]) {
    let phase = &shared.phase;
    let deadline = Instant::now() + LIMIT;
    phase.draining.store(true, Ordering::Release);

    end_accepting(listener);
    let mut complete = until(deadline, || phase.accept_ended.load(Ordering::Acquire));

    let patience = Instant::now() + PATIENCE;
    let (mut received, mut since) = (0, Instant::now());
    complete &= until(deadline, || {
        let now = shared.received.load(Ordering::Acquire);
        if now != received {
            (received, since) = (now, Instant::now());
        }
        shared.pool.is_idle() && (since.elapsed() >= QUIET || Instant::now() >= patience)
    });

    phase.stopped.store(true, Ordering::Release);
    complete &= until(deadline, || {
        // One that takes all there is takes the word for another too.
        shared.server.unblock();
        workers.iter().all(JoinHandle::is_finished) && shared.pool.is_idle()
    });
    if !complete {
        log::warning(&format!("left requests unanswered that took longer than {} s", LIMIT.as_secs()));
    }
}

/// Lets the accept loop take what waits, meet `WouldBlock`, and end.
fn end_accepting(listener: &TcpListener) {
    let knocked = listener.set_nonblocking(true).and_then(|()| listener::reachable_at(listener));
    if let Ok(address) = knocked {
        // It sleeps in a call that began before: one connection wakes it.
        listener::knock(&address);
    }
}

/// Waits for the condition until the deadline; whether it came true.
fn until(deadline: Instant, mut condition: impl FnMut() -> bool) -> bool {
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(STEP);
    }
}
