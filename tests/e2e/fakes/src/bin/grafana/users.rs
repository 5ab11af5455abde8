//! The user admin. The password survives restarts. As in Grafana, five wrong logins lock the account
//! for five minutes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const MAX_WRONG_LOGINS: usize = 5;
const LOCK_TIME: Duration = Duration::from_secs(300);

pub struct Users {
    file: PathBuf,
    wrong: Vec<Instant>,
}

impl Users {
    /// `password` is for a new database only.
    pub fn open(file: PathBuf, password: &str) -> Result<Self, String> {
        if !file.exists() {
            write(&file, password)?;
        }
        Ok(Users { file, wrong: Vec::new() })
    }

    /// `authorization`: the value of the header.
    pub fn may_enter(&mut self, authorization: &str) -> bool {
        self.wrong.retain(|when| when.elapsed() < LOCK_TIME);
        let login = authorization.strip_prefix("Basic ").and_then(base64).unwrap_or_default();
        if login != format!("admin:{}", self.password()) {
            self.wrong.push(Instant::now());
            return false;
        }
        self.wrong.len() < MAX_WRONG_LOGINS
    }

    pub fn password(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap_or_default()
    }

    pub fn set_password(&self, new: &str) -> Result<(), String> {
        if new.len() <= 4 {
            return Err("new password is too short".into());
        }
        write(&self.file, new)
    }
}

/// Synced, as a database does.
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
