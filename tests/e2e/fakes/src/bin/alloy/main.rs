//! Fake for Grafana Alloy. It reads Alloy's configuration and starts real programs from HELPERS for it:
//! Prometheus in agent mode scrapes and remote-writes, and the node exporter exports host metrics.

mod config;
mod parse;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use config::{Component, Plan};
use fakes::{get, option, page, response, send, Reply, VERSION};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

const HELPERS: &str = "/usr/local/lib/fakes";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let dir = args.last().map(PathBuf::from).unwrap_or_default();
    let result = match args.first().map(String::as_str) {
        Some("--version") => {
            println!("alloy, version v{VERSION} (a fake for tests, not Grafana Alloy)");
            Ok(())
        }
        Some("validate") => config::load(&dir, "127.0.0.1:0").map(drop),
        Some("run") => run(&args, &dir),
        _ => Err("usage: alloy run|validate [--server.http.listen-addr=ADDRESS] [--storage.path=DIR] DIR".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The running programs and their configuration.
struct Alloy {
    dir: PathBuf,
    storage: PathBuf,
    agent_address: String,
    exporter_address: String,
    plan: Plan,
    agent: Child,
    exporter: Option<Child>,
    last_load_failed: bool,
}

fn run(args: &[String], dir: &Path) -> Result<(), String> {
    let address = option(args, "--server.http.listen-addr").unwrap_or("127.0.0.1:12345".into());
    let storage = PathBuf::from(option(args, "--storage.path").unwrap_or("data-alloy".into()));
    let [agent_address, exporter_address] = [free_address()?, free_address()?];
    let plan = config::load(dir, &exporter_address)?;
    let server = tiny_http::Server::http(&address).map_err(|e| format!("{address}: {e}"))?;
    eprintln!("level=info msg=\"this is a fake for Grafana Alloy\" version={VERSION} listening={address}");

    std::fs::create_dir_all(&storage).map_err(|e| format!("{}: {e}", storage.display()))?;
    write_agent_config(&storage, &plan)?;
    let agent = start_agent(&storage, &agent_address)?;
    let exporter = start_exporter(&plan)?;
    let alloy = Arc::new(Mutex::new(Alloy {
        dir: dir.to_owned(),
        storage,
        agent_address,
        exporter_address,
        plan,
        agent,
        exporter,
        last_load_failed: false,
    }));

    let shared = alloy.clone();
    std::thread::spawn(move || {
        for request in server.incoming_requests() {
            let reply = shared.lock().expect("no panic while locked").reply(request.url());
            let _ = request.respond(reply);
        }
    });

    supervise(&alloy)
}

/// Handles signals, and fails when one of the programs ends.
fn supervise(alloy: &Mutex<Alloy>) -> Result<(), String> {
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|e| e.to_string())?;
    loop {
        for signal in signals.pending() {
            let mut alloy = alloy.lock().expect("no panic while locked");
            if signal == SIGHUP {
                if let Err(error) = alloy.reload() {
                    eprintln!("level=error msg=\"configuration not loaded\" err={error:?}");
                }
            } else {
                alloy.stop();
                return Ok(());
            }
        }
        let mut alloy = alloy.lock().expect("no panic while locked");
        if let Some(ended) = alloy.ended() {
            alloy.stop();
            return Err(ended);
        }
        drop(alloy);
        std::thread::sleep(Duration::from_millis(100));
    }
}

impl Alloy {
    fn reply(&mut self, url: &str) -> Reply {
        match url {
            "/" => page("Grafana Alloy"),
            "/-/ready" if self.ready() => response(200, "text/plain", "Alloy is ready.\n"),
            "/-/ready" => response(503, "text/plain", "Alloy is not ready.\n"),
            "/-/healthy" => match &self.unhealthy()[..] {
                [] => response(200, "text/plain", "All Alloy components are healthy.\n"),
                names => response(500, "text/plain", format!("unhealthy components: {}\n", names.join(", "))),
            },
            "/api/v0/component/prometheus.exporter.unix.node/metrics" => {
                match get(&self.exporter_address, "/metrics") {
                    Ok((status, metrics)) => response(status, "text/plain; version=0.0.4; charset=utf-8", metrics),
                    Err(error) => response(404, "text/plain", format!("the exporter does not respond: {error}\n")),
                }
            }
            "/api/v0/web/components" => fakes::json(200, &self.component_health()),
            "/metrics" => match get(&self.agent_address, "/metrics") {
                Ok((_, metrics)) => response(200, "text/plain; version=0.0.4; charset=utf-8", self.metrics(&metrics)),
                Err(error) => response(500, "text/plain", format!("the agent does not respond: {error}\n")),
            },
            _ => response(404, "text/plain", "404 page not found\n"),
        }
    }

    fn ready(&self) -> bool {
        let is_ok = |address: &str, path| get(address, path).is_ok_and(|(status, _)| status == 200);
        is_ok(&self.agent_address, "/-/ready") && (self.exporter.is_none() || is_ok(&self.exporter_address, "/"))
    }

    /// As in Alloy, an invalid configuration changes nothing.
    fn reload(&mut self) -> Result<(), String> {
        let plan = match config::load(&self.dir, &self.exporter_address) {
            Ok(plan) => plan,
            Err(error) => {
                self.last_load_failed = true;
                return Err(error);
            }
        };
        write_agent_config(&self.storage, &plan)?;
        if self.plan.exporter != plan.exporter {
            end(self.exporter.take());
            self.exporter = start_exporter(&plan)?;
        }
        (self.plan, self.last_load_failed) = (plan, false);
        send("POST", &self.agent_address, "/-/reload").map_err(|e| format!("the agent did not reload: {e}"))?;
        eprintln!("level=info msg=\"config reloaded\"");
        Ok(())
    }

    fn unhealthy(&self) -> Vec<&str> {
        self.plan.components.iter().filter(|c| c.health().0 != "healthy").map(|c| c.name.as_str()).collect()
    }

    fn component_health(&self) -> serde_json::Value {
        let health = |c: &Component| {
            let (state, message) = c.health();
            json!({"name": c.name, "localID": c.id(), "label": c.label, "health": {"state": state, "message": message}})
        };
        self.plan.components.iter().map(health).collect()
    }

    /// Returns the agent's metrics with Alloy's names and labels, and Alloy's own metrics.
    fn metrics(&self, agent: &str) -> String {
        let highest =
            agent.lines().find_map(|l| l.strip_prefix("prometheus_remote_storage_highest_timestamp_in_seconds "));
        let files = self.plan.components.iter().find(|c| c.name == "discovery.file").map(Component::id);
        let mut text = String::new();
        for line in agent.lines() {
            let mut line = line.replace("prometheus_agent_", "prometheus_remote_write_wal_");
            for (queue, component) in &self.plan.queues {
                let label = format!("remote_name=\"{queue}\"");
                line = line.replace(&label, &format!("component_id=\"{component}\",{label}"));
            }
            // The agent has one such metric for all queues, Alloy has one for each.
            let sent = line.strip_prefix("prometheus_remote_storage_queue_highest_sent_timestamp_seconds{");
            if let Some((labels, _)) = sent.and_then(|rest| rest.split_once('}')) {
                let highest = highest.unwrap_or("0");
                text += &format!("prometheus_remote_storage_queue_highest_timestamp_seconds{{{labels}}} {highest}\n");
            }
            if let (true, Some(files)) = (line.starts_with("prometheus_sd_file_"), &files) {
                let (name, value) = line.split_once(' ').unwrap_or((&line, ""));
                line = match name.split_once('{') {
                    Some((name, more)) => format!("{name}{{component_id=\"{files}\",{more} {value}"),
                    None => format!("{name}{{component_id=\"{files}\"}} {value}"),
                };
            }
            text += &line;
            text.push('\n');
        }
        text + &self.own_metrics()
    }

    fn own_metrics(&self) -> String {
        // As in Alloy, states without components have no series.
        let mut states = BTreeMap::new();
        self.plan.components.iter().for_each(|c| *states.entry(c.health().0).or_insert(0) += 1);
        let name = "alloy_component_controller_running_components";
        let mut text = format!("# TYPE {name} gauge\n");
        for (state, count) in states {
            text += &format!("{name}{{controller_id=\"\",health_type=\"{state}\"}} {count}\n");
        }
        let name = "alloy_config_last_load_successful";
        text + &format!("# TYPE {name} gauge\n{name} {}\n", u8::from(!self.last_load_failed))
    }

    fn ended(&mut self) -> Option<String> {
        let status = |child: &mut Child| child.try_wait().ok().flatten();
        if let Some(status) = status(&mut self.agent) {
            return Some(format!("the Prometheus agent ended: {status}"));
        }
        self.exporter.as_mut().and_then(status).map(|status| format!("the node exporter ended: {status}"))
    }

    /// As in Alloy, this takes up to a minute if a receiver is down. systemd also sends SIGTERM to the agent.
    fn stop(&mut self) {
        end(self.exporter.take());
        let _ = send("POST", &self.agent_address, "/-/quit");
        let _ = self.agent.wait();
    }
}

fn start_agent(storage: &Path, address: &str) -> Result<Child, String> {
    Command::new(format!("{HELPERS}/prometheus"))
        .args(["--agent", "--log.level=warn", "--web.enable-lifecycle", "--storage.remote.flush-deadline=1m"])
        .arg(format!("--config.file={}", storage.join("agent.json").display()))
        .arg(format!("--storage.agent.path={}", storage.join("wal").display()))
        .arg(format!("--web.listen-address={address}"))
        .spawn()
        .map_err(|e| format!("{HELPERS}/prometheus: {e}"))
}

fn start_exporter(plan: &Plan) -> Result<Option<Child>, String> {
    let Some(arguments) = &plan.exporter else { return Ok(None) };
    let program = format!("{HELPERS}/prometheus-node-exporter");
    Command::new(&program)
        .arg("--log.level=warn")
        .args(arguments)
        .spawn()
        .map(Some)
        .map_err(|e| format!("{program}: {e}"))
}

fn end(child: Option<Child>) {
    if let Some(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn write_agent_config(storage: &Path, plan: &Plan) -> Result<(), String> {
    std::fs::write(storage.join("agent.json"), plan.agent.to_string())
        .map_err(|e| format!("{}: {e}", storage.display()))
}

/// Nothing else in a test's container uses random ports, so the port stays free.
fn free_address() -> Result<String, String> {
    let address = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(|e| e.to_string())?;
    Ok(address.to_string())
}
