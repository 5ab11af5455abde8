//! Connections: kept, closed, cut, many at once.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::socket::{self, sockopt, AddressFamily, SockFlag, SockType, SockaddrStorage};

use crate::attack::Attack;
use crate::http::Client;
use crate::service::{status, wait_until, Service};

#[test]
fn a_connection_serves_many_requests() {
    let service = Service::start();
    let mut client = Client::connect(service.address);
    for _ in 0..100 {
        for target in ["/", "/health", "/metrics", "/simulate-load?duration_ms=0", "/nope"] {
            client.call("GET", target);
            client.call("HEAD", target);
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let service = Service::start();
    let mut client = Client::connect(service.address);
    client.send("GET", "/simulate-load?duration_ms=100");
    client.send("GET", "/health");
    assert!(client.try_reply("GET").unwrap().body.contains("duration_ms"));
    assert_eq!(client.try_reply("GET").unwrap().body, r#"{"status":"ok"}"#);
}

#[test]
fn a_connection_closes_when_the_client_asks_for_it() {
    let service = Service::start();
    for head in ["GET /health HTTP/1.1\r\nConnection: close\r\n\r\n", "GET /health HTTP/1.0\r\n\r\n"] {
        let mut client = Client::connect(service.address);
        client.write(head);
        let all = client.rest();
        assert!(all.contains(" 200 OK\r\n") && all.ends_with(r#"{"status":"ok"}"#), "{all}");
    }
}

#[test]
fn sixty_four_kept_connections_are_all_answered() {
    let service = Service::start();
    let mut clients: Vec<Client> = (0..64).map(|_| Client::connect(service.address)).collect();
    for _ in 0..5 {
        for client in &mut clients {
            client.send("GET", "/health");
        }
        for client in &mut clients {
            assert_eq!(client.try_reply("GET").unwrap().status, 200);
        }
    }
}

#[test]
fn a_burst_waits_in_the_queue_of_the_listener() {
    let service = Service::start();
    // Nothing is accepted now: what the kernel does not queue is not connected.
    service.signal(Signal::SIGSTOP);
    let mut clients: Vec<Client> = (0..300).map(|_| Client::connect(service.address)).collect();
    service.signal(Signal::SIGCONT);
    for client in &mut clients {
        assert_eq!(client.call("GET", "/health").status, 200);
    }
}

#[test]
fn who_does_not_read_is_cut() {
    let service = Service::start();
    let mut client = Client::connect(service.address);
    // As many as may wait: more than the buffers hold, and no flood.
    for _ in 0..16 {
        client.send("GET", "/metrics");
    }
    service.wait_for(r#"metrics_service_connections_cut_total{reason="unread"}"#, 1.0);
}

#[test]
fn what_heads_without_end_took_is_given_back() {
    let service = Service::start();
    let attack = Attack::Flood { first: "GET / HTTP/1.1\r\n".into(), then: "a: b\r\n".into(), reads: false };
    // One after the other, and no other client: its requests would have the heaps tidied.
    for _ in 0..5 {
        let running = attack.start(service.address, 1);
        thread::sleep(Duration::from_millis(500));
        drop(running);
    }
    let resident_kib = || status(service.id(), "VmRSS:").expect("a service that has not ended");
    wait_until("the memory", || resident_kib() < 20 << 10);
}

#[test]
fn who_comes_again_from_the_same_port_is_looked_at() {
    let service = Service::start();
    let come_again = |_| {
        let mut flood = connect_from("127.0.0.1:0".parse().unwrap(), service.address);
        let own = flood.local_addr().unwrap();
        // Now and then one is answered instead.
        flood.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        flood.write_all("GET / HTTP/1.1\r\n\r\n".repeat(40).as_bytes()).unwrap();
        let _ = flood.read_to_end(&mut Vec::new());
        drop(flood);
        // So that the service has closed its descriptors, and gets the same ones before it looks again.
        thread::sleep(Duration::from_millis(25));
        let again = connect_from(own, service.address);
        again.set_nonblocking(true).unwrap();
        again
    };
    let all: Vec<TcpStream> = (0..200).map(come_again).collect();
    let is_open = |stream: &&TcpStream| stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    let mut who_asks = Client::connect(service.address);
    wait_until("all to be counted", || {
        let open = format!("\nmetrics_service_open_connections {}\n", 1 + all.iter().filter(is_open).count());
        who_asks.call("GET", "/metrics").body.contains(&open)
    });
}

#[test]
fn a_large_body_is_answered_and_ends_the_connection() {
    let service = Service::start();
    // At the second, with numbers that are none, tiny_http would panic twice.
    let te = ["a;q=1,a;q=2", &",a;q=nan".repeat(10), &",a;q=5".repeat(12)].concat();
    for (header, answer) in [("X: y", "HTTP/1.1 405 "), (&format!("TE: {te}"), "")] {
        let mut client = Client::connect(service.address);
        client.write(&format!("POST / HTTP/1.1\r\nContent-Length: 2000000\r\n{header}\r\n\r\n"));
        let all = client.rest();
        assert!(all.starts_with(answer), "{all}");
    }
    assert_eq!(service.call("GET", "/health").status, 200);
    service.wait_for("metrics_service_leaked_connections", 2.0);
}

#[test]
fn who_gets_the_port_of_one_that_was_cut_is_answered() {
    let service = Service::start();
    let mut flood = connect_from("127.0.0.1:0".parse().unwrap(), service.address);
    let own = flood.local_addr().unwrap();
    flood.write_all(b"GET /simulate-load?duration_ms=10000 HTTP/1.1\r\n\r\n").unwrap();
    // One that ends before the other's would, and after all of this.
    let mut reference = Client::connect(service.address);
    reference.send("GET", "/simulate-load?duration_ms=5000");
    service.wait_for("active_connections", 2.0);
    flood.write_all("GET / HTTP/1.1\r\n\r\n".repeat(1000).as_bytes()).unwrap();
    let _ = flood.read_to_end(&mut Vec::new());
    drop(flood);
    service.wait_for("active_connections", 1.0);
    // Until the next census has forgotten it.
    thread::sleep(Duration::from_millis(200));
    let mut polite = connect_from(own, service.address);
    polite.write_all(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    polite.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// A connection from this address of ours.
fn connect_from(own: SocketAddr, to: SocketAddr) -> TcpStream {
    let socket = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    socket::setsockopt(&socket, sockopt::ReuseAddr, &true).unwrap();
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(own)).unwrap();
    socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(to)).unwrap();
    socket.into()
}
