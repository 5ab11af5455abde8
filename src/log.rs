//! Log lines on stderr: start, stop, warnings and errors, but no requests.
//!
//! If stderr is the journal, a line starts with its priority, such as `<6>`, which journald removes.
//! Elsewhere, warnings and errors start with the word.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::panic;

/// Substrings of the panics that silently end tiny_http's accept loop: one free file descriptor,
/// where a connection needs two, and no free thread.
const ACCEPT_LOOP_PANICS: [&str; 2] = ["refined_tcp_stream.rs", "failed to spawn thread"];

pub fn info(message: &str) {
    write("<6>", "", message);
}

pub fn warning(message: &str) {
    write("<4>", "warning: ", message);
}

pub fn error(message: &str) {
    write("<3>", "error: ", message);
}

/// Logs the reason and exits. systemd keeps the port open and restarts the service, so only the
/// requests in flight are lost.
pub fn fatal(reason: &str) -> ! {
    error(&format!("{reason}; exiting"));
    std::process::exit(1)
}

/// Logs a panic as one line. Panics of tiny_http's accept loop are fatal. Its others are not logged:
/// clients cause them by resetting a connection, and only that connection's thread ends.
pub fn install_panic_hook() {
    panic::set_hook(Box::new(|info| {
        let panic = info.to_string().replace('\n', " ");
        if ACCEPT_LOOP_PANICS.iter().any(|text| panic.contains(text)) {
            fatal(&format!("cannot accept connections: {panic}"));
        } else if !panic.contains("tiny_http") {
            error(&panic);
        }
    }));
}

fn write(priority: &str, word: &str, message: &str) {
    let prefix = if stderr_is_the_journal() { priority } else { word };
    // A single write keeps the line whole. An error is ignored, where `eprintln!` would panic.
    let _ = io::stderr().write_all(format!("{prefix}{message}\n").as_bytes());
}

/// Compares stderr with `JOURNAL_STREAM`, the journal's device and inode. The variable alone proves
/// nothing, because a redirection does not unset it.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    fs::metadata("/proc/self/fd/2").is_ok_and(|stderr| stream == format!("{}:{}", stderr.dev(), stderr.ino()))
}
