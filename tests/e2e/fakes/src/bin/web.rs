//! web ADDRESS DIR: serves the files of DIR with the failures of real servers, and prints each request.
//! The first component of the path is the mode. /plain/FILE works; /truncated/FILE closes the first
//! connection halfway; /busy/FILE responds 503 to the first request; /other/FILE is a file of the same
//! length with another checksum. Ranges (`bytes=N-`) are supported.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, dir] = &args[..] else {
        eprintln!("usage: web ADDRESS DIR");
        std::process::exit(2);
    };
    let listener = TcpListener::bind(address)?;
    let mut seen = HashSet::new();
    for stream in listener.incoming().flatten() {
        // One connection at a time is enough. A client can close it early.
        if let Err(error) = serve(&stream, dir, &mut seen) {
            println!("connection closed: {error}");
        }
    }
    Ok(())
}

fn serve(mut stream: &TcpStream, dir: &str, seen: &mut HashSet<String>) -> std::io::Result<()> {
    let mut head = Vec::new();
    for line in BufReader::new(stream).lines() {
        match line? {
            end if end.is_empty() => break,
            line => head.push(line),
        }
    }
    let path = head.first().and_then(|l| l.split(' ').nth(1)).unwrap_or_default().to_owned();
    let from = head
        .iter()
        .find_map(|l| l.to_lowercase().strip_prefix("range: bytes=")?.split('-').next()?.parse::<usize>().ok());
    let is_first = seen.insert(path.clone());
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (mode, file) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut body = match std::fs::read(format!("{dir}/{file}")) {
        Ok(body) if matches!(mode, "plain" | "truncated" | "busy" | "other") && !file.contains("..") => body,
        _ => {
            println!("404 {path}");
            return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    };
    if mode == "busy" && is_first {
        println!("503 {path}");
        return stream.write_all(
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    }
    if mode == "other" {
        let middle = body.len() / 2;
        body[middle] ^= 1;
    }
    let total = body.len();
    let start = from.unwrap_or(0).min(total);
    let status = if from.is_some() { "206 Partial Content" } else { "200 OK" };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{total}\r\n\
         Accept-Ranges: bytes\r\nConnection: close\r\n\r\n",
        total - start,
        total.saturating_sub(1),
    )?;
    let end = if mode == "truncated" && is_first { total / 2 } else { total };
    println!("{} {path} bytes {start} to {end} of {total}", &status[..3]);
    stream.write_all(&body[start.min(end)..end])
}
