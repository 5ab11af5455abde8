//! What is known of each client that has sent a request, by the address of its end of the connection.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A client.
#[derive(Clone, Copy)]
pub struct Client {
    /// How many requests it has sent.
    pub requests: u64,
    /// When its last request came, or the pool's last answer went.
    pub heard: Instant,
    /// How many of its requests have been taken in this turn.
    pub waiting: usize,
    turn: u64,
    /// How many of its requests the pool has.
    pub in_pool: usize,
    /// It is being cut, or has gone: whatever it has sent is discarded.
    pub is_cut: bool,
}

impl Client {
    fn new(heard: Instant) -> Client {
        Client { requests: 0, heard, waiting: 0, turn: 0, in_pool: 0, is_cut: false }
    }
}

/// Memory for this many is there from the start: who makes more waits for it, and all wait for him.
pub const ROOM: usize = 1024;

/// Addresses to fill that room with once: only what has been written to is there.
pub fn dummies() -> impl Iterator<Item = SocketAddr> {
    (0..ROOM as u16).map(|port| ([0, 0, 0, 0], port).into())
}

/// All of them.
pub struct Clients(Mutex<HashMap<SocketAddr, Client>>);

impl Clients {
    /// Without any.
    pub fn new() -> Clients {
        let now = Instant::now();
        let mut clients: HashMap<_, _> = dummies().map(|peer| (peer, Client::new(now))).collect();
        clients.clear();
        Clients(Mutex::new(clients))
    }

    /// Notes a request that is taken in this turn: what is known of its client.
    pub fn hear(&self, peer: SocketAddr, turn: u64) -> Client {
        let heard = Instant::now();
        let mut clients = self.lock();
        let client = clients.entry(peer).or_insert(Client::new(heard));
        client.requests += 1;
        client.heard = heard;
        client.waiting = if client.turn == turn { client.waiting + 1 } else { 1 };
        client.turn = turn;
        *client
    }

    /// What is known of a client, if it has been heard.
    pub fn get(&self, peer: &SocketAddr) -> Option<Client> {
        self.lock().get(peer).copied()
    }

    /// The pool has got a request of this client.
    pub fn enter_pool(&self, peer: &SocketAddr) {
        if let Some(client) = self.lock().get_mut(peer) {
            client.in_pool += 1;
        }
    }

    /// The pool has answered a request of this client.
    pub fn leave_pool(&self, peer: &SocketAddr) {
        if let Some(client) = self.lock().get_mut(peer) {
            client.in_pool = client.in_pool.saturating_sub(1);
            client.heard = Instant::now();
        }
    }

    /// This client is to be cut; false when that is known already, or it has gone.
    pub fn mark_cut(&self, peer: &SocketAddr) -> bool {
        self.lock().get_mut(peer).is_some_and(|client| !std::mem::replace(&mut client.is_cut, true))
    }

    /// Forgets those that are not connected, unless they were heard after `then`. Where the pool has a request of one, he
    /// is cut first: what he has sent behind it must not be taken for somebody's who waits.
    pub fn keep(&self, connected: &HashSet<SocketAddr>, then: Instant) {
        self.lock().retain(|peer, client| {
            let is_gone = !connected.contains(peer) && client.heard < then;
            client.is_cut |= is_gone;
            !is_gone || client.in_pool > 0
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Client>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
