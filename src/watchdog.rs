//! The service as its own client.
//!
//! It asks itself for `/health`, the whole way over TCP, the accept loop and the worker: only an answer feeds systemd's
//! watchdog. And it wakes, once for each connection that has come: in a burst tiny_http counts on one idle thread for
//! several connections, and all but one of them wait until another connection comes or goes. Neither counts in a metric.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::{log, sockets};

/// The watchdog's limit where there is none: half a minute, as the unit has it.
const DEFAULT_WATCHDOG_USEC: u64 = 30_000_000;
/// How often it looks who has come.
const SCAN_INTERVAL: Duration = Duration::from_millis(25);
/// How often it asks: more often than `sockets::IDLE_TIMEOUT`, after which the accept loop would end, and no more than that, as
/// each connection keeps one of tiny_http's idle threads for five seconds.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// What is known of its requests.
pub struct Probe {
    service: SocketAddr,
    /// Where the one on its way comes from.
    probe_addr: Mutex<Option<SocketAddr>>,
}

impl Probe {
    /// Asks and wakes at this address until the service stops: from two threads, as a question may be what waits for a knock.
    pub fn start(service: SocketAddr, stopping: Arc<AtomicBool>) -> io::Result<Arc<Probe>> {
        let probe = Arc::new(Probe { service, probe_addr: Mutex::new(None) });
        let (probing, until) = (probe.clone(), stopping.clone());
        thread::Builder::new().name("probe".into()).spawn(move || probing.probe_loop(&until))?;
        thread::Builder::new().name("wake".into()).spawn(move || wake_on_new_connections(&service, &stopping))?;
        Ok(probe)
    }

    /// Whether a request from this client is the probe's.
    pub fn is_probe(&self, client: &SocketAddr) -> bool {
        *self.probe_addr.lock().expect("nobody panics while holding it") == Some(*client)
    }

    fn probe_loop(&self, stopping: &AtomicBool) {
        // With three steps of at most a sixth each, an answer that comes late still feeds the watchdog in time.
        let mut limit = 0;
        let has_watchdog = sd_notify::watchdog_enabled(false, &mut limit);
        let limit = Duration::from_micros(if has_watchdog { limit } else { DEFAULT_WATCHDOG_USEC });
        while !stopping.load(Ordering::Acquire) {
            match self.probe_once(limit / 6) {
                Ok(()) => drop(sd_notify::notify(false, &[NotifyState::Watchdog])),
                Err(_) if stopping.load(Ordering::Acquire) => return,
                Err(error) => log::warning(&format!("no answer to a request to myself: {error}")),
            }
            thread::sleep(PROBE_INTERVAL.min(limit / 3));
        }
    }

    /// Asks for `/health`, waiting at most `timeout` for the connection and as long for each step of the answer.
    fn probe_once(&self, timeout: Duration) -> io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&self.service, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        *self.probe_addr.lock().expect("nobody panics while holding it") = Some(stream.local_addr()?);
        stream.write_all(REQUEST)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let is_well = answer.starts_with("HTTP/1.1 200 ");
        is_well.then_some(()).ok_or_else(|| io::Error::other(format!("it answered {:?}", answer.lines().next())))
    }
}

fn wake_on_new_connections(service: &SocketAddr, stopping: &AtomicBool) {
    let (mut open, mut wakes) = (0, 0);
    while !stopping.load(Ordering::Acquire) {
        let before = std::mem::replace(&mut open, sockets::connection_count());
        // Some more than have come: the last knocks were among the connections then, and are not any more.
        wakes = open.saturating_sub(before) + wakes * 2 / 3;
        let _ = (0..wakes).try_for_each(|_| sockets::wake_acceptor(service));
        thread::sleep(SCAN_INTERVAL);
    }
}
