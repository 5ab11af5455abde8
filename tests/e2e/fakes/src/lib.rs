//! What the fakes share: a small HTTP client, answers, and the name that tells a person what they are looking at.

use std::io::{Cursor, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tiny_http::{Header, Request, Response};

/// The version that every fake reports, on the command line, in its log and in its metrics.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "-fake");

pub fn get(address: &str, path: &str) -> std::io::Result<(u16, String)> {
    ask("GET", address, path)
}

/// A request over HTTP/1.0, to which servers answer without chunks: the status and the body.
pub fn ask(method: &str, address: &str, path: &str) -> std::io::Result<(u16, String)> {
    let invalid = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
    let address: SocketAddr = address.parse().map_err(|_| invalid("not an address and port"))?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| invalid("an answer without a head"))?;
    let status =
        head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| invalid("an answer without a status"))?;
    Ok((status, body.to_owned()))
}

/// Percent-encodes a query parameter.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect()
}

pub type Answer = Response<Cursor<Vec<u8>>>;

pub fn answer(status: u16, content_type: &str, body: impl Into<String>) -> Answer {
    Response::from_string(body).with_status_code(status).with_header(header("Content-Type", content_type))
}

pub fn json(status: u16, body: &serde_json::Value) -> Answer {
    answer(status, "application/json", body.to_string())
}

/// A page that says what it is not.
pub fn page(of: &str, details: &str) -> Answer {
    let body = format!(
        "<!doctype html><title>Fake for {of}</title>\n<h1>This is a fake for {of}</h1>\n\
         <p>It takes {of}'s place in tests, where the real one can't be had. It is not {of}.</p>\n{details}\n"
    );
    answer(200, "text/html; charset=utf-8", body)
}

pub fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("a plain header")
}

pub fn header_of<'a>(request: &'a Request, name: &'static str) -> Option<&'a str> {
    request.headers().iter().find(|h| h.field.equiv(name)).map(|h| h.value.as_str())
}

/// The value of `--name=value` or `--name value` among a program's arguments.
pub fn option(args: &[String], name: &str) -> Option<String> {
    args.iter().enumerate().find_map(|(i, arg)| match arg.strip_prefix(name)? {
        "" => args.get(i + 1).cloned(),
        rest => rest.strip_prefix('=').map(str::to_owned),
    })
}
