//! The command line. Parsed by hand: one option needs no library.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

const HELP: &str = "\
Serves /, /health, /simulate-load and /metrics over HTTP.

Usage: metrics-service [--listen ADDR:PORT]

  --listen ADDR:PORT  where to listen [default: 127.0.0.1:8000]; port 0 takes a free one.
                      Not used when systemd hands over a socket on descriptor 0.
  --help              print this
  --version           print the version

Exit status: 0 after an orderly stop (SIGTERM, SIGINT, SIGHUP), 1 after a failure, 2 for wrong arguments.
";

/// Where to listen, from the arguments without the program's name; or how to exit, where all that is asked for was said.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<SocketAddr, ExitCode> {
    let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8000));
    let mut args = args.map(|arg| arg.to_string_lossy().into_owned());
    while let Some(arg) = args.next() {
        let value = match (arg.as_str(), arg.strip_prefix("--listen=")) {
            ("--help" | "-h", _) => return Err(say(HELP)),
            ("--version" | "-V", _) => return Err(say(concat!("metrics-service ", env!("CARGO_PKG_VERSION"), "\n"))),
            ("--listen", _) => {
                args.next().ok_or_else(|| refuse("--listen needs an address, such as 127.0.0.1:8000"))?
            }
            (_, Some(value)) => value.to_string(),
            _ => return Err(refuse(&format!("unknown argument {arg:?}"))),
        };
        let needs = "--listen needs an IP address and a port, such as 127.0.0.1:8000 or [::1]:8000";
        address = value.parse().map_err(|_| refuse(&format!("{needs}, not {value:?}")))?;
    }
    Ok(address)
}

fn say(text: &str) -> ExitCode {
    print!("{text}");
    ExitCode::SUCCESS
}

fn refuse(problem: &str) -> ExitCode {
    eprintln!("error: {problem}\n  remedy: see metrics-service --help");
    ExitCode::from(2)
}
