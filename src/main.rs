//! metrics-service: a small HTTP service with Prometheus metrics.
//!
//! `main` maps `run` to an exit code and says once what went wrong.

#![deny(unsafe_code)]

mod answer;
mod body;
mod census;
mod cli;
mod clients;
mod drain;
mod exchange;
mod listener;
mod load;
mod log;
mod memory;
mod metrics;
mod notify;
mod pool;
mod probe;
mod routes;
mod server;
mod sockets;
mod work;
mod worker;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use cli::Command;
use server::{Shutdown, Stop};
use sockets::Sockets;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => print!("{}", cli::HELP),
        Ok(Command::Version) => println!("metrics-service {}", env!("CARGO_PKG_VERSION")),
        Ok(Command::Serve(address)) => {
            if let Err(problem) = run(address) {
                log::error(&problem);
                return ExitCode::from(1);
            }
        }
        Err(problem) => {
            eprintln!("error: {problem}\n  remedy: see metrics-service --help");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Serves until a signal comes; the error is a sentence for the user.
fn run(address: std::net::SocketAddr) -> Result<(), String> {
    // Before there are threads, and connections that need descriptors.
    let sockets = Sockets::open().map_err(|error| format!("cannot list descriptors in /proc: {error}"))?;
    memory::keep_little().map_err(|error| format!("cannot start: {error}"))?;
    let shutdown = Shutdown::new();
    let stop = shutdown.trigger();
    log::report_panics(move || drop(stop.send(Stop::Deaf("no descriptor is left".to_string()))));
    stop_on_signals(&shutdown)?;
    let listener = listener::from_systemd_or_bind(address)?;
    server::run(listener, sockets, shutdown)
}

/// SIGTERM, SIGINT and SIGHUP ask for an orderly stop; a second one ends the process at once.
fn stop_on_signals(shutdown: &Shutdown) -> Result<(), String> {
    let (asked, stop) = (AtomicBool::new(false), shutdown.trigger());
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
        let _ = stop.send(Stop::Asked);
    })
    .map_err(|error| format!("cannot handle signals: {error}"))
}
