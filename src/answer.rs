//! What goes back to a client, independent of the HTTP library.

use std::borrow::Cow;
use std::io::Cursor;

use tiny_http::{Header, Response};

/// An answer: status, content type, body, and at most one further header.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// The body; a HEAD request gets its length only.
    pub body: Cow<'static, str>,
    content_type: &'static str,
    header: Option<(&'static str, &'static str)>,
}

impl Answer {
    /// A JSON answer. The body is a fixed string or has numbers put into one, so that nothing needs escaping.
    pub fn json(status: u16, body: impl Into<Cow<'static, str>>) -> Answer {
        Answer { status, body: body.into(), content_type: "application/json", header: None }
    }

    /// A 200 of this content type.
    pub fn text(content_type: &'static str, body: String) -> Answer {
        Answer { status: 200, body: body.into(), content_type, header: None }
    }

    /// The same answer with a further header.
    pub fn with(self, name: &'static str, value: &'static str) -> Answer {
        Answer { header: Some((name, value)), ..self }
    }
}

impl From<Answer> for Response<Cursor<Vec<u8>>> {
    fn from(answer: Answer) -> Self {
        let header = |name: &str, value: &str| Header::from_bytes(name, value).expect("our headers are ASCII");
        let mut response = Response::from_data(answer.body.into_owned())
            .with_status_code(answer.status)
            .with_header(header("Content-Type", answer.content_type))
            // The length is known: say it rather than answer in chunks.
            .with_chunked_threshold(usize::MAX);
        if let Some((name, value)) = answer.header {
            response.add_header(header(name, value));
        }
        response
    }
}
