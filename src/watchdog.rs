//! The health probe, which feeds systemd's watchdog: only a response to a request for `/health`
//! counts, over TCP, through the accept loop and the worker. Probes do not appear in the metrics.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sd_notify::NotifyState;

use crate::log;

/// Used without systemd; the unit sets the same.
const DEFAULT_WATCHDOG_USEC: u64 = 30_000_000;
/// Below `sockets::IDLE_TIMEOUT`, which would end the accept loop.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// Starts a thread that probes the service until it stops. Returns the random URL of the probes.
pub fn start(service: SocketAddr, stopping: Arc<AtomicBool>) -> io::Result<String> {
    let url = format!("/health?probe={:016x}", SmallRng::from_os_rng().random::<u64>());
    let request = format!("GET {url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut limit = DEFAULT_WATCHDOG_USEC;
    sd_notify::watchdog_enabled(false, &mut limit);
    let limit = Duration::from_micros(limit);
    let probe_loop = move || {
        while !stopping.load(Ordering::Acquire) {
            // A probe has three steps, so a late response still feeds the watchdog in time.
            match probe_once(service, &request, limit / 6) {
                Ok(()) => drop(sd_notify::notify(false, &[NotifyState::Watchdog])),
                Err(_) if stopping.load(Ordering::Acquire) => return,
                Err(error) => log::warning(&format!("health probe failed: {error}")),
            }
            thread::sleep(PROBE_INTERVAL.min(limit / 3));
        }
    };
    thread::Builder::new().name("probe".into()).spawn(probe_loop)?;
    Ok(url)
}

/// Sends the request. The timeout applies to connecting, sending and receiving, one by one.
fn probe_once(service: SocketAddr, request: &str, timeout: Duration) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&service, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(request.as_bytes())?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let is_ok = response.starts_with("HTTP/1.1 200 ");
    is_ok.then_some(()).ok_or_else(|| io::Error::other(format!("the response is {:?}", response.lines().next())))
}
