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
const MAX_LOADS: usize = 32;
/// How many requests of one client may be here.
const MAX_PER_CLIENT: usize = 16;
/// To answer takes little of a stack.
const STACK_BYTES: usize = 64 << 10;

/// The requests that have a thread.
#[derive(Clone, Default)]
pub struct Blocking(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    by_client: HashMap<SocketAddr, usize>,
    loads: usize,
    /// Those that wait for no body, which may never come.
    bounded: usize,
}

impl Blocking {
    /// Whether as many of this client's requests are here as may.
    pub fn is_at_limit(&self, client: &SocketAddr) -> bool {
        self.lock().by_client.get(client).is_some_and(|count| *count == MAX_PER_CLIENT)
    }

    /// Takes what takes time, and what is behind it. Returns what can be answered at once.
    pub fn spawn_if_slow(&self, mut exchange: Exchange) -> Option<Exchange> {
        let mut counts = self.lock();
        if exchange.is_load() && counts.loads == MAX_LOADS {
            exchange.work = Work::Respond(routes::busy());
        }
        if !exchange.is_load() && exchange.unread == 0 && !counts.by_client.contains_key(&exchange.client) {
            return Some(exchange);
        }
        let (client, load, bounded) = (exchange.client, exchange.is_load() as usize, (exchange.unread == 0) as usize);
        *counts.by_client.entry(client).or_default() += 1;
        counts.loads += load;
        counts.bounded += bounded;
        drop(counts);

        let blocking = self.clone();
        // Where there is no thread, the request must not be dropped: that would wait for its body.
        let exchange = ManuallyDrop::new(exchange);
        let respond = move || {
            ManuallyDrop::into_inner(exchange).finish();
            let mut counts = blocking.lock();
            counts.by_client.entry(client).and_modify(|count| *count -= 1);
            counts.by_client.retain(|_, count| *count > 0);
            counts.loads -= load;
            counts.bounded -= bounded;
        };
        if let Err(error) = thread::Builder::new().name("blocking".into()).stack_size(STACK_BYTES).spawn(respond) {
            log::fatal(&format!("cannot start a thread: {error}"));
        }
        None
    }

    /// Whether all has been answered but what waits for a body.
    pub fn is_drained(&self) -> bool {
        self.lock().bounded == 0
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().expect("nobody panics while holding it")
    }
}
