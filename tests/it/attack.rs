//! Hostile clients.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::libc::linger;
use nix::sys::socket::{self, sockopt, SetSockOpt};

/// What each connection does. None closes by itself.
#[derive(Clone, Copy)]
pub enum Attack {
    /// Sends this and waits.
    Hold(&'static str),
    /// Sends this, then a byte every 100 ms.
    Drip(&'static str),
    /// Sends this, resets the connection, and connects again.
    Churn(&'static str),
    /// Sends `first`, then `then` over and over. Does not reconnect after it is disconnected.
    Flood { first: &'static str, then: &'static str, reads: bool },
}

/// A running attack. Dropping it ends the attack.
pub struct Running {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Size of one write of a flood.
const CHUNK_BYTES: usize = 64 << 10;
/// How long a flood waits for room in its send buffer.
const WRITE_TIMEOUT: Duration = Duration::from_millis(20);
/// Pause before reset connections are opened again. Without it they fill the listener's queue, and
/// the kernel drops connections for a second, whatever the service does.
const RECONNECT_DELAY: Duration = Duration::from_millis(10);

impl Attack {
    /// Starts the attack. `Hold` and `Drip` are fully connected on return.
    pub fn start(self, address: SocketAddr, connections: usize) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = match self {
            Attack::Hold(bytes) => vec![hold(address, connections, bytes, "", stop.clone())],
            Attack::Drip(first) => vec![hold(address, connections, first, "x", stop.clone())],
            Attack::Churn(bytes) => spawn(&stop, 4, move |_| reset(address, connections / 4, bytes)),
            Attack::Flood { first, then, reads } => {
                let many = then.repeat(CHUNK_BYTES / then.len() + 1);
                let once = move |stop: &AtomicBool| {
                    flood(address, first, &many, reads, stop);
                    while !stop.load(Ordering::Relaxed) {
                        thread::sleep(WRITE_TIMEOUT);
                    }
                };
                spawn(&stop, connections, once)
            }
        };
        Running { stop, threads }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// Starts threads that each call `once` in a loop.
fn spawn(
    stop: &Arc<AtomicBool>,
    threads: usize,
    once: impl Fn(&AtomicBool) + Clone + Send + 'static,
) -> Vec<JoinHandle<()>> {
    let spawn_one = |_| {
        let (stop, once) = (stop.clone(), once.clone());
        let work = move || {
            while !stop.load(Ordering::Relaxed) {
                once(&stop);
            }
        };
        thread::Builder::new().stack_size(64 << 10).spawn(work).unwrap()
    };
    (0..threads).map(spawn_one).collect()
}

fn hold(
    address: SocketAddr,
    connections: usize,
    bytes: &str,
    then: &'static str,
    stop: Arc<AtomicBool>,
) -> JoinHandle<()> {
    let connect = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        let _ = stream.write_all(bytes.as_bytes());
        // Bytes that find no room in the send buffer are skipped.
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let mut streams: Vec<TcpStream> = (0..connections).map(connect).collect();
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(100));
            streams.iter_mut().for_each(|stream| drop(stream.write(then.as_bytes())));
        }
    })
}

fn reset(address: SocketAddr, connections: usize, bytes: &str) {
    let connect = |_| {
        let mut stream = TcpStream::connect(address).ok()?;
        let _ = stream.write_all(bytes.as_bytes());
        close_by_reset(&stream);
        Some(stream)
    };
    drop((0..connections).map(connect).collect::<Vec<_>>());
    thread::sleep(RECONNECT_DELAY);
}

fn close_by_reset(stream: &TcpStream) {
    set(stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 });
}

fn set<T: SetSockOpt>(stream: &TcpStream, option: T, value: &T::Val) {
    // Fails if the connection has already ended.
    let _ = socket::setsockopt(stream, option, value);
}

/// Floods on one connection until the service closes it, or no byte was accepted for 100 timeouts.
fn flood(address: SocketAddr, first: &str, many: &str, reads: bool, stop: &AtomicBool) {
    let Ok(mut stream) = TcpStream::connect(address) else { return };
    // Keeps unsent data small and drops it at the end. The service and its clients share a kernel
    // here, and all their calls fail when TCP memory runs out.
    set(&stream, sockopt::SndBuf, &CHUNK_BYTES);
    close_by_reset(&stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT)).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    if stream.write_all(first.as_bytes()).is_err() {
        return;
    }
    let mut responses = vec![0; CHUNK_BYTES];
    // Resumes where a timeout interrupted the chunk, so requests stay whole.
    let (mut sent, mut stuck) = (0, 0);
    while stuck < 100 && !stop.load(Ordering::Relaxed) {
        match stream.write(&many.as_bytes()[sent..]) {
            Ok(length) => (sent, stuck) = ((sent + length) % many.len(), 0),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => stuck += 1,
            Err(_) => return,
        }
        if reads {
            while stream.read(&mut responses).is_ok_and(|length| length == responses.len()) {}
        }
    }
}
