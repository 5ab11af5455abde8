//! Log lines on standard error, one for each event worth a line; requests are not.
//!
//! In the journal each line begins with its priority (`<6>`), which journald takes off again; elsewhere errors and
//! warnings say so in words.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::panic::{self, Location};
use std::sync::OnceLock;

/// An event of normal life.
pub fn info(message: &str) {
    write("<6>", "", message);
}

/// Something that a person should look at, while the service goes on.
pub fn warning(message: &str) {
    write("<4>", "warning: ", message);
}

/// Something that failed.
pub fn error(message: &str) {
    write("<3>", "error: ", message);
}

/// Makes panics one line each, with a priority.
///
/// tiny_http's own are left out: a client causes one by resetting its connection, and only that connection's thread ends.
/// But for one: with one descriptor left, tiny_http takes it to accept and panics at the next, in its accept loop. That is
/// told to `accept_has_ended`, as nobody else hears of it.
pub fn report_panics(accept_has_ended: impl Fn() + Send + Sync + 'static) {
    panic::set_hook(Box::new(move |info| match info.location().map(Location::file) {
        Some(file) if file.contains("tiny_http") && file.ends_with("refined_tcp_stream.rs") => accept_has_ended(),
        Some(file) if file.contains("tiny_http") => {}
        _ => error(&info.to_string().replace('\n', " ")),
    }));
}

fn write(priority: &str, word: &str, message: &str) {
    static JOURNAL: OnceLock<bool> = OnceLock::new();
    let prefix = if *JOURNAL.get_or_init(stderr_is_the_journal) { priority } else { word };
    // One write for the line, and no panic where nobody reads.
    let _ = io::stderr().write_all(format!("{prefix}{message}\n").as_bytes());
}

/// `JOURNAL_STREAM` names the journal's stream by device and inode; it is inherited even where stderr leads elsewhere.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    stderr.and_then(|file| file.metadata()).is_ok_and(|meta| stream == format!("{}:{}", meta.dev(), meta.ino()))
}
