//! As systemd starts it: the socket on descriptor 0, notifications, the watchdog, the journal.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::sys::socket::{getsockopt, sockopt};

use crate::http::{Client, PATIENCE};
use crate::service::{fresh_path, inheriting, listener, wait_until, Service, PROGRAM};

#[test]
fn a_listening_socket_on_descriptor_0_is_used() {
    let listener = listener();
    let mut command = inheriting(Command::new(PROGRAM), &listener);
    command.args(["--listen", "127.0.0.1:1"]);
    let service = Service::spawn(command);
    assert_eq!(service.address, listener.local_addr().unwrap());
    assert_eq!(service.call("GET", "/health").status, 200);
    service.stop();
}

#[test]
fn a_socket_that_a_drained_process_left_non_blocking_is_used() {
    let listener = listener();
    listener.set_nonblocking(true).unwrap();
    let service = Service::inherit(&listener);
    assert_eq!(service.call("GET", "/health").status, 200);
    service.stop();
}

#[test]
fn connections_inherit_that_they_do_not_wait_to_fill_packets() {
    let listener = listener();
    let _service = Service::inherit(&listener);
    assert!(getsockopt(&listener, sockopt::TcpNoDelay).unwrap());
}

#[test]
fn who_connects_before_the_start_is_answered_after_it() {
    let listener = listener();
    let mut early = Client::connect(listener.local_addr().unwrap());
    early.send("GET", "/health");
    let _service = Service::inherit(&listener);
    assert_eq!(early.try_reply("GET").unwrap().status, 200);
}

#[test]
fn systemd_hears_of_start_life_and_stop() {
    let path = fresh_path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = || {
        let mut message = [0; 256];
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };

    // The shell knows the process that it becomes: systemd names it so too.
    let mut command = Command::new("sh");
    command.args(["-c", r#"WATCHDOG_PID=$$ exec "$0""#, PROGRAM]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "3000000");
    let service = Service::spawn(inheriting(command, &listener()));
    // The first request to itself and the word that it is ready go their ways side by side.
    let mut first = [hear(), hear()];
    first.sort();
    assert_eq!(first, ["READY=1\n", "WATCHDOG=1\n"]);
    assert_eq!(hear(), "WATCHDOG=1\n");
    // The requests behind these count nowhere.
    let text = service.call("GET", "/metrics").body;
    for line in text.lines().filter(|line| line.starts_with("http_") || line.starts_with("active_")) {
        assert!(line.ends_with(" 0"), "{line}");
    }

    service.stop();
    wait_until("STOPPING=1", || hear() == "STOPPING=1\n");
    fs::remove_file(path).unwrap();
}

#[test]
fn a_broken_listener_ends_the_process_for_systemd_to_start_it_again() {
    let listener = listener();
    let service = Service::inherit(&listener);
    let mut client = Client::connect(service.address);
    assert_eq!(client.call("GET", "/health").status, 200);
    // The next accept fails, as it does without free descriptors.
    listener.set_nonblocking(true).unwrap();
    let _ = std::net::TcpStream::connect(service.address);
    let (status, said) = service.end();
    assert_eq!(status.code(), Some(1));
    assert!(said.starts_with("error: cannot accept connections: "), "{said}");
}

#[test]
fn who_has_no_descriptor_left_ends_for_systemd_to_start_it_again() {
    // A connection takes two: one of these limits leaves one for the last.
    for limit in [300, 301] {
        let listener = listener();
        let mut command = Command::new("sh");
        command.args(["-c", r#"ulimit -n "$1"; exec "$0""#, PROGRAM, &limit.to_string()]);
        let service = Service::spawn(inheriting(command, &listener));
        let _silent: Vec<Client> = (0..200).map(|_| Client::connect(service.address)).collect();
        let (status, said) = service.end();
        assert_eq!(status.code(), Some(1));
        assert!(said.starts_with("error: cannot accept connections: "), "{said}");
    }
}

#[test]
fn who_does_not_answer_itself_says_so() {
    let listener = listener();
    let mut command = Command::new("sh");
    command.args(["-c", r#"WATCHDOG_PID=$$ exec "$0""#, PROGRAM]).env("WATCHDOG_USEC", "600000");
    let service = Service::spawn(inheriting(command, &listener));
    // Many take its connections away, and answer none of them.
    for _ in 0..64 {
        let listener = listener.try_clone().unwrap();
        std::thread::spawn(move || listener.incoming().map(std::mem::forget).count());
    }
    std::thread::sleep(PATIENCE / 30);
    service.signal(Signal::SIGKILL);
    let (_, said) = service.end();
    assert!(said.contains("warning: health probe failed: "), "{said}");
}

#[test]
fn lines_have_a_priority_in_the_journal_only() {
    let path = fresh_path("journal");
    let journal = File::create(&path).unwrap();
    let meta = journal.metadata().unwrap();
    let lines = |stream: String| {
        journal.set_len(0).unwrap();
        // Fails at once: the address is in use.
        let taken = listener();
        let status = Command::new(PROGRAM)
            .args(["--listen", &taken.local_addr().unwrap().to_string()])
            .env("JOURNAL_STREAM", stream)
            .stderr(File::options().append(true).open(&path).unwrap())
            .status();
        assert_eq!(status.unwrap().code(), Some(1));
        fs::read_to_string(&path).unwrap()
    };
    let said = lines(format!("{}:{}", meta.dev(), meta.ino()));
    assert!(said.starts_with("<3>cannot listen on "), "{said}");
    let said = lines(format!("{}:{}", meta.dev(), meta.ino() + 1));
    assert!(said.starts_with("error: cannot listen on "), "{said}");
    fs::remove_file(path).unwrap();
}
