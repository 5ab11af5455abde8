//! The orderly end.

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
fn what_is_in_flight_is_answered_before_the_end() {
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
        let (status, said) = service.end();
        assert_eq!((status.code(), said.as_str()), (Some(0), "stopped\n"), "{signal}");
    }
}

#[test]
fn who_has_connected_before_may_still_ask() {
    let answered = || {
        let service = Service::start();
        let mut client = Client::connect(service.address);
        service.signal(Signal::SIGTERM);
        thread::sleep(Duration::from_millis(50));
        client.try_send("GET", "/health");
        client.try_reply("GET").is_some()
    };
    // On a busy machine this test may come too late with its request, but not each time.
    assert!((0..10).any(|_| answered()));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let service = Service::start();
    Client::connect(service.address).send("GET", "/simulate-load?duration_ms=10000");
    service.wait_for("active_connections", 1.0);
    service.signal(Signal::SIGINT);
    // Two signals that come together may be one: the second must find the first handled.
    wait_until("the listener to close", || {
        service.signal(Signal::SIGINT);
        TcpStream::connect(service.address).is_err()
    });
    let (status, said) = service.end();
    assert_eq!((status.code(), said.as_str()), (Some(1), ""));
}

#[test]
fn a_client_that_never_rests_does_not_hold_up_the_end() {
    let service = Service::start();
    let mut client = Client::connect(service.address);
    assert_eq!(client.call("GET", "/health").status, 200);
    let asking = thread::spawn(move || loop {
        client.try_send("GET", "/health");
        if client.try_reply("GET").is_none() {
            return;
        }
    });
    // Held up to the bound of the drain, it would say so.
    service.stop();
    asking.join().unwrap();
}

#[test]
fn the_drain_has_a_bound() {
    let service = Service::start();
    let mut first = Client::connect(service.address);
    let mut second = Client::connect(service.address);
    assert_eq!(second.call("GET", "/health").status, 200);
    first.send("GET", "/simulate-load?duration_ms=10000");
    service.wait_for("active_connections", 1.0);
    service.signal(Signal::SIGTERM);
    // Late enough that its end lies beyond the bound of 12 s.
    thread::sleep(Duration::from_secs(4));
    second.send("GET", "/simulate-load?duration_ms=10000");
    assert_eq!(first.try_reply("GET").unwrap().status, 200);
    let (status, said) = service.end();
    assert_eq!(status.code(), Some(0));
    assert_eq!(said, "warning: drain timed out after 12 s with requests unanswered\nstopped\n");
    assert!(second.try_reply("GET").is_none());
}

#[test]
fn restarts_on_one_listener_fail_no_request() {
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
        wait_until("answers of this process", || answered.load(Ordering::Relaxed) >= before + 200);
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
fn floods_are_cut_until_the_end() {
    let service = Service::start();
    let attack = Attack::Flood { first: "", then: "GET / HTTP/1.1\r\n\r\n", reads: false };
    // Stopped before it has had the time to cut them.
    let _running = attack.start(service.address, 8);
    service.signal(Signal::SIGTERM);
    let mut peak = 0;
    while let Some(now) = status(service.id(), "VmHWM:") {
        peak = now;
        thread::sleep(Duration::from_millis(1));
    }
    assert!(peak < 256 << 10, "it took {peak} KiB");
    let (status, said) = service.end();
    assert_eq!((status.code(), said.as_str()), (Some(0), "stopped\n"));
}
