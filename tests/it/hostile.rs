//! Hostile clients, measured by how long a polite client waits before, during and after each attack.
//! `ONLY="head" cargo test hostile` runs the attacks with this word in their name.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::resource::{getrlimit, setrlimit, Resource};

use crate::attack::Attack::{self, Churn, Drip, Flood, Hold};
use crate::http::Client;
use crate::service::{status, Service};

/// How much longer the polite client can wait than a client of an idle service on the same machine.
const MAX_DELAY: Duration = Duration::from_secs(1);
/// How long an attack runs.
const ATTACK_TIME: Duration = Duration::from_secs(2);

const GET: &str = "GET / HTTP/1.1\r\n\r\n";
const LOAD: &str = "GET /simulate-load?duration_ms=10000 HTTP/1.1\r\n\r\n";
const BEHIND_LOAD: &str = "GET /simulate-load?duration_ms=10000 HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\n";
const BODY: &str = "POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n";

/// Name, connections, attack.
const ATTACKS: [(&str, usize, Attack); 21] = [
    ("silent", 1000, Hold("")),
    ("idle after a response", 1000, Hold(GET)),
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
    ("garbage", 500, Hold("\0\r\n\r\n\u{ff}: ?\r\n\r\n")),
    ("resets", 200, Churn("GET / HTTP/1.1\r\n")),
    ("300 loads", 300, Hold(LOAD)),
    ("fast behind slow", 200, Hold(BEHIND_LOAD)),
    ("pipelining behind slow", 16, Flood { first: LOAD, then: GET, reads: false }),
    ("pipelining, unread", 16, Flood { first: "", then: GET, reads: false }),
    ("pipelining, read", 16, Flood { first: "", then: GET, reads: true }),
    ("pipelining /metrics, unread", 16, Flood { first: "", then: "GET /metrics HTTP/1.1\r\n\r\n", reads: false }),
    (
        "an endless body",
        100,
        Flood { first: "PUT / HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n", then: "a", reads: false },
    ),
];

#[test]
fn hostile_clients_do_not_delay_others() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut failed = Vec::new();
    for (name, connections, attack) in ATTACKS.into_iter().filter(|(name, ..)| name.contains(&only)) {
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
        while start.elapsed() < ATTACK_TIME {
            call();
        }
        drop(running);
        call();
        println!(
            "{name:<28} {connections:>4}: {worst:?}, idle service {worst_of_control:?}, peak {} MB",
            status(service.id(), "VmHWM:").unwrap_or(0) >> 10
        );
        if worst > MAX_DELAY + worst_of_control || service.has_exited() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// Times one request on a connection of its own. `Duration::MAX` if it fails.
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
