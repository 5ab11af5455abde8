//! The process's own connections, as the kernel lists them: tiny_http lets nobody at them.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{self, MsgFlags, Shutdown, SockaddrStorage};
use nix::sys::stat::Mode;

/// As many descriptors as fill the 32 KB that the C library reads a directory into.
const A_LOT: usize = 1400;

/// The process's list of descriptors, with memory for it that is there from the start.
///
/// Where the kernel finds a page missing that it has to write to, it waits for the lock of the whole address space: for
/// 0.8 s, as measured, beside two hundred threads that ask for page after page.
pub struct Sockets(Dir);

impl Sockets {
    /// Opens it. Fails where there is no `/proc`.
    pub fn open() -> io::Result<Sockets> {
        let mut list = Dir::open("/proc/self/fd", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        // Read once when it is long: that also has the kernel make its table of descriptors large, which takes it some
        // tens of milliseconds each time when there are threads.
        let _many: Vec<OwnedFd> = (0..A_LOT).map_while(|_| duplicate(list.as_raw_fd()).ok()).collect();
        let _ = list.iter().count();
        Ok(Sockets(list))
    }

    /// Every descriptor of a TCP connection, of which each has two, with the other side's address as long as that is
    /// there.
    pub fn all(&mut self) -> impl Iterator<Item = (RawFd, Option<SocketAddr>)> + '_ {
        self.0.iter().flatten().filter_map(|entry| {
            let fd = entry.file_name().to_str().ok()?.parse().ok()?;
            Some((fd, look(fd)?))
        })
    }
}

/// Ends the connection of this descriptor if it is still the one to `peer`: its thread reads no more, nothing is sent.
/// False when it is not, or there is no descriptor left to do it with.
pub fn cut(fd: RawFd, peer: SocketAddr) -> bool {
    // A duplicate stays what it is, while the number may become another connection's at any moment.
    let Ok(own) = duplicate(fd) else { return false };
    let is_it = look(own.as_raw_fd()) == Some(Some(peer));
    if is_it {
        // It fails where the client was faster.
        let _ = socket::shutdown(own.as_raw_fd(), Shutdown::Both);
    }
    is_it
}

/// Whether the connection of this descriptor has been cut: not even nothing can be sent.
pub fn is_cut(fd: RawFd) -> bool {
    socket::send(fd, &[], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL).is_err()
}

#[allow(unsafe_code)]
fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: it is borrowed for one call of the kernel, which fails if the descriptor is closed by then.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
}

/// How much of what the client has sent waits to be read, up to a KB.
pub fn unread(fd: RawFd) -> usize {
    socket::recv(fd, &mut [0; 1024], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT).unwrap_or(0)
}

fn look(fd: RawFd) -> Option<Option<SocketAddr>> {
    match socket::getpeername::<SockaddrStorage>(fd) {
        Ok(peer) => {
            let v4 = peer.as_sockaddr_in().map(|peer| SocketAddrV4::from(*peer).into());
            v4.or_else(|| peer.as_sockaddr_in6().map(|peer| SocketAddrV6::from(*peer).into())).map(Some)
        }
        // An ended connection has an end to read, behind what is still there; a listener has not.
        Err(Errno::ENOTCONN) => {
            let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
            socket::recv(fd, &mut [0], peek).is_ok().then_some(None)
        }
        Err(_) => None,
    }
}
