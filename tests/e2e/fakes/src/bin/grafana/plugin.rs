//! The Prometheus data source. As in Grafana 13 it is a process of its own, and Grafana queries it
//! over a Unix socket in the temporary directory, so the sandbox of the unit must allow both.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use fakes::{encode, get};
use serde_json::{json, Value};

/// The name of the program, which is this same program.
pub const PROGRAM: &str = "gpx_prometheus_fake";

pub struct Plugin {
    child: Child,
    socket: PathBuf,
}

impl Plugin {
    pub fn start(dir: &Path) -> Result<Self, String> {
        let program = dir.join(PROGRAM);
        let socket = std::env::temp_dir().join(format!("plugin{}", std::process::id()));
        let child = Command::new(&program).arg(&socket).spawn();
        Ok(Plugin { child: child.map_err(|e| format!("{}: {e}", program.display()))?, socket })
    }

    /// Returns the result of one query of `/api/ds/query`.
    pub fn query(&self, query: &Value) -> Result<Value, String> {
        let mut stream = UnixStream::connect(&self.socket).map_err(|e| format!("plugin not running: {e}"))?;
        writeln!(stream, "{query}").map_err(|e| e.to_string())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).map_err(|e| e.to_string())?;
        serde_json::from_str(&line).map_err(|e| e.to_string())
    }

    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// The plugin's process: serves one query per connection.
pub fn serve(socket: &str) -> Result<(), String> {
    let listener = UnixListener::bind(socket).map_err(|e| format!("{socket}: {e}"))?;
    for stream in listener.incoming().flatten() {
        let mut line = String::new();
        if BufReader::new(&stream).read_line(&mut line).is_ok() {
            let result = serde_json::from_str(&line).map_err(|e| e.to_string()).and_then(|query| run(&query));
            let result = result.unwrap_or_else(|error| json!({"status": 500, "error": error, "frames": []}));
            let _ = writeln!(&stream, "{result}");
        }
    }
    Ok(())
}

/// Runs an instant query. `query` has `expr` and the `address` of Prometheus.
fn run(query: &Value) -> Result<Value, String> {
    let text = |key: &str| query[key].as_str().unwrap_or_default();
    let path = format!("/api/v1/query?query={}", encode(text("expr")));
    let (status, body) = get(text("address"), &path).map_err(|e| format!("Prometheus at {}: {e}", text("address")))?;
    let body: Value = serde_json::from_str(&body).map_err(|e| e.to_string())?;
    if status != 200 {
        return Ok(json!({"status": status, "error": body["error"], "frames": []}));
    }
    let frames: Vec<_> = body["data"]["result"].as_array().into_iter().flatten().map(frame).collect();
    Ok(json!({"status": 200, "frames": frames}))
}

fn frame(series: &Value) -> Value {
    let time = series["value"][0].as_f64().unwrap_or_default() * 1000.0;
    let value: f64 = series["value"][1].as_str().and_then(|v| v.parse().ok()).unwrap_or(f64::NAN);
    // Go writes whole numbers without a fraction.
    let value = if value.fract() == 0.0 { json!(value as i64) } else { json!(value) };
    json!({
        "schema": {"fields": [
            {"name": "Time", "type": "time"},
            {"name": "Value", "type": "number", "labels": series["metric"]}]},
        "data": {"values": [[time as i64], [value]]}
    })
}
