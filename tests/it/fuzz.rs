//! Mutated requests: the service survives them and keeps serving.
//!
//! `FUZZ_SEEDS=1000 cargo test fuzz` tries more seeds than the default of 12.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::service::Service;

/// 100,000 requests with 12 seeds.
const REQUESTS_PER_SEED: usize = 8400;
/// Below the service's limit of 16 queued requests.
const REQUESTS_PER_CONNECTION: usize = 12;
const MODELS: [&str; 8] = [
    "GET /simulate-load?duration_ms=0&mode=cpu&error_rate=0.5 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /simulate-load?duration_ms=1&mode=sleep HTTP/1.1\r\n\r\n",
    "HEAD /metrics HTTP/1.1\r\nConnection: keep-alive\r\n\r\n",
    "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    "PUT /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "GET http://host/health?a=b HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    "OPTIONS * HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    "GET / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 40\r\n\r\nabcd",
];
const PIECES: [&[u8]; 14] =
    [b"\r\n", b"\r\n\r\n", b" ", b":", b"\0", b"\xff\xfe", b"%00", b"&", b"=", b"-1", b"1e999", b"NaN", b"65536", b"?"];

/// A xorshift generator, reproducible by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn request(&mut self) -> Vec<u8> {
        let mut bytes = MODELS[self.below(MODELS.len())].as_bytes().to_vec();
        for _ in 0..self.below(4) {
            let index = self.below(bytes.len() + 1);
            match self.below(4) {
                0 => bytes.truncate(index.max(1)),
                1 => drop(bytes.splice(index..index, PIECES[self.below(PIECES.len())].iter().copied())),
                2 if index < bytes.len() => bytes[index] = self.below(256) as u8,
                _ => drop(bytes.drain(index..(index + self.below(8)).min(bytes.len()))),
            }
        }
        bytes
    }
}

#[test]
fn mutated_requests_are_survived() {
    let seeds = std::env::var("FUZZ_SEEDS").map_or(12, |seeds| seeds.parse().expect("FUZZ_SEEDS is a number"));
    let service = Service::start();
    for seed in 1..=seeds {
        let mut random = Random(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
        for _ in 0..REQUESTS_PER_SEED / REQUESTS_PER_CONNECTION {
            let requests: Vec<u8> = (0..REQUESTS_PER_CONNECTION).flat_map(|_| random.request()).collect();
            let mut stream = TcpStream::connect(service.address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            // The service can close the connection at any byte.
            let _ = stream.write_all(&requests);
            let _ = stream.shutdown(Shutdown::Write);
            let mut responses = Vec::new();
            let _ = stream.read_to_end(&mut responses);
        }
        assert_eq!(service.call("GET", "/health").status, 200, "seed {seed}");
    }
    service.wait_for("active_connections", 0.0);
    service.stop();
}
