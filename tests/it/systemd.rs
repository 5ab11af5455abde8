//! Integration with systemd: the socket on fd 0, notifications, the watchdog, the journal.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::sys::socket::{getsockopt, sockopt};

use crate::http::{Client, TIMEOUT};
use crate::service::{fresh_path, listener, wait_until, with_listener, Service, PROGRAM};

#[test]
fn a_listening_socket_on_fd_0_is_used() {
    let listener = listener();
    let mut command = with_listener(Command::new(PROGRAM), &listener);
    command.args(["--listen", "127.0.0.1:1"]);
    let service = Service::spawn(command);
    assert_eq!(service.address, listener.local_addr().unwrap());
    assert_eq!(service.call("GET", "/health").status, 200);
    service.stop();
}

#[test]
fn a_non_blocking_socket_of_a_predecessor_is_used() {
    let listener = listener();
    listener.set_nonblocking(true).unwrap();
    let service = Service::inherit(&listener);
    assert_eq!(service.call("GET", "/health").status, 200);
    service.stop();
}

#[test]
fn connections_inherit_tcp_nodelay() {
    let listener = listener();
    let _service = Service::inherit(&listener);
    assert!(getsockopt(&listener, sockopt::TcpNoDelay).unwrap());
}

#[test]
fn connections_before_startup_are_served() {
    let listener = listener();
    let mut early = Client::connect(listener.local_addr().unwrap());
    early.send("GET", "/health");
    let _service = Service::inherit(&listener);
    assert_eq!(early.try_reply("GET").unwrap().status, 200);
}

#[test]
fn systemd_is_notified_of_start_health_and_stop() {
    let path = fresh_path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let receive = || {
        let mut message = [0; 256];
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };

    // The service keeps the PID of the shell, which sets WATCHDOG_PID as systemd does.
    let mut command = Command::new("sh");
    command.args(["-c", r#"WATCHDOG_PID=$$ exec "$0""#, PROGRAM]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "3000000");
    let service = Service::spawn(with_listener(command, &listener()));
    // The first probe and READY run concurrently.
    let mut first = [receive(), receive()];
    first.sort();
    assert_eq!(first, ["READY=1\n", "WATCHDOG=1\n"]);
    assert_eq!(receive(), "WATCHDOG=1\n");
    // Probes are not counted.
    let text = service.call("GET", "/metrics").body;
    for line in text.lines().filter(|line| line.starts_with("http_") || line.starts_with("active_")) {
        assert!(line.ends_with(" 0"), "{line}");
    }

    service.stop();
    wait_until("STOPPING=1", || receive() == "STOPPING=1\n");
    fs::remove_file(path).unwrap();
}

#[test]
fn a_broken_listener_exits_for_a_restart() {
    let listener = listener();
    let service = Service::inherit(&listener);
    let mut client = Client::connect(service.address);
    assert_eq!(client.call("GET", "/health").status, 200);
    // The next accept fails, as it does without free file descriptors.
    listener.set_nonblocking(true).unwrap();
    let _ = std::net::TcpStream::connect(service.address);
    let (status, stderr) = service.wait_for_exit();
    assert_eq!(status.code(), Some(1));
    assert!(stderr.starts_with("error: cannot accept connections: "), "{stderr}");
}

#[test]
fn fd_exhaustion_exits_for_a_restart() {
    // A connection needs two, so one of these limits leaves a single one for the last connection.
    for limit in [300, 301] {
        let listener = listener();
        let mut command = Command::new("sh");
        command.args(["-c", r#"ulimit -n "$1"; exec "$0""#, PROGRAM, &limit.to_string()]);
        let service = Service::spawn(with_listener(command, &listener));
        let _silent: Vec<Client> = (0..200).map(|_| Client::connect(service.address)).collect();
        let (status, stderr) = service.wait_for_exit();
        assert_eq!(status.code(), Some(1));
        assert!(stderr.starts_with("error: cannot accept connections: "), "{stderr}");
    }
}

#[test]
fn a_failed_probe_is_logged() {
    let listener = listener();
    let mut command = Command::new("sh");
    command.args(["-c", r#"WATCHDOG_PID=$$ exec "$0""#, PROGRAM]).env("WATCHDOG_USEC", "600000");
    let service = Service::spawn(with_listener(command, &listener));
    // Other threads accept its connections and never respond.
    for _ in 0..64 {
        let listener = listener.try_clone().unwrap();
        std::thread::spawn(move || listener.incoming().map(std::mem::forget).count());
    }
    std::thread::sleep(TIMEOUT / 30);
    service.signal(Signal::SIGKILL);
    let (_, stderr) = service.wait_for_exit();
    assert!(stderr.contains("warning: health probe failed: "), "{stderr}");
}

#[test]
fn only_journal_lines_have_a_priority() {
    let path = fresh_path("journal");
    let journal = File::create(&path).unwrap();
    let meta = journal.metadata().unwrap();
    let lines = |stream: String| {
        journal.set_len(0).unwrap();
        // Exits at once, because the address is in use.
        let in_use = listener();
        let status = Command::new(PROGRAM)
            .args(["--listen", &in_use.local_addr().unwrap().to_string()])
            .env("JOURNAL_STREAM", stream)
            .stderr(File::options().append(true).open(&path).unwrap())
            .status();
        assert_eq!(status.unwrap().code(), Some(1));
        fs::read_to_string(&path).unwrap()
    };
    let stderr = lines(format!("{}:{}", meta.dev(), meta.ino()));
    assert!(stderr.starts_with("<3>cannot listen on "), "{stderr}");
    let stderr = lines(format!("{}:{}", meta.dev(), meta.ino() + 1));
    assert!(stderr.starts_with("error: cannot listen on "), "{stderr}");
    fs::remove_file(path).unwrap();
}
