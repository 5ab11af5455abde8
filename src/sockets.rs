//! The listening socket and its connections. tiny_http has no timeouts and no access to its sockets,
//! so they get their limits from the listener and are found in /proc/self/fd.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{sync_channel, SyncSender};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io, thread};

use nix::libc::linger;
use nix::sys::socket::{self, sockopt, Backlog, MsgFlags, Shutdown, SockaddrStorage};
use nix::sys::time::TimeVal;

/// Closes silent connections. Longer than Alloy's scrape interval of 15 s, so its connection persists.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Unread input per connection, doubled by the kernel. Bounds how far a flood is parsed ahead.
const RECEIVE_BUFFER_BYTES: usize = 4 << 10;
/// Responses that a client has not read yet: room for four of the largest, `/metrics`.
const SEND_BUFFER_BYTES: usize = 128 << 10;
/// How long a send waits for room in that buffer. Short, because the worker waits with it.
const SEND_TIMEOUT: TimeVal = TimeVal::new(0, 1000);
/// A wake-up connects within microseconds, unless the listener's queue is full.
const WAKE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the waker counts connections while requests or connections arrive, and otherwise.
const SCAN_INTERVAL: Duration = Duration::from_millis(25);
const IDLE_SCAN_INTERVAL: Duration = Duration::from_millis(250);

/// Returns the socket on fd 0 if it is listening, else binds `address`. `LISTEN_FDS` does not help:
/// systemd does not set it for `StandardInput=socket`.
pub fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    let stdin = io::stdin();
    let listener = match socket::getsockopt(&stdin.as_fd(), sockopt::AcceptConn) {
        Ok(true) => stdin.as_fd().try_clone_to_owned().map(TcpListener::from),
        _ => bind(address),
    };
    let port = address.port();
    let hint = format!("choose another address with --listen, or find the process with: ss -ltnp 'sport = :{port}'");
    let listener = listener.map_err(|error| format!("cannot listen on {address}: {error}; {hint}"))?;
    set_options(&listener).map_err(|error| format!("cannot set the options of the listening socket: {error}"))?;
    Ok(listener)
}

/// Starts a thread that frees stuck connections. In a burst, tiny_http counts on one idle thread for
/// several connections: all but one are stuck until another connection opens or closes. So this
/// thread opens a throwaway connection for each new one.
///
/// It counts connections at intervals, and at once after a message on the returned channel.
pub fn start_waker(address: SocketAddr, stopping: Arc<AtomicBool>) -> io::Result<SyncSender<()>> {
    let (sender, requests) = sync_channel(1);
    let scan = move || {
        let (mut open, mut wakes, mut is_busy) = (0, 0, true);
        while !stopping.load(Ordering::Acquire) {
            let before = std::mem::replace(&mut open, connection_count());
            // Wake-ups can be stuck as well, so two thirds of them are repeated until none is left.
            wakes = open.saturating_sub(before) + wakes * 2 / 3;
            let _ = (0..wakes).try_for_each(|_| wake_acceptor(&address));
            if is_busy || wakes > 0 {
                thread::sleep(SCAN_INTERVAL);
            }
            is_busy = wakes == 0 && requests.recv_timeout(IDLE_SCAN_INTERVAL).is_ok();
        }
    };
    thread::Builder::new().name("waker".into()).spawn(scan)?;
    Ok(sender)
}

/// Opens and resets a connection, so that the accept loop runs once.
pub fn wake_acceptor(address: &SocketAddr) -> io::Result<()> {
    let stream = TcpStream::connect_timeout(address, WAKE_TIMEOUT)?;
    // A reset leaves no TIME_WAIT behind. Thousands of them would use up the local ports.
    Ok(socket::setsockopt(&stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 })?)
}

/// Closes the connections to these clients and returns how many were open. A connection that reuses
/// a file descriptor at this very moment can be closed by mistake.
pub fn shut_down(clients: &HashSet<SocketAddr>) -> u64 {
    if clients.is_empty() {
        return 0;
    }
    let clients: HashSet<SockaddrStorage> = clients.iter().map(|client| (*client).into()).collect();
    let is_theirs = |fd: &RawFd| socket::getpeername(*fd).is_ok_and(|client| clients.contains(&client));
    // On a closed socket even an empty send fails.
    let is_open = |fd: &RawFd| socket::send(*fd, &[], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL).is_ok();
    let open = file_descriptors().filter(is_theirs).filter(is_open);
    open.filter(|fd| socket::shutdown(*fd, Shutdown::Both).is_ok()).count() as u64
}

/// Ends the input of all connections, after what has already arrived. Threads of idle connections
/// end, and take the connections that are stuck.
pub fn end_input() {
    let is_connected = |fd: &RawFd| socket::getpeername::<SockaddrStorage>(*fd).is_ok();
    file_descriptors().filter(is_connected).for_each(|fd| socket::shutdown(fd, Shutdown::Read).unwrap_or_default());
}

/// Returns the number of connections plus a constant: tiny_http keeps two file descriptors for each.
fn connection_count() -> usize {
    file_descriptors().count() / 2
}

fn file_descriptors() -> impl Iterator<Item = RawFd> {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // std asks for a queue of 128. The kernel drops what exceeds it, and the client waits a second.
    socket::listen(&listener, Backlog::MAXALLOWABLE)?;
    Ok(listener)
}

/// Sets the options that accepted connections inherit.
fn set_options(listener: &TcpListener) -> io::Result<()> {
    // Otherwise larger responses stall for 40 ms (Nagle's algorithm with delayed ACKs).
    socket::setsockopt(listener, sockopt::TcpNoDelay, &true)?;
    socket::setsockopt(listener, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)?;
    socket::setsockopt(listener, sockopt::SndBuf, &SEND_BUFFER_BYTES)?;
    socket::setsockopt(listener, sockopt::SendTimeout, &SEND_TIMEOUT)?;
    // Also applies to `accept`. tiny_http's accept loop exits on a timeout, but the probe prevents one.
    socket::setsockopt(listener, sockopt::ReceiveTimeout, &TimeVal::new(IDLE_TIMEOUT.as_secs() as _, 0))?;
    // A drained predecessor leaves the shared socket non-blocking.
    listener.set_nonblocking(false)
}
