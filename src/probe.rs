//! The service's requests to itself: systemd hears that it lives only after it has answered one.
//!
//! The request goes the whole way, over TCP, the accept loop and a worker. It counts in no metric.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::drain::Phase;
use crate::server::Stop;
use crate::{log, notify};

/// Without a watchdog: half a minute, as the unit has it.
const LIMIT_WITHOUT_WATCHDOG: Duration = Duration::from_secs(30);
/// Failures in a row: one may be a moment of too much work. The watchdog bites at about the same time.
const MOST_FAILURES: u32 = 3;
const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Makes the service's requests to itself, and knows them again.
pub struct Probe {
    /// The service's own address.
    address: SocketAddr,
    /// The local port of the request on its way, 0 for none. Nobody else can have it at the same time.
    port: AtomicU16,
}

impl Probe {
    /// A probe of the service at `address`.
    pub fn new(address: SocketAddr) -> Probe {
        Probe { address, port: AtomicU16::new(0) }
    }

    /// Whether a request from `peer` is the service's own.
    pub fn is_own(&self, peer: &SocketAddr) -> bool {
        peer.port() == self.port.load(Ordering::Acquire) && peer.ip() == self.address.ip()
    }

    /// Asks for `/health`, waiting at most `timeout` for the connection and as long for each step of the answer.
    pub fn ask(&self, timeout: Duration) -> io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&self.address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        self.port.store(stream.local_addr()?.port(), Ordering::Release);
        let mut answer = String::new();
        let result = stream.write_all(REQUEST).and_then(|()| stream.read_to_string(&mut answer));
        self.port.store(0, Ordering::Release);
        result?;
        if answer.starts_with("HTTP/1.1 200 ") {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("it answered {:?}", answer.lines().next())))
    }
}

/// Asks again and again until the server drains: feeds systemd's watchdog, if there is one, and ends a server that does
/// not answer any more.
pub fn start(probe: Arc<Probe>, phase: Arc<Phase>, stop: Sender<Stop>) -> io::Result<()> {
    // With three steps of at most a sixth each, an answer that comes late still feeds it in time.
    let limit = notify::watchdog().unwrap_or(LIMIT_WITHOUT_WATCHDOG);
    let (period, timeout) = (limit / 3, limit / 6);
    thread::Builder::new().name("probe".into()).spawn(move || {
        let mut failures = 0;
        while !phase.is_draining() {
            match probe.ask(timeout) {
                Ok(()) => {
                    failures = 0;
                    notify::alive();
                }
                Err(_) if phase.is_draining() => return,
                Err(error) => {
                    failures += 1;
                    log::warning(&format!("no answer to a request to myself: {error}"));
                }
            }
            if failures == MOST_FAILURES {
                let _ = stop.send(Stop::Broken(format!("no answer to {failures} requests to myself")));
            }
            thread::sleep(period);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Asks a server that reads the request and then says this.
    fn ask_one_that_says(answer: &'static str) -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let probe = Probe::new(listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; REQUEST.len()]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let result = probe.ask(Duration::from_secs(60));
        server.join().unwrap();
        result
    }

    #[test]
    fn only_an_answer_that_is_200_will_do() {
        assert!(ask_one_that_says("HTTP/1.1 200 OK\r\n\r\n").is_ok());
        assert!(ask_one_that_says("HTTP/1.1 500 Internal Server Error\r\n\r\n").is_err());
        assert!(ask_one_that_says("").is_err());
    }

    #[test]
    fn a_connection_without_an_answer_will_not_do() {
        // The kernel connects; nobody accepts.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let probe = Probe::new(listener.local_addr().unwrap());
        assert!(probe.ask(Duration::from_millis(50)).is_err());
    }
}
