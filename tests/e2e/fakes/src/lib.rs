//! A small HTTP client, and responses that name the fake.

use std::io::{Cursor, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tiny_http::{Header, Request, Response};

/// The version that every fake reports.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "-fake");

pub fn get(address: &str, path: &str) -> std::io::Result<(u16, String)> {
    send("GET", address, path)
}

/// Sends a request and returns status and body. HTTP/1.0, because its responses have no chunks.
pub fn send(method: &str, address: &str, path: &str) -> std::io::Result<(u16, String)> {
    let invalid = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
    let address: SocketAddr = address.parse().map_err(|_| invalid("invalid address"))?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| invalid("response without a head"))?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or_else(|| invalid("response without a status"))?;
    Ok((status, body.to_owned()))
}

/// Percent-encodes a query parameter.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect()
}

pub type Reply = Response<Cursor<Vec<u8>>>;

pub fn response(status: u16, content_type: &str, body: impl Into<String>) -> Reply {
    Response::from_string(body).with_status_code(status).with_header(header("Content-Type", content_type))
}

pub fn json(status: u16, body: &serde_json::Value) -> Reply {
    response(status, "application/json", body.to_string())
}

pub fn page(name: &str) -> Reply {
    let body =
        format!("<!doctype html><title>Fake for {name}</title>\n<h1>This is a fake for {name}, for tests</h1>\n");
    response(200, "text/html; charset=utf-8", body)
}

pub fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("a plain header")
}

pub fn header_of<'a>(request: &'a Request, name: &'static str) -> Option<&'a str> {
    request.headers().iter().find(|h| h.field.equiv(name)).map(|h| h.value.as_str())
}

/// Returns the value of `--name=value` or `--name value`.
pub fn option(args: &[String], name: &str) -> Option<String> {
    args.iter().enumerate().find_map(|(i, arg)| match arg.strip_prefix(name)? {
        "" => args.get(i + 1).cloned(),
        rest => rest.strip_prefix('=').map(str::to_owned),
    })
}
