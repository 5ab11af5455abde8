//! metrics-service: a small HTTP service with Prometheus metrics.
//!
//! tiny_http accepts connections and parses requests, on threads of its own. `worker` takes the requests one by one, makes
//! an `exchange` of each, and answers it or, where that takes time, gives it to a thread of `blocking`. `routes` says what is
//! asked and answered, `load` simulates work, `metrics` counts, and `watchdog` sees that all this lives. systemd does the rest:
//! it holds the port (`sockets`), keeps what is said (`log`), limits what the process may take, and starts it again.

#![forbid(unsafe_code)]

mod blocking;
mod cli;
mod exchange;
mod load;
mod log;
mod metrics;
mod routes;
mod sockets;
mod watchdog;
mod worker;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use sd_notify::NotifyState;
use tiny_http::Server;
use watchdog::Probe;
use worker::Worker;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os().skip(1)).map(run) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(problem)) => {
            log::error(&problem);
            ExitCode::from(1)
        }
        Err(code) => code,
    }
}

/// Serves until a signal comes, then answers what is in flight. The error is a sentence for the user.
fn run(address: SocketAddr) -> Result<(), String> {
    log::install_panic_hook();
    let listener = sockets::listen(address)?;
    let address = listener.local_addr().map_err(cannot_start)?;
    let accepting = listener.try_clone().map_err(cannot_start)?;
    let server = Arc::new(Server::from_listener(accepting, None).map_err(cannot_start)?);
    let stopping = Arc::new(AtomicBool::new(false));
    stop_on_signals(server.clone(), stopping.clone())?;
    let probe = Probe::start(address, stopping.clone()).map_err(cannot_start)?;
    log::info(&format!("listening on http://{address}"));
    // What does not arrive is missed, and said, by systemd itself.
    let _ = sd_notify::notify(false, &[NotifyState::Ready]);

    let worker = Worker::new(server, probe);
    worker.work(&stopping);

    let _ = sd_notify::notify(false, &[NotifyState::Stopping]);
    worker.drain(&listener);
    log::info("stopped");
    Ok(())
}

/// SIGTERM, SIGINT and SIGHUP ask for an orderly stop; one that comes during a stop ends the process at once.
fn stop_on_signals(server: Arc<Server>, stopping: Arc<AtomicBool>) -> Result<(), String> {
    let on_signal = move || {
        if stopping.swap(true, Ordering::AcqRel) {
            std::process::exit(1);
        }
        server.unblock();
    };
    ctrlc::set_handler(on_signal).map_err(|error| format!("cannot handle signals: {error}"))
}

fn cannot_start(error: impl std::fmt::Display) -> String {
    format!("cannot start: {error}")
}
