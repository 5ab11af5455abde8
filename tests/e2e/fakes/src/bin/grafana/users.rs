//! One user, the administrator, with a password that outlives a restart, and Grafana's lock on guessing: after five wrong
//! logins in five minutes even the right one is refused.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const WRONG_LOGINS: usize = 5;
const WINDOW: Duration = Duration::from_secs(300);

pub struct Users {
    file: PathBuf,
    name: String,
    wrong: Vec<Instant>,
}

impl Users {
    /// `first`: the password that holds until somebody sets another.
    pub fn open(file: PathBuf, name: String, first: &str) -> Result<Self, String> {
        if !file.exists() {
            write(&file, first)?;
        }
        Ok(Users { file, name, wrong: Vec::new() })
    }

    /// The value of an `Authorization` header.
    pub fn may_enter(&mut self, authorization: &str) -> bool {
        self.wrong.retain(|when| when.elapsed() < WINDOW);
        let login = authorization.strip_prefix("Basic ").and_then(base64).unwrap_or_default();
        if login != format!("{}:{}", self.name, self.password()) {
            self.wrong.push(Instant::now());
            return false;
        }
        self.wrong.len() < WRONG_LOGINS
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn password(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap_or_default()
    }

    pub fn set_password(&self, new: &str) -> Result<(), String> {
        write(&self.file, new)
    }
}

/// A database has on the disk what it has taken.
fn write(file: &Path, text: &str) -> Result<(), String> {
    let write = || {
        let mut file = std::fs::File::create(file)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|e: std::io::Error| format!("{}: {e}", file.display()))
}

fn base64(text: &str) -> Option<String> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::new());
    for c in text.trim().trim_end_matches('=').chars() {
        bits = (bits << 6) | DIGITS.find(c)? as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    String::from_utf8(bytes).ok()
}
