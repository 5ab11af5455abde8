//! The listening socket, with the limits that its connections inherit, and the connections as the kernel lists them:
//! tiny_http has no limits of its own, and lets nobody at its sockets.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, RawFd};
use std::time::Duration;
use std::{fs, io};

use nix::libc::linger;
use nix::sys::socket::{self, sockopt, Backlog, MsgFlags, Shutdown, SockaddrStorage};
use nix::sys::time::TimeVal;

/// How long a connection may be silent: longer than Alloy's 15 s between two scrapes, so that it keeps its own.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// How much of a flood is parsed at a time; the kernel doubles it, and a head has room in that.
const RECEIVE_BUFFER_BYTES: usize = 4 << 10;
/// Room for answers that a client has not read yet: four times the largest, `/metrics`.
const SEND_BUFFER_BYTES: usize = 128 << 10;
/// How long an answer waits where there is no room: the kernel's least, as everybody waits with it.
const SEND_TIMEOUT: TimeVal = TimeVal::new(0, 1000);
/// A connection to oneself takes microseconds; longer means that the queue of the listener is full.
const WAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// Takes the socket on descriptor 0 (`StandardInput=socket`) when it listens, binds `address` otherwise.
///
/// The environment is not asked: systemd sets `LISTEN_FDS` only for descriptors from 3 on, and nobody but a service
/// manager starts a program with a listening socket as its standard input. The error is a sentence for the user.
pub fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    let stdin = io::stdin();
    let listener = match socket::getsockopt(&stdin.as_fd(), sockopt::AcceptConn) {
        Ok(true) => stdin.as_fd().try_clone_to_owned().map(TcpListener::from),
        _ => bind(address),
    };
    let listener = listener.map_err(|error| cannot_listen(address, &error))?;
    prepare(&listener).map_err(|error| format!("cannot set the options of the listening socket: {error}"))?;
    Ok(listener)
}

/// Connects to this listener of ours and hangs up, which makes its accept loop go round once.
pub fn wake_acceptor(address: &SocketAddr) -> io::Result<()> {
    let stream = TcpStream::connect_timeout(address, WAKE_TIMEOUT)?;
    // Closed by a reset, it leaves no TIME_WAIT behind: thousands of them would use up the local ports.
    Ok(socket::setsockopt(&stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 })?)
}

/// How many connections there are, and a constant: tiny_http keeps two descriptors for each.
pub fn connection_count() -> usize {
    descriptors().count() / 2
}

/// Ends the connections to these clients: how many had not been before. One that takes the number of another at this very
/// moment ends in its place.
pub fn shut_down(clients: &HashSet<SocketAddr>) -> usize {
    let clients: HashSet<SockaddrStorage> = clients.iter().map(|client| (*client).into()).collect();
    let is_theirs = |fd: &RawFd| socket::getpeername(*fd).is_ok_and(|client| clients.contains(&client));
    // Once it has ended, not even nothing can be sent.
    let is_open = |fd: &RawFd| socket::send(*fd, &[], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL).is_ok();
    let open = descriptors().filter(is_theirs).filter(is_open);
    open.filter(|fd| socket::shutdown(*fd, Shutdown::Both).is_ok()).count()
}

fn descriptors() -> impl Iterator<Item = RawFd> {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // std asks for a queue of 128, in which a burst of connections is dropped and waits a second to try again.
    socket::listen(&listener, Backlog::MAXALLOWABLE)?;
    Ok(listener)
}

/// Sets what connections inherit.
fn prepare(listener: &TcpListener) -> io::Result<()> {
    // Without it, answers above the write buffer stall 40 ms (Nagle with delayed ACK).
    socket::setsockopt(listener, sockopt::TcpNoDelay, &true)?;
    socket::setsockopt(listener, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)?;
    socket::setsockopt(listener, sockopt::SndBuf, &SEND_BUFFER_BYTES)?;
    socket::setsockopt(listener, sockopt::SendTimeout, &SEND_TIMEOUT)?;
    // `accept` obeys it, too, and tiny_http's accept loop ends when it fails: the probe connects more often than that.
    socket::setsockopt(listener, sockopt::ReceiveTimeout, &TimeVal::new(IDLE_TIMEOUT.as_secs() as _, 0))?;
    // A predecessor that drained has left the shared socket non-blocking.
    listener.set_nonblocking(false)
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("; see who has the port with: ss -ltnp 'sport = :{port}', or choose another one with --listen")
        }
        io::ErrorKind::PermissionDenied => "; choose a port from 1024 on with --listen".to_string(),
        io::ErrorKind::AddrNotAvailable => "; see this host's addresses with: ip address".to_string(),
        _ => String::new(),
    };
    format!("cannot listen on {address}: {error}{remedy}")
}
