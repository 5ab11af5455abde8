//! A plain HTTP client: it sends what it is told and shows what came back.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a test waits for anything before it fails; no test measures time.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to the service.
pub struct Client(BufReader<TcpStream>);

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &str) {
        self.0.get_mut().write_all(bytes.as_bytes()).unwrap();
    }

    /// Sends a request and leaves its answer for `reply`.
    pub fn send(&mut self, method: &str, target: &str) {
        self.write(&format!("{method} {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }

    /// Sends a request to a service that may have closed the connection.
    pub fn try_send(&mut self, method: &str, target: &str) {
        let _ = write!(self.0.get_mut(), "{method} {target} HTTP/1.1\r\nHost: test\r\n\r\n");
    }

    /// Reads an answer, with its body unless it answers HEAD. None when the connection ends before it.
    pub fn try_reply(&mut self, method: &str) -> Option<Reply> {
        let status = self.line()?.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ")?;
            headers.push((name.to_ascii_lowercase(), value.to_string()));
        }
        let mut reply = Reply { status, headers, body: String::new() };
        if method != "HEAD" {
            let mut body = vec![0; reply.header("content-length")?.parse().ok()?];
            self.0.read_exact(&mut body).ok()?;
            reply.body = String::from_utf8(body).ok()?;
        }
        Some(reply)
    }

    /// Sends a request and reads its answer.
    pub fn call(&mut self, method: &str, target: &str) -> Reply {
        self.send(method, target);
        self.try_reply(method).unwrap_or_else(|| panic!("no answer to {method} {target}"))
    }

    /// Everything up to the end of the connection.
    pub fn rest(mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        rest
    }

    /// Closes the connection in both directions.
    pub fn hang_up(&self) {
        self.0.get_ref().shutdown(Shutdown::Both).unwrap();
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).ok()?;
        line.strip_suffix("\r\n").map(str::to_string)
    }
}

impl Reply {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}
