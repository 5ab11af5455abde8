//! Graceful shutdown.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::attack::Attack;
use crate::http::Client;
use crate::service::{listener, status, wait_until, Service};

#[test]
fn requests_in_flight_are_finished() {
    let started = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].map(|signal| {
        let service = Service::start();
        let mut client = Client::connect(service.address);
        client.send("GET", "/simulate-load?duration_ms=5000");
        service.wait_for("active_connections", 1.0);
        service.signal(signal);
        (signal, service, client)
    });
    for (signal, service, mut client) in started {
        assert_eq!(client.try_reply("GET").unwrap().status, 200, "{signal}");
        let (status, stderr) = service.wait_for_exit();
        assert_eq!((status.code(), stderr.as_str()), (Some(0), "stopped\n"), "{signal}");
    }
}

#[test]
fn open_connections_can_send_a_request() {
    let is_answered = || {
        let service = Service::start();
        let mut client = Client::connect(service.address);
        service.signal(Signal::SIGTERM);
        thread::sleep(Duration::from_millis(50));
        client.try_send("GET", "/health");
        client.try_reply("GET").is_some()
    };
    // On a busy machine the request can be too late, but not every time.
    assert!((0..10).any(|_| is_answered()));
}

#[test]
fn a_second_signal_exits_at_once() {
    let service = Service::start();
    Client::connect(service.address).send("GET", "/simulate-load?duration_ms=10000");
    service.wait_for("active_connections", 1.0);
    service.signal(Signal::SIGINT);
    // Two pending signals merge into one, so this repeats until the second is handled.
    wait_until("the listener to close", || {
        service.signal(Signal::SIGINT);
        TcpStream::connect(service.address).is_err()
    });
    let (status, stderr) = service.wait_for_exit();
    assert_eq!((status.code(), stderr.as_str()), (Some(1), ""));
}

#[test]
fn a_busy_client_does_not_delay_the_exit() {
    let service = Service::start();
    let mut client = Client::connect(service.address);
    assert_eq!(client.call("GET", "/health").status, 200);
    let client_thread = thread::spawn(move || loop {
        client.try_send("GET", "/health");
        if client.try_reply("GET").is_none() {
            return;
        }
    });
    // A drain that times out would print a warning.
    service.stop();
    client_thread.join().unwrap();
}

#[test]
fn the_drain_has_a_timeout() {
    let service = Service::start();
    let mut first = Client::connect(service.address);
    let mut second = Client::connect(service.address);
    assert_eq!(second.call("GET", "/health").status, 200);
    first.send("GET", "/simulate-load?duration_ms=10000");
    service.wait_for("active_connections", 1.0);
    service.signal(Signal::SIGTERM);
    // Late enough to end after the drain timeout of 12 s.
    thread::sleep(Duration::from_secs(4));
    second.send("GET", "/simulate-load?duration_ms=10000");
    assert_eq!(first.try_reply("GET").unwrap().status, 200);
    let (status, stderr) = service.wait_for_exit();
    assert_eq!(status.code(), Some(0));
    assert_eq!(stderr, "warning: drain timed out after 12 s with requests unanswered\nstopped\n");
    assert!(second.try_reply("GET").is_none());
}

#[test]
fn restarts_on_one_listener_lose_no_request() {
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let (answered, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (answered, done) = (answered.clone(), done.clone());
            thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(Client::connect(address).call("GET", "/health").status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..6 {
        let service = Service::inherit(&listener);
        let before = answered.load(Ordering::Relaxed);
        wait_until("responses of this process", || answered.load(Ordering::Relaxed) >= before + 200);
        service.stop();
    }
    let last = Service::inherit(&listener);
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("a request failed");
    }
    last.stop();
}

#[test]
fn a_burst_just_before_a_restart_loses_no_request() {
    let listener = listener();
    for _ in 0..5 {
        let service = Service::inherit(&listener);
        // More than tiny_http has idle threads. None of them closes.
        let mut clients: Vec<Client> = (0..64).map(|_| Client::connect(service.address)).collect();
        clients.iter_mut().for_each(|client| client.send("GET", "/health"));
        service.stop();
        let _next = Service::inherit(&listener);
        for client in &mut clients {
            assert_eq!(client.try_reply("GET").map(|reply| reply.status), Some(200));
        }
    }
}

#[test]
fn a_failed_response_behind_a_slow_one_closes_the_connection() {
    let service = Service::start();
    let mut client = Client::connect(service.address);
    client.send("GET", "/simulate-load?duration_ms=100");
    // Their responses exceed the send buffer, and nobody reads them.
    client.write(&"GET /metrics HTTP/1.1\r\n\r\n".repeat(15));
    service.wait_for("metrics_service_connections_aborted_total", 1.0);
}

#[test]
fn floods_are_disconnected_during_the_drain() {
    let service = Service::start();
    let attack = Attack::Flood { first: "", then: "GET / HTTP/1.1\r\n\r\n", reads: false };
    // The signal arrives before the service has closed them.
    let _running = attack.start(service.address, 8);
    service.signal(Signal::SIGTERM);
    let mut peak = 0;
    while let Some(now) = status(service.id(), "VmHWM:") {
        peak = now;
        thread::sleep(Duration::from_millis(1));
    }
    assert!(peak < 256 << 10, "peak memory: {peak} KiB");
    let (status, stderr) = service.wait_for_exit();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), "stopped\n"));
}
