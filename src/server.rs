//! The server's life: start the parts, say that it is ready, wait for the word to stop, drain.

use std::io;
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};

use rand::rngs::SmallRng;
use rand::SeedableRng;
use tiny_http::Server;

use crate::clients::Clients;
use crate::drain::{self, Phase};
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::probe::{self, Probe};
use crate::sockets::Sockets;
use crate::worker::{self, Shared, Turn};
use crate::{census, listener, log, notify};

/// Threads that answer what can be answered at once. One more than needed, as each may wait a millisecond for a client.
const WORKERS: usize = 2;
/// Threads for `/simulate-load`; with its default of 275 ms in the mean they bear a hundred requests a second.
const LOAD_THREADS: usize = 32;

/// Why the server stops.
pub enum Stop {
    /// Somebody asks for it.
    Asked,
    /// It can't go on; a sentence for the user says why.
    Broken(String),
    /// It can't go on as its accept loop has ended, for this reason.
    Deaf(String),
}

/// The way to tell the server to stop.
pub struct Shutdown {
    trigger: Sender<Stop>,
    wait: Receiver<Stop>,
}

impl Shutdown {
    /// One that nobody has triggered yet.
    pub fn new() -> Shutdown {
        let (trigger, wait) = mpsc::channel();
        Shutdown { trigger, wait }
    }

    /// What triggers it, from any thread.
    pub fn trigger(&self) -> Sender<Stop> {
        self.trigger.clone()
    }
}

/// Serves on `listener` until `shutdown`, then answers what is in flight. The error is a sentence for the user.
pub fn run(listener: TcpListener, sockets: Sockets, shutdown: Shutdown) -> Result<(), String> {
    let (shared, workers) = start(&listener, sockets, &shutdown).map_err(|error| format!("cannot start: {error}"))?;
    log::info(&format!("listening on http://{}", shared.server.server_addr()));
    notify::ready();

    let broken = match shutdown.wait.recv() {
        Ok(Stop::Broken(why)) => Some(why),
        Ok(Stop::Deaf(why)) => {
            shared.phase.accept_has_ended();
            Some(format!("cannot accept connections any more: {why}"))
        }
        Ok(Stop::Asked) | Err(_) => None,
    };

    notify::stopping();
    drain::drain(&listener, &shared, &workers);
    if let Some(why) = broken {
        return Err(format!("{why}; the service must be started again"));
    }
    log::info("stopped");
    Ok(())
}

fn start(
    listener: &TcpListener,
    sockets: Sockets,
    shutdown: &Shutdown,
) -> io::Result<(Arc<Shared>, Vec<JoinHandle<()>>)> {
    let address = listener::reachable_at(listener)?;
    let phase = Arc::new(Phase::default());
    let probe = Arc::new(Probe::new(address));
    let shared = Arc::new(Shared {
        address,
        server: Server::from_listener(listener.try_clone()?, None).map_err(io::Error::other)?,
        turn: Mutex::new(Turn { number: 0, random: SmallRng::from_os_rng() }),
        metrics: Arc::new(Metrics::new()),
        pool: Pool::start(LOAD_THREADS)?,
        clients: Clients::new(),
        census: OnceLock::new(),
        probe: probe.clone(),
        phase: phase.clone(),
        received: Default::default(),
        stop: shutdown.trigger(),
    });
    let census = census::start(shared.clone(), sockets)?;
    let _ = shared.census.set(census);
    let workers = (0..WORKERS)
        .map(|_| {
            let shared = shared.clone();
            thread::Builder::new().name("worker".into()).spawn(move || worker::work(&shared))
        })
        .collect::<io::Result<_>>()?;
    probe::start(probe, phase, shutdown.trigger())?;
    Ok((shared, workers))
}
