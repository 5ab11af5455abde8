//! Threads for requests that would block the worker: `/simulate-load`, bodies that have not arrived,
//! and what the same client sends after these. tiny_http sends the responses of a connection in the
//! order of its requests, so the response to a later request waits for the earlier ones.

use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use crate::exchange::Exchange;
use crate::log;
use crate::routes::{self, Work};

/// At the mean default duration of 275 ms, this serves 100 `/simulate-load` requests per second.
const MAX_LOADS: isize = 32;
/// Requests of one client on these threads.
const MAX_PER_CLIENT: isize = 16;
/// Sending a response needs little stack.
const STACK_BYTES: usize = 64 << 10;

/// The requests that are on a thread of their own. Clones share the counts.
#[derive(Clone, Default)]
pub struct Blocking(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    by_client: HashMap<SocketAddr, isize>,
    loads: isize,
    /// Requests that end for sure, because they do not wait for a body.
    bounded: isize,
}

/// The place of one request in the counts, freed on drop.
struct Place {
    blocking: Blocking,
    client: SocketAddr,
    loads: isize,
    bounded: isize,
}

impl Blocking {
    /// Whether this client has as many requests here as it is allowed to.
    pub fn is_at_limit(&self, client: &SocketAddr) -> bool {
        self.lock().by_client.get(client).is_some_and(|count| *count == MAX_PER_CLIENT)
    }

    /// Finishes the request on a thread if it is slow or behind a slow one. Otherwise returns it.
    pub fn spawn_if_slow(&self, mut exchange: Exchange) -> Option<Exchange> {
        if exchange.is_load() && self.lock().loads == MAX_LOADS {
            exchange.work = Work::Respond(routes::busy());
        }
        let is_slow = exchange.is_load() || exchange.unread > 0;
        if !is_slow && !self.lock().by_client.contains_key(&exchange.client) {
            return Some(exchange);
        }
        let (loads, bounded) = (exchange.is_load().into(), (exchange.unread == 0).into());
        let place = Place { blocking: self.clone(), client: exchange.client, loads, bounded };
        place.add(1);
        // If no thread starts, the request must not be dropped: that would block until its body arrives.
        let exchange = ManuallyDrop::new(exchange);
        let respond = move || {
            ManuallyDrop::into_inner(exchange).finish_or_close();
            drop(place);
        };
        if let Err(error) = thread::Builder::new().name("blocking".into()).stack_size(STACK_BYTES).spawn(respond) {
            log::fatal(&format!("cannot start a thread: {error}"));
        }
        None
    }

    /// Whether all requests have ended, except those that wait for a body.
    pub fn is_drained(&self) -> bool {
        self.lock().bounded == 0
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().expect("no thread panics while it holds the lock")
    }
}

impl Place {
    /// Adds this place to the counts, or with -1 removes it.
    fn add(&self, change: isize) {
        let mut counts = self.blocking.lock();
        *counts.by_client.entry(self.client).or_default() += change;
        counts.by_client.retain(|_, count| *count > 0);
        counts.loads += change * self.loads;
        counts.bounded += change * self.bounded;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.add(-1);
    }
}
