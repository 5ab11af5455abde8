//! Connections to oneself, against tiny_http's starvation of clients.
//!
//! tiny_http hands a new connection to an idle thread if it believes that there is one. In a burst several connections
//! count on the same idle thread, and all but one wait until another connection comes or goes. So a few come.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{sync_channel, RecvTimeoutError, SyncSender};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::drain::Phase;
use crate::listener::knock;

/// How many connections each time. A connection that is woken so wakes the next ones with its first request.
const KNOCKS: usize = 4;
/// The rest after each time: long enough to cost little, short enough for 64 clients to be awake within 0.1 s.
const REST: Duration = Duration::from_millis(5);
/// How often without a new client: those that wait may not be able to show themselves.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// Tells the thread that knocks.
pub struct Waker(SyncSender<()>);

impl Waker {
    /// A new client has shown itself, others may wait.
    pub fn nudge(&self) {
        // Full means that it is told already.
        let _ = self.0.try_send(());
    }
}

/// Starts the thread that knocks at `address` until the server drains.
pub fn start(address: SocketAddr, phase: Arc<Phase>) -> io::Result<Waker> {
    let (nudge, nudges) = sync_channel(1);
    thread::Builder::new().name("wake".into()).spawn(move || {
        while nudges.recv_timeout(HEARTBEAT) != Err(RecvTimeoutError::Disconnected) && !phase.is_draining() {
            for _ in 0..KNOCKS {
                knock(&address);
            }
            thread::sleep(REST);
        }
    })?;
    Ok(Waker(nudge))
}
