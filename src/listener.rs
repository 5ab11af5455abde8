//! The listening socket: handed over by systemd, or bound here, and its options.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::libc::linger;
use nix::sys::socket::{self, sockopt, Backlog};
use nix::sys::time::TimeVal;

/// A connection to oneself over loopback takes microseconds; longer means that the queue of the listener is full.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What tiny_http can parse ahead of a client that is cut; the kernel doubles it, and a head has room in that.
const RECEIVE_BYTES: usize = 4 << 10;
/// Room for answers that a client has not read yet: four times the largest, `/metrics`.
const SEND_BYTES: usize = 128 << 10;
/// How long a worker waits where there is no room: the kernel's least, as it waits in front of everybody.
const SEND_TIMEOUT: TimeVal = TimeVal::new(0, 1000);

/// Takes the socket on descriptor 0 (`StandardInput=socket`) when it listens, binds `address` otherwise.
///
/// The environment is not asked: systemd sets `LISTEN_FDS` only for descriptors from 3 on, and nobody but a service
/// manager starts a program with a listening socket as its standard input. The error is a sentence for the user.
pub fn from_systemd_or_bind(address: SocketAddr) -> Result<TcpListener, String> {
    let listener = match inherited() {
        Some(listener) => listener.map_err(|error| format!("cannot use the socket on descriptor 0: {error}"))?,
        None => bind(address).map_err(|error| cannot_listen(address, &error))?,
    };
    prepare(&listener).map_err(|error| format!("cannot set the options of the listening socket: {error}"))?;
    Ok(listener)
}

/// Where this process reaches its own listener: a wildcard address is answered on loopback.
pub fn reachable_at(listener: &TcpListener) -> io::Result<SocketAddr> {
    let mut address = listener.local_addr()?;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Ok(address)
}

/// Connects to `address` and hangs up, which makes an accept loop there go round once.
pub fn knock(address: &SocketAddr) {
    if let Ok(stream) = TcpStream::connect_timeout(address, CONNECT_TIMEOUT) {
        // Closed by a reset, it leaves no TIME_WAIT behind: thousands of them would use up the local ports.
        let reset = linger { l_onoff: 1, l_linger: 0 };
        let _ = socket::setsockopt(&stream, sockopt::Linger, &reset);
    }
}

fn inherited() -> Option<io::Result<TcpListener>> {
    let stdin = io::stdin();
    if !matches!(socket::getsockopt(&stdin.as_fd(), sockopt::AcceptConn), Ok(true)) {
        return None;
    }
    Some(stdin.as_fd().try_clone_to_owned().map(TcpListener::from))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // std asks for a queue of 128, in which a burst of connections is dropped and waits a second to try again.
    socket::listen(&listener, Backlog::MAXALLOWABLE)?;
    Ok(listener)
}

/// Sets what connections inherit, and what a predecessor may have left.
fn prepare(listener: &TcpListener) -> io::Result<()> {
    // Without it, answers above the write buffer stall 40 ms (Nagle with delayed ACK).
    socket::setsockopt(listener, sockopt::TcpNoDelay, &true)?;
    socket::setsockopt(listener, sockopt::RcvBuf, &RECEIVE_BYTES)?;
    socket::setsockopt(listener, sockopt::SndBuf, &SEND_BYTES)?;
    socket::setsockopt(listener, sockopt::SendTimeout, &SEND_TIMEOUT)?;
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
