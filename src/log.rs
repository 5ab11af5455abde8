//! Log lines on standard error, one for each event worth a line; requests are not.
//!
//! In the journal each line begins with its priority (`<6>`), which journald takes off again; elsewhere errors and
//! warnings say so in words.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::panic;

/// How the panics read with which tiny_http's accept loop ends, alone and unnoticed: there is one descriptor left, where
/// a connection takes two, or no thread.
const ACCEPT_LOOP_PANICS: [&str; 2] = ["refined_tcp_stream.rs", "failed to spawn thread"];

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

/// Says why the service can't go on, and ends it. Meanwhile systemd has the port: it loses no one but those in flight.
pub fn fatal(why: &str) -> ! {
    error(&format!("{why}; the service must be started again"));
    std::process::exit(1)
}

/// Makes panics one line each, with a priority. tiny_http's own are left out, but for those that make it deaf: a client
/// causes one by resetting its connection, and only that connection's thread ends.
pub fn install_panic_hook() {
    panic::set_hook(Box::new(|info| {
        let panic = info.to_string().replace('\n', " ");
        if ACCEPT_LOOP_PANICS.iter().any(|sign| panic.contains(sign)) {
            fatal(&format!("cannot accept connections any more: {panic}"));
        } else if !panic.contains("tiny_http") {
            error(&panic);
        }
    }));
}

fn write(priority: &str, word: &str, message: &str) {
    let prefix = if stderr_is_the_journal() { priority } else { word };
    // One write for the line, and no panic where nobody reads.
    let _ = io::stderr().write_all(format!("{prefix}{message}\n").as_bytes());
}

/// `JOURNAL_STREAM` names the journal's stream by device and inode; it is inherited even where stderr leads elsewhere.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    stderr.and_then(|file| file.metadata()).is_ok_and(|meta| stream == format!("{}:{}", meta.dev(), meta.ino()))
}
