//! A minimal HTTP client that also sends invalid requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a test waits before it fails.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to the service.
pub struct Client(BufReader<TcpStream>);

/// A response.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        Client(BufReader::new(stream))
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &str) {
        self.0.get_mut().write_all(bytes.as_bytes()).unwrap();
    }

    /// Sends a request. `try_reply` reads its response.
    pub fn send(&mut self, method: &str, target: &str) {
        self.write(&format!("{method} {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }

    /// Sends a request on a connection that the service might have closed.
    pub fn try_send(&mut self, method: &str, target: &str) {
        let _ = write!(self.0.get_mut(), "{method} {target} HTTP/1.1\r\nHost: test\r\n\r\n");
    }

    /// Reads a response, without a body for HEAD. None if the connection ends first.
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

    /// Sends a request and reads its response.
    pub fn call(&mut self, method: &str, target: &str) -> Reply {
        self.send(method, target);
        self.try_reply(method).unwrap_or_else(|| panic!("no response to {method} {target}"))
    }

    /// Reads until the connection ends.
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
