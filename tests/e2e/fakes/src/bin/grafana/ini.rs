//! Reads grafana.ini, and what replaces its values: `GF_SECTION_KEY` in the environment, and then the
//! content of FILE for the value `$__file{FILE}`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub struct Ini {
    values: HashMap<(String, String), String>,
    home: PathBuf,
}

impl Ini {
    /// Relative paths start at `home`.
    pub fn read(file: &Path, home: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        let mut section = String::new();
        let mut values = HashMap::new();
        for (i, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with([';', '#']) {
                continue;
            } else if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                section = name.to_owned();
            } else if let Some((key, value)) = line.split_once('=') {
                let value = expand(&section, key.trim(), value.trim())?;
                values.insert((section.clone(), key.trim().to_owned()), value);
            } else {
                return Err(format!("{}:{}: expected a section or key = value", file.display(), i + 1));
            }
        }
        Ok(Ini { values, home: home.to_owned() })
    }

    pub fn get(&self, section: &str, key: &str, default: &str) -> String {
        self.values.get(&(section.to_owned(), key.to_owned())).cloned().unwrap_or(default.to_owned())
    }

    pub fn path(&self, key: &str, default: &str) -> PathBuf {
        self.home.join(self.get("paths", key, default))
    }
}

/// Like Grafana, trims the content of the file, and expands nothing in it.
fn expand(section: &str, key: &str, value: &str) -> Result<String, String> {
    let name = format!("GF_{section}_{key}").to_uppercase().replace(['.', '-'], "_");
    let value = std::env::var(name).unwrap_or(value.to_owned());
    match value.strip_prefix("$__file{").and_then(|v| v.strip_suffix('}')) {
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|e| format!("{section}.{key}: {file}: {e}"))?;
            Ok(text.trim().to_owned())
        }
        None => Ok(value),
    }
}
