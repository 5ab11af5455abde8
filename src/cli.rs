//! The command line. Parsed by hand: one option needs no library.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};

/// What `--help` prints.
pub const HELP: &str = "\
Serves /, /health, /simulate-load and /metrics over HTTP.

Usage: metrics-service [--listen ADDR:PORT]

  --listen ADDR:PORT  where to listen [default: 127.0.0.1:8000]; port 0 takes a free one.
                      Not used when systemd hands over a socket on descriptor 0.
  --help              print this
  --version           print the version

Exit status: 0 after an orderly stop (SIGTERM, SIGINT, SIGHUP), 1 after a failure, 2 for wrong arguments.
";

/// What the user asks for.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Print the help.
    Help,
    /// Print the version.
    Version,
    /// Serve, on this address unless systemd hands over a socket.
    Serve(SocketAddr),
}

/// Reads the arguments, without the program's name. The error is a sentence for the user.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8000));
    let mut args = args.map(|arg| arg.to_string_lossy().into_owned());
    while let Some(arg) = args.next() {
        let value = match arg.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--version" | "-V" => return Ok(Command::Version),
            "--listen" => args.next().ok_or("--listen needs an address, such as 127.0.0.1:8000")?,
            _ => match arg.strip_prefix("--listen=") {
                Some(value) => value.to_string(),
                None => return Err(format!("unknown argument {arg:?}")),
            },
        };
        address = value.parse().map_err(|_| {
            format!("--listen needs an IP address and a port, such as 127.0.0.1:8000 or [::1]:8000, not {value:?}")
        })?;
    }
    Ok(Command::Serve(address))
}
