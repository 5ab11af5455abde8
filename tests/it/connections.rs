//! Connections: persistent, closed, aborted, many at once.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::linger;
use nix::sys::signal::Signal;
use nix::sys::socket::{self, sockopt, AddressFamily, SockFlag, SockType, SockaddrStorage};

use crate::http::Client;
use crate::service::Service;

const ABORTED: &str = "metrics_service_connections_aborted_total";

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
fn pipelined_responses_keep_their_order() {
    let service = Service::start();
    let mut client = Client::connect(service.address);
    client.send("GET", "/simulate-load?duration_ms=100");
    client.send("GET", "/health");
    assert!(client.try_reply("GET").unwrap().body.contains("duration_ms"));
    assert_eq!(client.try_reply("GET").unwrap().body, r#"{"status":"ok"}"#);
}

#[test]
fn a_connection_closes_if_the_client_asks() {
    let service = Service::start();
    for head in ["GET /health HTTP/1.1\r\nConnection: close\r\n\r\n", "GET /health HTTP/1.0\r\n\r\n"] {
        let mut client = Client::connect(service.address);
        client.write(head);
        let all = client.rest();
        assert!(all.contains(" 200 OK\r\n") && all.ends_with(r#"{"status":"ok"}"#), "{all}");
    }
}

#[test]
fn http_1_0_gets_keep_alive_confirmed_or_is_closed() {
    let service = Service::start();
    let start = Instant::now();
    for (asks, confirmed) in [
        ("", None),
        ("Connection: close\r\n", None),
        ("Connection: keep-alive, close\r\n", None),
        ("Connection: Keep-Alive\r\n", Some("keep-alive")),
        ("connection: TE, keep-alive\r\n", Some("keep-alive")),
    ] {
        for method in ["GET", "HEAD", "POST"] {
            for target in ["/", "/health", "/metrics", "/nope", "/simulate-load?duration_ms=0&error_rate=1"] {
                let mut client = Client::connect(service.address);
                client.write(&format!("{method} {target} HTTP/1.0\r\n{asks}\r\n"));
                let reply = client.try_reply(method).unwrap();
                assert_eq!(reply.header("connection"), confirmed, "{method} {target} {asks}");
                if confirmed.is_some() {
                    client.call("GET", "/health");
                } else {
                    assert_eq!(client.rest(), "", "{method} {target} {asks}");
                }
            }
        }
    }
    // Connections were closed after the response, not by the idle timeout of 20 s.
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_non_ascii_request_closes_the_connection() {
    let service = Service::start();
    let start = Instant::now();
    for request in ["GET / HTTP/1.1\r\nCity: São Paulo\r\n\r\n", "GET /São-Paulo HTTP/1.1\r\n\r\n"] {
        let mut client = Client::connect(service.address);
        client.write(request);
        // tiny_http sends no response.
        assert_eq!(client.rest(), "");
    }
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_failed_response_closes_the_connection() {
    let service = Service::start();
    let mut client = Client::connect(service.address);
    // Built with Rust 1.81 or newer, tiny_http panics when it sorts these weights.
    let weights =
        ["6", "nan", "7", "4", "5", "3", "4", "nan", "nan", "8", "2", "nan", "5", "1", "nan", "nan"].repeat(4);
    client.write(&format!("GET / HTTP/1.1\r\nTE: a;q={}\r\n\r\n", weights.join(",a;q=")));
    let start = Instant::now();
    client.try_reply("GET");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn sixty_four_persistent_connections_are_served() {
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
fn a_burst_waits_in_the_listen_queue() {
    let service = Service::start();
    // A stopped process accepts nothing, so the kernel must queue all connections.
    service.signal(Signal::SIGSTOP);
    let mut clients: Vec<Client> = (0..300).map(|_| Client::connect(service.address)).collect();
    service.signal(Signal::SIGCONT);
    for client in &mut clients {
        assert_eq!(client.call("GET", "/health").status, 200);
    }
}

#[test]
fn an_idle_service_rarely_wakes_up() {
    let service = Service::start();
    let tasks = format!("/proc/{}/task", service.id());
    // None if the thread has just ended.
    let switches_of = |task: fs::DirEntry| -> Option<f64> {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:\t")?.parse().ok())
    };
    let switches = || fs::read_dir(&tasks).unwrap().flatten().filter_map(switches_of).sum::<f64>();
    // Lets the start finish.
    thread::sleep(Duration::from_secs(1));
    let before = switches();
    thread::sleep(Duration::from_secs(5));
    let per_second = (switches() - before) / 5.0;
    assert!(per_second < 11.0, "{per_second} context switches per second");
}

#[test]
fn abusive_clients_are_disconnected_and_counted_once() {
    let service = Service::start();
    // Too many requests, and an allowed number whose unread responses exceed the send buffer.
    for (count, target) in [(1000, "/health"), (16, "/metrics")] {
        let mut client = Client::connect(service.address);
        let before = service.metric(ABORTED);
        client.write(&format!("GET {target} HTTP/1.1\r\n\r\n").repeat(count));
        service.wait_for(ABORTED, before + 1.0);
        drop(client);
        assert_eq!(service.metric(ABORTED), before + 1.0, "{target}");
    }
}

#[test]
fn a_response_does_not_wait_for_the_body() {
    let service = Service::start();
    let mut client = Client::connect(service.address);
    client.write("POST / HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n");
    assert_eq!(client.try_reply("POST").unwrap().status, 405);
    client.write(&"a".repeat(2_000_000));
    assert_eq!(client.call("GET", "/health").status, 200);
}

#[test]
fn too_large_a_body_closes_the_connection() {
    let service = Service::start();
    let mut client = Client::connect(service.address);
    client.write("POST / HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n");
    assert_eq!(client.rest(), "");
    service.wait_for(ABORTED, 1.0);
}

#[test]
fn a_reused_client_port_does_not_wait_for_its_previous_owner() {
    let service = Service::start();
    let mut gone = connect_from("127.0.0.1:0".parse().unwrap(), service.address);
    let own = gone.local_addr().unwrap();
    gone.write_all(b"GET /simulate-load?duration_ms=10000 HTTP/1.1\r\n\r\n").unwrap();
    service.wait_for("active_connections", 1.0);
    // A reset frees the port at once.
    socket::setsockopt(&gone, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 }).unwrap();
    drop(gone);
    let mut next = connect_from(own, service.address);
    next.write_all(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    next.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    // The load is still running, or it would be counted.
    let loads = r#"http_requests_total{endpoint="/simulate-load",method="GET",status="200"}"#;
    assert_eq!(service.metric(loads), 0.0, "the response waited for the load");
}

/// Connects from the local address `own`.
fn connect_from(own: SocketAddr, to: SocketAddr) -> TcpStream {
    let socket = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    socket::setsockopt(&socket, sockopt::ReuseAddr, &true).unwrap();
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(own)).unwrap();
    socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(to)).unwrap();
    socket.into()
}
