//! The service as a child process, killed when its test ends.

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

use crate::http::{Client, Reply, TIMEOUT};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_metrics-service");

/// A running service.
pub struct Service {
    pub address: SocketAddr,
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Service {
    /// Starts it on a free port.
    pub fn start() -> Service {
        let mut command = Command::new(PROGRAM);
        command.args(["--listen", "127.0.0.1:0"]);
        Service::spawn(command)
    }

    /// Starts it with this listener on fd 0, as systemd does.
    pub fn inherit(listener: &TcpListener) -> Service {
        Service::spawn(with_listener(Command::new(PROGRAM), listener))
    }

    /// Starts the command. Returns once the service has printed its address.
    pub fn spawn(mut command: Command) -> Service {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on http://").map(|rest| rest.trim_end().parse());
        let Some(Ok(address)) = address else {
            let _ = child.kill();
            panic!("unexpected output: {line:?}");
        };
        Service { address, child, stderr }
    }

    /// Sends one request on a new connection.
    pub fn call(&self, method: &str, target: &str) -> Reply {
        Client::connect(self.address).call(method, target)
    }

    /// Returns the value of a series in `/metrics`, such as `name` or `name{label="value"}`.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.call("GET", "/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
    }

    /// Waits until a series has this value.
    pub fn wait_for(&self, series: &str, value: f64) {
        wait_until(series, || self.metric(series) == value);
    }

    /// Returns the process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process has exited.
    pub fn has_exited(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits for the exit. Returns the status, and stderr after the first line.
    pub fn wait_for_exit(mut self) -> (ExitStatus, String) {
        wait_until("the service to exit", || self.child.try_wait().unwrap().is_some());
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap(), stderr)
    }

    /// Sends SIGTERM and expects a graceful shutdown.
    pub fn stop(self) {
        self.signal(Signal::SIGTERM);
        let (status, stderr) = self.wait_for_exit();
        assert_eq!((status.code(), stderr.as_str()), (Some(0), "stopped\n"));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Listens on a free port, with a long queue, as the unit does.
pub fn listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    socket::listen(&listener, Backlog::MAXALLOWABLE).unwrap();
    listener
}

/// Passes the listener to the command as fd 0.
pub fn with_listener(mut command: Command, listener: &TcpListener) -> Command {
    command.stdin(OwnedFd::from(listener.try_clone().unwrap()));
    command
}

/// Waits until the condition is true. Panics after `TIMEOUT`.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < TIMEOUT, "timed out waiting for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Returns a number from /proc/PID/status, such as `VmRSS:` in KiB. None if the process has ended.
pub fn status(process: u32, name: &str) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// Returns an unused path, short enough for a socket.
pub fn fresh_path(name: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("metrics-service-{}-{name}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}
