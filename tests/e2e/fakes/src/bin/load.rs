//! load ADDRESS PATH STOP-FILE: eight clients send requests, each on a new connection, until STOP-FILE
//! exists, for two minutes at most. Prints the counts of responses and failures, and the longest wait.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use fakes::get;

const CLIENTS: usize = 8;
const MAX_TIME: Duration = Duration::from_secs(120);
/// Between requests of a client; without it, the ports of the address run out.
const PAUSE: Duration = Duration::from_millis(5);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, stop] = &args[..] else {
        eprintln!("usage: load ADDRESS PATH STOP-FILE");
        std::process::exit(2);
    };
    let (answered, failed, longest) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let start = Instant::now();
    let client = || {
        while start.elapsed() < MAX_TIME && !std::path::Path::new(stop).exists() {
            let sent = Instant::now();
            match get(address, path) {
                Ok((200, body)) if !body.is_empty() => answered.fetch_add(1, Relaxed),
                other => {
                    eprintln!("after {:?}: {other:?}", start.elapsed());
                    failed.fetch_add(1, Relaxed)
                }
            };
            longest.fetch_max(sent.elapsed().as_millis() as u64, Relaxed);
            std::thread::sleep(PAUSE);
        }
    };
    std::thread::scope(|scope| (0..CLIENTS).for_each(|_| drop(scope.spawn(client))));
    println!(
        "{} answered, {} failed, longest wait {} ms",
        answered.into_inner(),
        failed.into_inner(),
        longest.into_inner()
    );
}
