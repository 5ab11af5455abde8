//! Hostile clients by the hundred, each kind at a service of its own, with a polite client beside them.
//!
//! The polite client is answered before, while and after they are there; a long load outlives the attack; and while the
//! quiet ones are still there, the service gets its threads, descriptors and memory back. `ONLY="head" cargo test hostile`
//! tries the cases so named.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::resource::{getrlimit, setrlimit, Resource};

use crate::attack::Attack;
use crate::http::Client;
use crate::service::{listener, status, Service};

/// What a polite client may wait longer than a client of an idle service beside it, on the same busy machine.
const BAR: Duration = Duration::from_secs(1);
/// How long the clients that keep the CPU busy stay.
const BUSY: Duration = Duration::from_secs(3);
/// How many quiet ones at a time, and between their starts, so that their clients' connecting does not add up.
const AT_A_TIME: usize = 4;
const APART: Duration = Duration::from_secs(1);
/// How long it may take until threads, descriptors and memory are back.
const RECOVERY: Duration = Duration::from_secs(30);
/// What the service may have more than at its start then, beside its leaks: tiny_http keeps a thread for each connection
/// of the last five seconds, and the test's own are among them.
const SLACK: usize = 64;
const MEMORY_KIB: usize = 32 << 10;
/// What it may take for a moment: a hundred busy threads take hundreds of megabytes before the first of them is cut.
const PEAK_KIB: usize = 1 << 20;
const LEAK_BUDGET: usize = 1000;
const LOAD: &str = "GET /simulate-load?duration_ms=10000 HTTP/1.1\r\n\r\n";
const HEALTH: &str = "GET /health HTTP/1.1\r\n\r\n";

struct Case {
    name: &'static str,
    connections: usize,
    attack: Attack,
    /// Whether the polite client must be served in time; otherwise the service need only live.
    polite: bool,
    /// Whether the service may have itself started anew.
    restarts: bool,
}

fn case(name: &'static str, connections: usize, attack: Attack) -> Case {
    Case { name, connections, attack, polite: true, restarts: false }
}

fn hold(bytes: &str) -> Attack {
    Attack::Hold(bytes.to_string())
}

fn drip(bytes: &str) -> Attack {
    Attack::Drip { first: bytes.to_string(), then: "x".to_string() }
}

fn flood(first: &str, then: &str, reads: bool) -> Attack {
    Attack::Flood { first: first.to_string(), then: then.to_string(), reads }
}

/// Whether the case is among those asked for.
fn is_wanted(case: &Case) -> bool {
    std::env::var("ONLY").map_or(true, |only| case.name.contains(&only))
}

/// The two tests take turns: one's clients would keep the other's polite one waiting.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn quiet_clients() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let terabyte = hold("POST / HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n");
    let cases = [
        case("silent", 1000, hold("")),
        case("idle after an answer", 1000, hold(HEALTH)),
        case("a head byte by byte", 200, drip("GET /")),
        case("a small body byte by byte", 200, drip("GET / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")),
        case("a body byte by byte", 200, drip("POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n")),
        case("a body that never comes", 1000, hold("POST / HTTP/1.1\r\nContent-Length: 5000\r\n\r\n")),
        case("Expect", 1000, hold("POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")),
        case("a body of 1 TB", 200, terabyte.clone()),
        Case { restarts: true, ..case("more of 1 TB than may leak", 1100, terabyte) },
        case(
            "headers without end, bit by bit",
            200,
            Attack::Drip { first: "GET / HTTP/1.1\r\n".to_string(), then: "a: b\r\n".repeat(1000) },
        ),
        case("HTTP/2.0", 200, hold("PRI * HTTP/2.0\r\n\r\n")),
        case("fast behind slow", 200, hold(&[LOAD, HEALTH].concat())),
        case(
            "1 TB behind slow",
            100,
            hold(&[LOAD, "PUT / HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n"].concat()),
        ),
        case("a body behind slow", 200, hold(&[LOAD, "PUT / HTTP/1.1\r\nContent-Length: 5000\r\n\r\n"].concat())),
    ];
    let mut cases = cases.into_iter().filter(is_wanted).peekable();
    let mut failed = 0;
    while cases.peek().is_some() {
        let start = |case| {
            thread::sleep(APART);
            thread::spawn(move || hold_out(case))
        };
        let running: Vec<_> = cases.by_ref().take(AT_A_TIME).map(start).collect();
        failed += running.into_iter().filter_map(|case| case.join().err()).count();
    }
    assert_eq!(failed, 0, "cases failed");
}

#[test]
fn clients_that_keep_the_cpu_busy() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let pipelining = flood("", "GET / HTTP/1.1\r\n\r\n", false);
    let cases = [
        case("pipelining, unread", 4, pipelining.clone()),
        case("pipelining, read", 16, flood("", "GET / HTTP/1.1\r\n\r\n", true)),
        case("pipelining /metrics, unread", 16, flood("", "GET /metrics HTTP/1.1\r\n\r\n", false)),
        case("pipelining behind slow", 16, flood(LOAD, HEALTH, false)),
        Case { restarts: true, ..case("pipelining by 100", 100, pipelining.clone()) },
        case("a request line without end", 200, flood("GET /", "a", false)),
        case("headers without end", 200, flood("GET / HTTP/1.1\r\n", "a: b\r\n", false)),
        case("headers without end behind slow", 16, flood(&[LOAD, "GET / HTTP/1.1\r\n"].concat(), "a: b\r\n", false)),
        case("a body without end", 200, flood("PUT / HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n", "a", false)),
        case("resets", 200, Attack::Churn("GET / HTTP/1.1\r\n".to_string())),
        Case { polite: false, restarts: true, ..case("pipelining by 1,000", 1000, pipelining) },
    ];
    // One after the other: two of them keep each other's polite clients waiting.
    let cases = cases.into_iter().filter(is_wanted);
    let failed = cases.filter_map(|case| thread::spawn(move || hold_out(case)).join().err()).count();
    assert_eq!(failed, 0, "cases failed");
}

/// Attacks a service, and looks at what the others get of it.
fn hold_out(case: Case) {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();

    let (service, control) = (Supervised::start(), Service::start());
    let before = service.footprint().unwrap();
    let is_busy = matches!(case.attack, Attack::Flood { .. } | Attack::Churn(_));
    let mut load = Client::connect(service.address);
    load.send("GET", &format!("/simulate-load?duration_ms={}", if is_busy { 4000 } else { 10_000 }));
    service.wait_for_load();

    let done = Arc::new(AtomicBool::new(false));
    let mut polite = Polite::new(service.address, control.address, case.polite);
    polite.call();
    let calls = thread::spawn({
        let done = done.clone();
        move || {
            while !done.load(Ordering::Relaxed) {
                polite.call();
                thread::sleep(Duration::from_millis(10));
            }
            polite
        }
    });
    let mut attack = Some(case.attack.start(service.address, case.connections));
    if is_busy {
        thread::sleep(BUSY);
        attack = None;
    }
    let loaded = load.try_reply("GET").map(|reply| reply.status);
    done.store(true, Ordering::Relaxed);
    let mut polite = calls.join().unwrap();

    let start = Instant::now();
    let is_back = |now: &Footprint| {
        now.threads <= before.threads + now.leaked + SLACK
            && now.descriptors <= before.descriptors + 2 * now.leaked + SLACK
            && now.memory_kib <= before.memory_kib + MEMORY_KIB
            && now.leaked <= LEAK_BUDGET
    };
    // Now and then from here on: each connection wakes the next of tiny_http's threads, and who is woken stays.
    let after = loop {
        polite.call();
        match service.footprint() {
            Some(now) if is_back(&now) || start.elapsed() > RECOVERY => break now,
            _ => thread::sleep(Duration::from_millis(500)),
        }
    };
    let took = start.elapsed().as_secs_f64();
    drop(attack);
    polite.call();
    let restarts = service.stop();
    println!(
        "{:<28} {:>4}: {polite:?}; {restarts} restarts; {took:.1} s later {after:?}, before {before:?}",
        case.name, case.connections
    );
    assert!(loaded == Some(200) || !case.polite, "{}: the load ended with {loaded:?}", case.name);
    assert!(!case.polite || polite.worst <= BAR + polite.worst_of_control, "{}: a polite client waited", case.name);
    assert!(restarts == 0 || case.restarts, "{}: the service ended", case.name);
    assert!(is_back(&after), "{}: not all came back", case.name);
    assert!(after.peak_kib <= PEAK_KIB, "{}: took too much memory", case.name);
}

/// A client that calls again and again, each time on a new connection, and what it has seen.
#[derive(Debug)]
struct Polite {
    service: SocketAddr,
    /// An idle service beside it.
    control: SocketAddr,
    /// Whether each call must be answered.
    must: bool,
    calls: usize,
    worst: Duration,
    worst_of_control: Duration,
}

impl Polite {
    fn new(service: SocketAddr, control: SocketAddr, must: bool) -> Polite {
        Polite { service, control, must, calls: 0, worst: Duration::ZERO, worst_of_control: Duration::ZERO }
    }

    fn call(&mut self) {
        for target in ["/health", "/metrics", "/"] {
            self.worst = self.worst.max(self.time(self.service, target));
            self.calls += 1;
        }
        self.worst_of_control = self.worst_of_control.max(self.time(self.control, "/health"));
    }

    fn time(&self, address: SocketAddr, target: &str) -> Duration {
        let start = Instant::now();
        let mut client = Client::connect(address);
        client.try_send("GET", target);
        let status = client.try_reply("GET").map(|reply| reply.status);
        assert!(status == Some(200) || !self.must, "{target}: {status:?} after {:?}", start.elapsed());
        start.elapsed()
    }
}

/// What a process has at a moment.
#[derive(Debug)]
struct Footprint {
    threads: usize,
    descriptors: usize,
    memory_kib: usize,
    peak_kib: usize,
    leaked: usize,
}

/// A service as systemd has it: the listener stays, and who has ended as planned is started anew.
struct Supervised {
    address: SocketAddr,
    process: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    restarts: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Supervised {
    fn start() -> Supervised {
        let listener = listener();
        let address = listener.local_addr().unwrap();
        let mut service = Service::inherit(&listener);
        let (process, stop, restarts) = <(Arc<AtomicU32>, Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        process.store(service.id(), Ordering::Release);
        let thread = thread::spawn({
            let (process, stop, restarts) = (process.clone(), stop.clone(), restarts.clone());
            move || {
                while !stop.load(Ordering::Acquire) {
                    if service.has_ended() {
                        let (status, said) = std::mem::replace(&mut service, Service::inherit(&listener)).end();
                        assert!(said.contains("does not let go of"), "{status}: {said}");
                        process.store(service.id(), Ordering::Release);
                        restarts.fetch_add(1, Ordering::AcqRel);
                    }
                    thread::sleep(Duration::from_millis(10));
                }
            }
        });
        Supervised { address, process, stop, restarts, thread }
    }

    /// Ends it: how often it was started anew.
    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("every end of the service is a planned one");
        self.restarts.load(Ordering::Acquire)
    }

    /// None while it is being started anew.
    fn footprint(&self) -> Option<Footprint> {
        let process = self.process.load(Ordering::Acquire);
        Some(Footprint {
            threads: status(process, "Threads:")?,
            descriptors: fs::read_dir(format!("/proc/{process}/fd")).ok()?.count(),
            memory_kib: status(process, "VmRSS:")?,
            peak_kib: status(process, "VmHWM:")?,
            leaked: self.metric("metrics_service_leaked_connections ")? as usize,
        })
    }

    fn metric(&self, name: &str) -> Option<f64> {
        let mut client = Client::connect(self.address);
        client.try_send("GET", "/metrics");
        client.try_reply("GET")?.body.lines().find_map(|line| line.strip_prefix(name)?.parse().ok())
    }

    fn wait_for_load(&self) {
        crate::service::wait_until("the load", || self.metric("active_connections ") == Some(1.0));
    }
}
