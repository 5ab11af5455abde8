//! The Prometheus data source. As in Grafana 13 it is a program of its own, started from `data/plugins-bundled/prometheus/`
//! and asked over a Unix socket in the temporary folder, so the unit has to allow all that.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, SystemTime};

use fakes::{encode, get};
use serde_json::{json, Value};

/// How the program's file begins; the fake is this same program under another name.
pub const PREFIX: &str = "gpx_";

pub struct Plugin {
    pub version: String,
    child: Child,
    socket: PathBuf,
}

impl Plugin {
    pub fn start(folder: &Path) -> Result<Self, String> {
        let about =
            std::fs::read_to_string(folder.join("plugin.json")).map_err(|e| format!("{}: {e}", folder.display()))?;
        let about: Value = serde_json::from_str(&about).map_err(|e| format!("{}: {e}", folder.display()))?;
        let program = folder.join(about["executable"].as_str().unwrap_or_default());
        let socket = std::env::temp_dir().join(format!("plugin{}", std::process::id()));
        let child = Command::new(&program).arg(&socket).spawn().map_err(|e| format!("{}: {e}", program.display()))?;
        Ok(Plugin { version: about["info"]["version"].as_str().unwrap_or_default().to_owned(), child, socket })
    }

    /// The answer to one query of `/api/ds/query`.
    pub fn ask(&self, question: &Value) -> Result<Value, String> {
        let mut stream = UnixStream::connect(&self.socket).map_err(|e| format!("plugin not running: {e}"))?;
        writeln!(stream, "{question}").map_err(|e| e.to_string())?;
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

/// What the program does under the name gpx_…: answers one question per connection.
pub fn serve(socket: &str) -> Result<(), String> {
    let listener = UnixListener::bind(socket).map_err(|e| format!("{socket}: {e}"))?;
    for stream in listener.incoming().flatten() {
        let mut line = String::new();
        if BufReader::new(&stream).read_line(&mut line).is_ok() {
            let answer = serde_json::from_str(&line).map_err(|e| e.to_string()).and_then(|question| query(&question));
            let answer = answer.unwrap_or_else(|error| json!({"status": 500, "error": error, "frames": []}));
            let _ = writeln!(&stream, "{answer}");
        }
    }
    Ok(())
}

/// `question`: the address of Prometheus, and `expr`, `refId`, `range`, `from`, `to`, `step` (in seconds).
fn query(question: &Value) -> Result<Value, String> {
    let text = |key: &str| question[key].as_str().unwrap_or_default();
    let is_range = question["range"] == true;
    let seconds = |key: &str| question[key].as_f64().unwrap_or_default();
    let (expr, step) = (text("expr"), seconds("step").max(1.0));
    let times = if is_range {
        format!("start={}&end={}&step={step}", seconds("from"), seconds("to"))
    } else {
        format!("time={}", seconds("to"))
    };
    let path = format!("/api/v1/{}?query={}&{times}", if is_range { "query_range" } else { "query" }, encode(expr));
    let (status, body) = get(text("address"), &path).map_err(|e| format!("Prometheus at {}: {e}", text("address")))?;
    let body: Value = serde_json::from_str(&body).map_err(|e| e.to_string())?;
    if status != 200 {
        return Ok(json!({"status": status, "error": body["error"], "frames": []}));
    }
    let data = &body["data"];
    let series = match &data["result"] {
        scalar if data["resultType"] == "scalar" => vec![json!({"metric": {}, "value": scalar})],
        series => series.as_array().cloned().unwrap_or_default(),
    };
    let frames: Vec<Value> = series.iter().map(|s| frame(s, data, text("refId"), expr, step)).collect();
    Ok(json!({"status": 200, "frames": frames}))
}

fn frame(series: &Value, data: &Value, ref_id: &str, expr: &str, step: f64) -> Value {
    let points: Vec<&Value> =
        series["values"].as_array().map_or(vec![&series["value"]], |values| values.iter().collect());
    let times: Vec<i64> = points.iter().map(|p| (p[0].as_f64().unwrap_or_default() * 1000.0) as i64).collect();
    let values: Vec<Value> =
        points.iter().map(|p| number(p[1].as_str().and_then(|v| v.parse().ok()).unwrap_or(f64::NAN))).collect();
    let labels: Vec<String> = series["metric"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(k, _)| *k != "__name__")
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    let name = format!("{}{{{}}}", series["metric"]["__name__"].as_str().unwrap_or_default(), labels.join(", "));
    json!({
        "schema": {"name": name, "refId": ref_id,
            "meta": {"type": "timeseries-many", "custom": {"resultType": data["resultType"]}, "executedQueryString": format!("Expr: {expr}\nStep: {step}s")},
            "fields": [
                {"name": "Time", "type": "time", "typeInfo": {"frame": "time.Time"}, "config": {"interval": number(step * 1000.0)}},
                {"name": "Value", "type": "number", "typeInfo": {"frame": "float64"}, "labels": series["metric"], "config": {"displayNameFromDS": name}}]},
        "data": {"values": [times, values]}
    })
}

/// As Go writes numbers: whole ones without a fraction.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 {
        json!(value as i64)
    } else {
        json!(value)
    }
}

/// Grafana's way to name a moment, in seconds: `now`, `now-5m`, or milliseconds since 1970.
pub fn moment(value: &Value) -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64();
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let Some(ago) = text.strip_prefix("now") else {
        return text.parse::<f64>().map_or(now, |ms| ms / 1000.0);
    };
    let unit = match ago.chars().last() {
        Some('m') => 60.0,
        Some('h') => 3600.0,
        Some('d') => 86400.0,
        _ => 1.0,
    };
    now - unit * ago.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0.0)
}
