//! The limit of concurrent `/simulate-load` requests.

use std::thread;

use crate::http::Client;
use crate::service::Service;

const MAX_LOADS: usize = 32;

#[test]
fn excess_load_gets_503_and_delays_no_other_route() {
    let service = Service::start();
    let mut busy: Vec<Client> = (0..MAX_LOADS).map(|_| Client::connect(service.address)).collect();
    for client in &mut busy {
        client.send("GET", "/simulate-load?duration_ms=10000");
    }
    service.wait_for("active_connections", MAX_LOADS as f64);

    let excess = service.call("GET", "/simulate-load?duration_ms=0");
    assert_eq!((excess.status, excess.header("retry-after")), (503, Some("1")));
    assert_eq!(excess.body, r#"{"error":"too many /simulate-load requests in progress; try again later"}"#);
    assert_eq!(service.call("GET", "/health").status, 200);
    assert_eq!(service.call("GET", "/simulate-load?duration_ms=x").status, 400);
    // All these responses came while the load was still running.
    service.wait_for("active_connections", MAX_LOADS as f64);

    for client in &mut busy {
        assert_eq!(client.try_reply("GET").unwrap().status, 200);
    }
    service.wait_for("active_connections", 0.0);
    assert_eq!(service.call("GET", "/simulate-load?duration_ms=0").status, 200);
}

#[test]
fn persistent_connections_get_503_and_stay_open() {
    let service = Service::start();
    let clients: Vec<_> = (0..48).map(|_| Client::connect(service.address)).collect();
    let send = |mut client: Client| {
        thread::spawn(move || {
            for _ in 0..500 {
                let status = client.call("GET", "/simulate-load?duration_ms=0").status;
                assert!(status == 200 || status == 503, "{status}");
            }
        })
    };
    let sending: Vec<_> = clients.into_iter().map(send).collect();
    sending.into_iter().for_each(|client| client.join().unwrap());
}
