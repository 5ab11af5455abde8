//! Threads for what takes time: `/simulate-load`, a body that has not come yet, and what a client sends behind these. tiny_http
//! lets answers of one connection out in the order of its requests: whoever answers out of turn waits, and may only do so here.

use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use crate::exchange::Exchange;
use crate::log;
use crate::routes::{self, Work};

/// How much load is simulated at a time: with the default of 275 ms in the mean it bears a hundred requests a second.
const MOST_LOADS: usize = 32;
/// How many requests of one client may be here.
const MOST_OF_ONE: usize = 16;
/// To answer takes little of a stack.
const STACK_BYTES: usize = 64 << 10;

/// The requests that have a thread.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    by_client: HashMap<SocketAddr, usize>,
    loads: usize,
    /// Those that wait for no body, which may never come.
    sure_to_end: usize,
}

impl Lines {
    /// Whether as many of this client's requests are here as may.
    pub fn is_full(&self, client: &SocketAddr) -> bool {
        self.lock().by_client.get(client).is_some_and(|count| *count == MOST_OF_ONE)
    }

    /// Takes what takes time, and what is behind it. Returns what can be answered at once.
    pub fn take(&self, mut exchange: Exchange) -> Option<Exchange> {
        let mut counts = self.lock();
        if exchange.is_load() && counts.loads == MOST_LOADS {
            exchange.work = Work::Say(routes::busy());
        }
        if !exchange.is_load() && exchange.unread == 0 && !counts.by_client.contains_key(&exchange.client) {
            return Some(exchange);
        }
        let (client, load, sure) = (exchange.client, exchange.is_load() as usize, (exchange.unread == 0) as usize);
        *counts.by_client.entry(client).or_default() += 1;
        counts.loads += load;
        counts.sure_to_end += sure;
        drop(counts);

        let lines = self.clone();
        // Where there is no thread, the request must not be dropped: that would wait for its body.
        let exchange = ManuallyDrop::new(exchange);
        let answer = move || {
            ManuallyDrop::into_inner(exchange).finish();
            let mut counts = lines.lock();
            counts.by_client.entry(client).and_modify(|count| *count -= 1);
            counts.by_client.retain(|_, count| *count > 0);
            counts.loads -= load;
            counts.sure_to_end -= sure;
        };
        if let Err(error) = thread::Builder::new().name("line".into()).stack_size(STACK_BYTES).spawn(answer) {
            log::give_up(&format!("cannot start a thread: {error}"));
        }
        None
    }

    /// Whether all has been answered but what waits for a body.
    pub fn are_done(&self) -> bool {
        self.lock().sure_to_end == 0
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().expect("nobody panics while holding it")
    }
}
