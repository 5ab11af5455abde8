//! The service as a child process that does not outlive its test.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{kill, Signal};
use nix::sys::socket::{self, Backlog};
use nix::unistd::Pid;

use crate::http::{Client, Reply, PATIENCE};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_metrics-service");

/// A running service.
pub struct Service {
    pub address: SocketAddr,
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Service {
    /// On a free port.
    pub fn start() -> Service {
        let mut command = Command::new(PROGRAM);
        command.args(["--listen", "127.0.0.1:0"]);
        Service::spawn(command)
    }

    /// On a listener of the test's, as its descriptor 0, as systemd does it.
    pub fn inherit(listener: &TcpListener) -> Service {
        Service::spawn(inheriting(Command::new(PROGRAM), listener))
    }

    /// As the command says; returns when the service has named its address.
    pub fn spawn(mut command: Command) -> Service {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on http://").map(|rest| rest.trim_end().parse());
        let Some(Ok(address)) = address else {
            let _ = child.kill();
            panic!("the service said {line:?}");
        };
        Service { address, child, stderr }
    }

    /// One request on a connection of its own.
    pub fn call(&self, method: &str, target: &str) -> Reply {
        Client::connect(self.address).call(method, target)
    }

    /// The value of a series in `/metrics`, such as `name` or `name{label="value"}`.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.call("GET", "/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
    }

    /// Waits until a series has this value.
    pub fn wait_for(&self, series: &str, value: f64) {
        wait_until(series, || self.metric(series) == value);
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits for the end: how it ended, and what it has said since its start.
    pub fn end(mut self) -> (ExitStatus, String) {
        wait_until("the end of the service", || self.child.try_wait().unwrap().is_some());
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap(), said)
    }

    /// SIGTERM, and an end as it should be.
    pub fn stop(self) {
        self.signal(Signal::SIGTERM);
        let (status, said) = self.end();
        assert_eq!((status.code(), said.as_str()), (Some(0), "stopped\n"));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A listener on a free port, with a queue as long as the unit's: the service's own connections take places in it, too.
pub fn listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    socket::listen(&listener, Backlog::MAXALLOWABLE).unwrap();
    listener
}

/// The command with the listener as its descriptor 0.
pub fn inheriting(mut command: Command, listener: &TcpListener) -> Command {
    command.stdin(OwnedFd::from(listener.try_clone().unwrap()));
    command
}

/// Waits until the condition holds, and fails when it never does.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A number of a process's that the kernel gives, such as `VmRSS:` in KiB. None when there is no such process any more.
pub fn status(process: u32, name: &str) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// A path for a file of this test's, not there yet, short enough for a socket.
pub fn fresh_path(name: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("metrics-service-{}-{name}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}
