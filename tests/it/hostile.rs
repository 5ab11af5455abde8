//! Clients that misbehave, by their effect on one that does not: it is served before, while and after they are there, and
//! the process lives. `ONLY="head" cargo test hostile` tries the kinds so named.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::resource::{getrlimit, setrlimit, Resource};

use crate::attack::Attack::{self, Churn, Drip, Flood, Hold};
use crate::http::Client;
use crate::service::{status, Service};

/// What a polite client may wait longer than a client of an idle service beside it, on the same busy machine.
const BAR: Duration = Duration::from_secs(1);
const STAY: Duration = Duration::from_secs(2);

const GET: &str = "GET / HTTP/1.1\r\n\r\n";
const LOAD: &str = "GET /simulate-load?duration_ms=10000 HTTP/1.1\r\n\r\n";
const BEHIND_LOAD: &str = "GET /simulate-load?duration_ms=10000 HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\n";
const BODY: &str = "POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n";

/// What they do, how many of them there are, and how.
const KINDS: [(&str, usize, Attack); 21] = [
    ("silent", 1000, Hold("")),
    ("idle after an answer", 1000, Hold(GET)),
    ("a head byte by byte", 500, Drip("GET /")),
    ("a body byte by byte", 500, Drip(BODY)),
    ("a body that never comes", 1000, Hold(BODY)),
    ("a body of 1 TB", 500, Hold("POST / HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n")),
    ("a chunk that never ends", 500, Hold("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\na")),
    ("Expect", 1000, Hold("POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")),
    ("a TE of no numbers", 500, Hold("GET / HTTP/1.1\r\nTE: a;q=1,a;q=2,a;q=nan,a;q=nan,a;q=5,a;q=nan\r\n\r\n")),
    ("an upgrade", 500, Hold("GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")),
    ("HTTP/2", 500, Hold("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
    ("TLS", 500, Hold("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03")),
    ("rubbish", 500, Hold("\0\r\n\r\n\u{ff}: ?\r\n\r\n")),
    ("resets", 200, Churn("GET / HTTP/1.1\r\n")),
    ("300 loads", 300, Hold(LOAD)),
    ("fast behind slow", 200, Hold(BEHIND_LOAD)),
    ("pipelining behind slow", 16, Flood { first: LOAD, then: GET, reads: false }),
    ("pipelining, unread", 16, Flood { first: "", then: GET, reads: false }),
    ("pipelining, read", 16, Flood { first: "", then: GET, reads: true }),
    ("pipelining /metrics, unread", 16, Flood { first: "", then: "GET /metrics HTTP/1.1\r\n\r\n", reads: false }),
    (
        "a body without end",
        100,
        Flood { first: "PUT / HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n", then: "a", reads: false },
    ),
];

#[test]
fn hostile_clients_keep_nobody_waiting() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut failed = Vec::new();
    for (name, connections, attack) in KINDS.into_iter().filter(|(name, ..)| name.contains(&only)) {
        let (mut service, control) = (Service::start(), Service::start());
        let (mut worst, mut worst_of_control) = (Duration::ZERO, Duration::ZERO);
        let mut call = || {
            worst = ["/health", "/metrics", "/"]
                .map(|target| time(service.address, target))
                .into_iter()
                .fold(worst, Duration::max);
            worst_of_control = time(control.address, "/health").max(worst_of_control);
        };
        call();
        let (running, start) = (attack.start(service.address, connections), Instant::now());
        while start.elapsed() < STAY {
            call();
        }
        drop(running);
        call();
        println!(
            "{name:<28} {connections:>4}: {worst:?}, beside them {worst_of_control:?}, peak {} MB",
            status(service.id(), "VmHWM:").unwrap_or(0) >> 10
        );
        if worst > BAR + worst_of_control || service.has_ended() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// How long one request takes, on a connection of its own; for ever where it is not answered.
fn time(address: SocketAddr, target: &str) -> Duration {
    let start = Instant::now();
    let mut client = Client::connect(address);
    client.try_send("GET", target);
    let status = client.try_reply("GET").map(|reply| reply.status);
    if status == Some(200) {
        start.elapsed()
    } else {
        Duration::MAX
    }
}
