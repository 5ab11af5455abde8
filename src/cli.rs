//! The command line, parsed by hand: one option needs no library.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};

const HELP: &str = "\
Serves /, /health, /simulate-load and /metrics over HTTP.

Usage: metrics-service [--listen ADDR:PORT]

  --listen ADDR:PORT  address to listen on [default: 127.0.0.1:8000]; port 0 picks a free port.
                      Ignored if systemd passes a socket on fd 0.
  --help              print this help
  --version           print the version

Exit status: 0 after a graceful shutdown (SIGTERM, SIGINT, SIGHUP), 1 on failure, 2 on usage errors.
";
const VERSION: &str = concat!("metrics-service ", env!("CARGO_PKG_VERSION"), "\n");

/// What the arguments ask for.
pub enum Command {
    Serve(SocketAddr),
    Print(&'static str),
}

/// Parses the arguments after the program name. The error is meant to be shown to the user.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8000));
    let mut args = args.map(|arg| arg.to_string_lossy().into_owned());
    while let Some(arg) = args.next() {
        let value = match arg.as_str() {
            "--help" | "-h" => return Ok(Command::Print(HELP)),
            "--version" | "-V" => return Ok(Command::Print(VERSION)),
            "--listen" => args.next().ok_or("--listen needs an address, such as 127.0.0.1:8000")?,
            _ => arg.strip_prefix("--listen=").ok_or_else(|| format!("unknown argument {arg:?}"))?.to_string(),
        };
        let expected = "an IP address and a port, such as 127.0.0.1:8000 or [::1]:8000";
        address = value.parse().map_err(|_| format!("--listen needs {expected}, not {value:?}"))?;
    }
    Ok(Command::Serve(address))
}
