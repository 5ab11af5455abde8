//! Connections: kept, closed, cut, many at once.

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

const CUT: &str = "metrics_service_connections_cut_total";

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
fn http_1_0_keep_alive_is_confirmed_or_the_connection_closes() {
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
    // Closed after the response, and not by the idle timeout of 20 s.
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_request_that_is_not_ascii_ends_the_connection() {
    let service = Service::start();
    let start = Instant::now();
    for request in ["GET / HTTP/1.1\r\nCity: São Paulo\r\n\r\n", "GET /São-Paulo HTTP/1.1\r\n\r\n"] {
        let mut client = Client::connect(service.address);
        client.write(request);
        // tiny_http responds to neither.
        assert_eq!(client.rest(), "");
    }
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_response_that_cannot_be_sent_ends_the_connection() {
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
fn an_idle_service_rarely_wakes_up() {
    let service = Service::start();
    let tasks = format!("/proc/{}/task", service.id());
    // A thread can end meanwhile.
    let switches_of = |task: fs::DirEntry| -> Option<f64> {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:\t")?.parse().ok())
    };
    let switches = || fs::read_dir(&tasks).unwrap().flatten().filter_map(switches_of).sum::<f64>();
    // The start itself is not idle.
    thread::sleep(Duration::from_secs(1));
    let before = switches();
    thread::sleep(Duration::from_secs(5));
    let per_second = (switches() - before) / 5.0;
    assert!(per_second < 11.0, "{per_second} context switches per second");
}

#[test]
fn who_sends_far_ahead_or_does_not_read_is_cut_and_counted_once() {
    let service = Service::start();
    // More than may wait; and as many as may, but with answers that fill what room there is for them.
    for (count, target) in [(1000, "/health"), (16, "/metrics")] {
        let mut client = Client::connect(service.address);
        let cut = service.metric(CUT);
        client.write(&format!("GET {target} HTTP/1.1\r\n\r\n").repeat(count));
        service.wait_for(CUT, cut + 1.0);
        drop(client);
        assert_eq!(service.metric(CUT), cut + 1.0, "{target}");
    }
}

#[test]
fn a_body_is_not_waited_for() {
    let service = Service::start();
    let mut client = Client::connect(service.address);
    client.write("POST / HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n");
    assert_eq!(client.try_reply("POST").unwrap().status, 405);
    client.write(&"a".repeat(2_000_000));
    assert_eq!(client.call("GET", "/health").status, 200);
}

#[test]
fn too_large_a_body_ends_the_connection() {
    let service = Service::start();
    let mut client = Client::connect(service.address);
    client.write("POST / HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n");
    assert_eq!(client.rest(), "");
    service.wait_for(CUT, 1.0);
}

#[test]
fn who_gets_the_port_of_one_that_waited_for_load_does_not_wait_for_it() {
    let service = Service::start();
    let mut gone = connect_from("127.0.0.1:0".parse().unwrap(), service.address);
    let own = gone.local_addr().unwrap();
    gone.write_all(b"GET /simulate-load?duration_ms=10000 HTTP/1.1\r\n\r\n").unwrap();
    service.wait_for("active_connections", 1.0);
    // Closed by a reset, it leaves its port free at once.
    socket::setsockopt(&gone, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 }).unwrap();
    drop(gone);
    let mut next = connect_from(own, service.address);
    next.write_all(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    next.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // An answer is counted before it is sent; the gauge goes down only after that.
    let loads = r#"http_requests_total{endpoint="/simulate-load",method="GET",status="200"}"#;
    assert_eq!(service.metric(loads), 0.0, "it waited for the load");
}

/// A connection from this address of ours.
fn connect_from(own: SocketAddr, to: SocketAddr) -> TcpStream {
    let socket = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    socket::setsockopt(&socket, sockopt::ReuseAddr, &true).unwrap();
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(own)).unwrap();
    socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(to)).unwrap();
    socket.into()
}
