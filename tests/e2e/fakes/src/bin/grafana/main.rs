//! Fake for Grafana. It reads grafana.ini and the provisioning, stores a password, and serves the
//! part of Grafana's API that verify.sh uses: data sources, dashboards and queries to Prometheus.

mod ini;
mod plugin;
mod provisioning;
mod users;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use fakes::{header, header_of, json, option, page, response, Reply, VERSION};
use ini::Ini;
use plugin::Plugin;
use provisioning::dashboards;
use serde_json::{json, Value};
use signal_hook::consts::{SIGINT, SIGTERM};
use tiny_http::Request;
use users::Users;

fn main() -> ExitCode {
    let mut args = std::env::args();
    let program = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    let result = match args.first().map(String::as_str) {
        Some(socket) if program.ends_with(plugin::PROGRAM) => plugin::serve(socket),
        Some("--version" | "-v") => {
            println!("grafana version {VERSION} (a fake for tests, not Grafana)");
            Ok(())
        }
        Some("server") => serve(&args),
        Some("cli") => reset_password(&args),
        _ => Err("usage: grafana server|cli --homepath=DIR --config=FILE".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: ✗ {error}");
            ExitCode::FAILURE
        }
    }
}

struct Grafana {
    users: Users,
    public: Public,
    data_sources: Vec<Value>,
    providers: Vec<PathBuf>,
    plugin: Result<Plugin, String>,
    /// Responses by status.
    responses: BTreeMap<u16, u64>,
}

/// The public URL, to which Grafana redirects requests outside its subpath, except those to `/api`.
struct Public {
    url: String,
    subpath: String,
}

impl Public {
    fn of(ini: &Ini) -> Self {
        let url = ini.get("server", "root_url", "").trim_end_matches('/').to_owned();
        let path = url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
        let is_subpath = ini.get("server", "serve_from_sub_path", "false") == "true";
        Public { url, subpath: if is_subpath { path } else { String::new() } }
    }

    /// Returns the path below the subpath, or the redirect.
    fn path(&self, request: &Request) -> Result<String, Reply> {
        let redirect =
            || response(301, "text/plain", "").with_header(header("Location", &(self.url.clone() + request.url())));
        let path = match request.url().strip_prefix(self.subpath.as_str()) {
            Some(path) => path,
            None if request.url().starts_with("/api") => request.url(),
            None => return Err(redirect()),
        };
        Ok(path.split('?').next().unwrap_or_default().to_owned())
    }
}

fn settings(args: &[String]) -> Result<(PathBuf, Ini, Users), String> {
    let home = PathBuf::from(option(args, "--homepath").ok_or("--homepath is missing")?);
    if !home.join("conf/defaults.ini").exists() {
        return Err(format!("{}/conf/defaults.ini: no such file", home.display()));
    }
    let config = option(args, "--config").ok_or("--config is missing")?;
    let ini = Ini::read(Path::new(&config), &home)?;
    let data = ini.path("data", "data");
    std::fs::create_dir_all(&data).map_err(|e| format!("{}: {e}", data.display()))?;
    let users = Users::open(data.join("grafana.db"), &ini.get("security", "admin_password", "admin"))?;
    Ok((home, ini, users))
}

fn reset_password(args: &[String]) -> Result<(), String> {
    let (_, _, users) = settings(args)?;
    match args {
        [.., command, flag] if command == "reset-admin-password" && flag == "--password-from-stdin" => {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map_err(|e| e.to_string())?;
            users.set_password(line.trim_end_matches('\n'))
        }
        _ => Err("usage: grafana cli … admin reset-admin-password --password-from-stdin".into()),
    }?;
    println!("Admin password changed successfully ✔");
    Ok(())
}

fn serve(args: &[String]) -> Result<(), String> {
    let (home, ini, users) = settings(args)?;
    let provisioning = ini.path("provisioning", "conf/provisioning");
    let grafana = Grafana {
        users,
        public: Public::of(&ini),
        data_sources: provisioning::data_sources(&provisioning)?,
        providers: provisioning::providers(&provisioning)?,
        plugin: Plugin::start(&home.join("data/plugins-bundled/prometheus")),
        responses: BTreeMap::new(),
    };
    let (_, errors) = dashboards(&grafana.providers);
    errors.iter().chain(grafana.plugin.as_ref().err()).for_each(|error| eprintln!("level=error msg={error:?}"));

    let address = format!("{}:{}", ini.get("server", "http_addr", "0.0.0.0"), ini.get("server", "http_port", "3000"));
    let server = tiny_http::Server::http(&address).map_err(|e| format!("{address}: {e}"))?;
    eprintln!("level=info msg=\"this is a fake for Grafana\" version={VERSION} listening={address}");

    let grafana = Arc::new(Mutex::new(grafana));
    let shared = grafana.clone();
    std::thread::spawn(move || {
        for mut request in server.incoming_requests() {
            let mut grafana = shared.lock().expect("no panic while locked");
            let reply = grafana.reply(&mut request);
            *grafana.responses.entry(reply.status_code().0).or_default() += 1;
            drop(grafana);
            let _ = request.respond(reply);
        }
    });
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT]).map_err(|e| e.to_string())?;
    signals.forever().next();
    if let Ok(plugin) = &mut grafana.lock().expect("no panic while locked").plugin {
        plugin.stop();
    }
    Ok(())
}

impl Grafana {
    fn reply(&mut self, request: &mut Request) -> Reply {
        let path = match self.public.path(request) {
            Ok(path) => path,
            Err(redirect) => return redirect,
        };
        match path.as_str() {
            "/api/health" => return json(200, &json!({"database": "ok", "version": VERSION})),
            "/metrics" => return response(200, "text/plain; version=0.0.4; charset=utf-8", self.metrics()),
            "/" | "/login" => return page("Grafana"),
            _ => {}
        }
        if !header_of(request, "Authorization").is_some_and(|login| self.users.may_enter(login)) {
            return json(401, &json!({"message": "invalid username or password"}));
        }
        let mut body = String::new();
        let _ = std::io::Read::read_to_string(request.as_reader(), &mut body);
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        let not_found = || json(404, &json!({"message": "Not found"}));
        match (request.method().as_str(), path.as_str()) {
            ("GET", "/api/org") => json(200, &json!({"id": 1, "name": "Main Org."})),
            ("PUT", "/api/user/password") => self.change_password(&body),
            ("POST", "/api/ds/query") => self.query(&body),
            ("GET", path) => match path.rsplit_once('/') {
                Some(("/api/datasources/uid", uid)) => {
                    self.data_source(uid).map_or_else(not_found, |source| json(200, source))
                }
                Some(("/api/dashboards/uid", uid)) => dashboards(&self.providers)
                    .0
                    .into_iter()
                    .find(|board| board["uid"] == uid)
                    .map_or_else(not_found, |board| json(200, &json!({ "dashboard": board }))),
                _ => not_found(),
            },
            _ => not_found(),
        }
    }

    fn data_source(&self, uid: &str) -> Option<&Value> {
        self.data_sources.iter().find(|d| d["uid"] == uid)
    }

    fn change_password(&self, body: &Value) -> Reply {
        match (body["oldPassword"].as_str(), body["newPassword"].as_str()) {
            (Some(old), Some(new)) if old == self.users.password() => match self.users.set_password(new) {
                Ok(()) => json(200, &json!({"message": "User password changed"})),
                Err(error) => json(500, &json!({ "message": error })),
            },
            _ => json(401, &json!({"message": "invalid old password"})),
        }
    }

    fn query(&self, body: &Value) -> Reply {
        let mut results = json!({});
        let mut status = 200;
        for query in body["queries"].as_array().into_iter().flatten() {
            let Some(source) = query["datasource"]["uid"].as_str().and_then(|uid| self.data_source(uid)) else {
                return json(404, &json!({"message": "Data source not found"}));
            };
            let Ok(plugin) = &self.plugin else {
                return json(404, &json!({"message": "Plugin not found"}));
            };
            let address = source["url"].as_str().unwrap_or_default().trim_start_matches("http://");
            let result = plugin.query(&json!({"address": address, "expr": query["expr"]}));
            let result = result.unwrap_or_else(|error| json!({"status": 500, "error": error, "frames": []}));
            if result["status"] != 200 {
                status = 400;
            }
            results[query["refId"].as_str().unwrap_or("A")] = result;
        }
        json(status, &json!({ "results": results }))
    }

    fn metrics(&self) -> String {
        let mut text = "# TYPE grafana_http_request_duration_seconds_count counter\n".to_owned();
        for (status, count) in &self.responses {
            text += &format!(
                "grafana_http_request_duration_seconds_count{{handler=\"\",status_code=\"{status}\"}} {count}\n"
            );
        }
        if self.plugin.is_ok() {
            text += "# TYPE grafana_plugin_target_info gauge\n\
                 grafana_plugin_target_info{plugin_id=\"prometheus\",target=\"in-memory\"} 1\n";
        }
        text + &memory()
    }
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes =
        status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
    format!(
        "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {}\n",
        kilobytes.unwrap_or(0) * 1024
    )
}
