//! The threads of `/simulate-load`.

use std::thread;

use crate::http::Client;
use crate::service::Service;

/// How many there may be.
const THREADS: usize = 32;

#[test]
fn who_finds_no_thread_is_refused_at_once_and_holds_up_nobody() {
    let service = Service::start();
    let mut busy: Vec<Client> = (0..THREADS).map(|_| Client::connect(service.address)).collect();
    for client in &mut busy {
        client.send("GET", "/simulate-load?duration_ms=10000");
    }
    service.wait_for("active_connections", THREADS as f64);

    let refused = service.call("GET", "/simulate-load?duration_ms=0");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.body, r#"{"error":"too many /simulate-load requests in progress; try again later"}"#);
    assert_eq!(service.call("GET", "/health").status, 200);
    assert_eq!(service.call("GET", "/simulate-load?duration_ms=x").status, 400);
    // All of these were answered while the load was still on.
    service.wait_for("active_connections", THREADS as f64);

    for client in &mut busy {
        assert_eq!(client.try_reply("GET").unwrap().status, 200);
    }
    service.wait_for("active_connections", 0.0);
    assert_eq!(service.call("GET", "/simulate-load?duration_ms=0").status, 200);
}

#[test]
fn clients_that_keep_their_connection_are_refused_and_not_cut_when_there_is_no_thread() {
    let service = Service::start();
    let clients: Vec<_> = (0..48).map(|_| Client::connect(service.address)).collect();
    let ask = |mut client: Client| {
        thread::spawn(move || {
            for _ in 0..500 {
                let status = client.call("GET", "/simulate-load?duration_ms=0").status;
                assert!(status == 200 || status == 503, "{status}");
            }
        })
    };
    let asking: Vec<_> = clients.into_iter().map(ask).collect();
    asking.into_iter().for_each(|client| client.join().unwrap());
}
