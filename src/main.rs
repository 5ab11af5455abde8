//! metrics-service: a small HTTP service with Prometheus metrics.
//!
//! tiny_http accepts connections and queues their requests. The one `worker` thread wraps each
//! request in an `exchange` and sends the response, or passes it to a `blocking` thread if it is
//! slow. `routes` maps requests to responses, `load` simulates work, and `metrics` counts. `sockets`
//! sets the limits that tiny_http lacks, `watchdog` probes the service, and `log` writes to the
//! journal. systemd holds the port across restarts, limits resources, and restarts the service.

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

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use cli::Command;
use sd_notify::NotifyState;
use tiny_http::Server;
use worker::Worker;

fn main() -> ExitCode {
    let address = match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Serve(address)) => address,
        Ok(Command::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("error: {error}\n  hint: see metrics-service --help");
            return ExitCode::from(2);
        }
    };
    let Err(error) = serve(address) else { return ExitCode::SUCCESS };
    log::error(&error.to_string());
    ExitCode::FAILURE
}

/// Serves until a signal arrives, then finishes the requests in flight.
fn serve(address: SocketAddr) -> Result<(), Box<dyn Error + Send + Sync>> {
    log::install_panic_hook();
    let listener = sockets::listen(address)?;
    let address = listener.local_addr()?;
    let accepting = listener.try_clone()?;
    let server = Arc::new(Server::from_listener(accepting, None)?);
    let stopping = Arc::new(AtomicBool::new(false));
    stop_on_signals(server.clone(), stopping.clone())?;
    let waker = sockets::start_waker(address, stopping.clone())?;
    let probe_url = watchdog::start(address, stopping.clone())?;
    log::info(&format!("listening on http://{address}"));
    // Without systemd nobody receives this, which is fine.
    let _ = sd_notify::notify(false, &[NotifyState::Ready]);

    let worker = Worker::new(server, waker, probe_url);
    worker.run(&stopping);

    let _ = sd_notify::notify(false, &[NotifyState::Stopping]);
    worker.drain(&listener);
    log::info("stopped");
    Ok(())
}

/// Sets `stopping` on SIGTERM, SIGINT or SIGHUP. A second signal exits at once.
fn stop_on_signals(server: Arc<Server>, stopping: Arc<AtomicBool>) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || {
        if stopping.swap(true, Ordering::AcqRel) {
            std::process::exit(1);
        }
        server.unblock();
    })
}
