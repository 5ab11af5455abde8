//! What tiny_http has received, taken as a whole.
//!
//! tiny_http parses ahead into a queue without a bound. Taken one by one, requests of a client that sends faster than it
//! is answered would pile up there, in front of everybody else's.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;

use tiny_http::{Request, Server};

/// How many requests of one client may wait: as many as pipelining clients send ahead at most.
const MOST_WAITING: usize = 16;
/// How many requests are taken at a time: enough for each of a hundred floods to show among the others.
const MOST_TAKEN: usize = 16_384;

/// Waits for requests and takes all that are there. The error is that of an accept loop that has ended, or of a server
/// that was told to unblock; some requests may have come before it.
pub fn take(server: &Server, requests: &mut Vec<Request>) -> io::Result<()> {
    requests.push(server.recv()?);
    while requests.len() < MOST_TAKEN {
        match server.try_recv()? {
            Some(request) => requests.push(request),
            None => break,
        }
    }
    Ok(())
}

/// Clients with more requests than may wait.
pub fn floods(requests: &[Request]) -> HashSet<SocketAddr> {
    let mut waiting = HashMap::new();
    if requests.len() > MOST_WAITING {
        for peer in requests.iter().filter_map(Request::remote_addr) {
            *waiting.entry(*peer).or_insert(0) += 1;
        }
    }
    waiting.into_iter().filter(|(_, count)| *count > MOST_WAITING).map(|(peer, _)| peer).collect()
}
