//! Fake for Grafana: it reads grafana.ini and the provisioning, keeps a password, and answers the part of Grafana's API that
//! tells whether data source and dashboards are there and whether a query gets through to Prometheus. It draws nothing.

mod ini;
mod plugin;
mod provisioning;
mod users;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use fakes::{answer, header, header_of, json, option, page, Answer, VERSION};
use ini::Ini;
use plugin::{moment, Plugin};
use provisioning::{dashboards, Provider};
use serde_json::{json, Value};
use signal_hook::consts::{SIGINT, SIGTERM};
use tiny_http::Request;
use users::Users;

fn main() -> ExitCode {
    let mut args = std::env::args();
    let program = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    let is_plugin = Path::new(&program).file_name().is_some_and(|n| n.to_string_lossy().starts_with(plugin::PREFIX));
    let result = match args.first().map(String::as_str) {
        Some(socket) if is_plugin => plugin::serve(socket),
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
    providers: Vec<Provider>,
    home_dashboard: PathBuf,
    plugin: Result<Plugin, String>,
    /// The metric that has the plugin: versions that have it compiled in report another one.
    plugin_metric: &'static str,
    /// How many requests were answered with which status.
    answered: BTreeMap<u16, u64>,
}

/// What Grafana redirects to its public address: below a subpath whatever lacks it, with `enforce_domain` whatever is sent
/// to another host, except what monitors it.
struct Public {
    url: String,
    subpath: String,
    domain: Option<String>,
}

impl Public {
    fn of(ini: &Ini) -> Self {
        let value = |key, default| ini.get("server", key, default);
        let mut url = value("root_url", "%(protocol)s://%(domain)s:%(http_port)s/");
        for (key, default) in [("protocol", "http"), ("domain", "localhost"), ("http_port", "3000")] {
            url = url.replace(&format!("%({key})s"), &value(key, default));
        }
        let url = url.trim_end_matches('/').to_owned();
        let path = url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
        Public {
            url,
            subpath: if value("serve_from_sub_path", "false") == "true" { path } else { String::new() },
            domain: Some(value("domain", "localhost")).filter(|_| value("enforce_domain", "false") == "true"),
        }
    }

    /// The path below the subpath, or where the request is redirected.
    fn path(&self, request: &Request) -> Result<String, Answer> {
        let elsewhere =
            || answer(301, "text/plain", "").with_header(header("Location", &(self.url.clone() + request.url())));
        let path = request.url().strip_prefix(self.subpath.as_str()).ok_or_else(elsewhere)?;
        let path = path.split('?').next().unwrap_or_default();
        let host = header_of(request, "Host").and_then(|host| host.split(':').next()).unwrap_or_default();
        match &self.domain {
            Some(domain) if domain != host && path != "/metrics" && path != "/api/health" => Err(elsewhere()),
            _ => Ok(path.to_owned()),
        }
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
    let first = ini.get("security", "admin_password", "admin");
    let users = Users::open(data.join("grafana.db"), ini.get("security", "admin_user", "admin"), &first)?;
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
        [.., command, password] if command == "reset-admin-password" => users.set_password(password),
        _ => Err(
            "usage: grafana cli --homepath=DIR --config=FILE admin reset-admin-password PASSWORD|--password-from-stdin"
                .into(),
        ),
    }?;
    println!("Admin password changed successfully ✔");
    Ok(())
}

fn serve(args: &[String]) -> Result<(), String> {
    let (home, ini, users) = settings(args)?;
    let provisioning = ini.path("provisioning", "conf/provisioning");
    let mut grafana = Grafana {
        users,
        public: Public::of(&ini),
        data_sources: provisioning::data_sources(&provisioning)?,
        providers: provisioning::providers(&provisioning)?,
        home_dashboard: ini.get("dashboards", "default_home_dashboard_path", "").into(),
        plugin: Plugin::start(&home.join("data/plugins-bundled/prometheus")),
        // The tests' next release of an archive has this file.
        plugin_metric: if home.join("next").exists() { "target_info" } else { "build_info" },
        answered: BTreeMap::new(),
    };
    let (_, wrong) = dashboards(&mut grafana.providers);
    wrong.iter().chain(grafana.plugin.as_ref().err()).for_each(|error| eprintln!("level=error msg={error:?}"));

    let address = format!("{}:{}", ini.get("server", "http_addr", "0.0.0.0"), ini.get("server", "http_port", "3000"));
    let server = tiny_http::Server::http(&address).map_err(|e| format!("{address}: {e}"))?;
    eprintln!("level=info msg=\"this is a fake for Grafana\" version={VERSION} listening={address}");

    let grafana = Arc::new(Mutex::new(grafana));
    let shared = grafana.clone();
    std::thread::spawn(move || {
        for mut request in server.incoming_requests() {
            let mut grafana = shared.lock().expect("no panic while locked");
            let answer = grafana.answer(&mut request);
            *grafana.answered.entry(answer.status_code().0).or_default() += 1;
            drop(grafana);
            let _ = request.respond(answer);
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
    fn answer(&mut self, request: &mut Request) -> Answer {
        let path = match self.public.path(request) {
            Ok(path) => path,
            Err(redirect) => return redirect,
        };
        match path.as_str() {
            "/api/health" => return json(200, &json!({"commit": "fake", "database": "ok", "version": VERSION})),
            "/metrics" => return answer(200, "text/plain; version=0.0.4; charset=utf-8", self.metrics()),
            "/login" => {
                return page(
                    "Grafana",
                    "<p>The API takes a login (HTTP basic), and there is nothing else to see here.</p>",
                )
            }
            "/" if header_of(request, "Authorization").is_none() => {
                return answer(302, "text/plain", "").with_header(header("Location", "/login"))
            }
            _ => {}
        }
        if !header_of(request, "Authorization").is_some_and(|login| self.users.may_enter(login)) {
            return json(401, &json!({"message": "invalid username or password", "traceID": ""}));
        }
        let mut body = String::new();
        let _ = std::io::Read::read_to_string(request.as_reader(), &mut body);
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        let (shown, _) = dashboards(&mut self.providers);
        match (request.method().as_str(), path.as_str()) {
            ("GET", "/") => page("Grafana", &list(&shown)),
            ("GET", "/api/user") => {
                json(200, &json!({"id": 1, "login": self.users.name(), "orgId": 1, "isGrafanaAdmin": true}))
            }
            ("GET", "/api/org") => json(200, &json!({"id": 1, "name": "Main Org."})),
            ("PUT", "/api/user/password") => self.change_password(&body),
            ("GET", "/api/datasources") => json(200, &json!(self.data_sources)),
            ("GET", "/api/search") => json(200, &shown.iter().enumerate().map(|(i, d)| found(i, d)).collect()),
            ("GET", "/api/dashboards/home") => match provisioning::dashboard(&self.home_dashboard) {
                Ok(dashboard) => json(200, &json!({"meta": {"isHome": true}, "dashboard": dashboard})),
                Err(error) => json(500, &json!({ "message": error })),
            },
            ("POST", "/api/ds/query") => self.query(&body),
            ("GET", path) => {
                let last = path.rsplit('/').next().unwrap_or_default();
                let thing = match path.strip_suffix(last) {
                    Some("/api/datasources/uid/") => self.data_source(last),
                    Some("/api/dashboards/uid/") => shown.iter().find(|d| d["dashboard"]["uid"] == last),
                    _ => None,
                };
                thing.map_or_else(|| json(404, &json!({"message": "Not found"})), |thing| json(200, thing))
            }
            _ => json(404, &json!({"message": "Not found"})),
        }
    }

    fn data_source(&self, uid: &str) -> Option<&Value> {
        self.data_sources.iter().find(|d| d["uid"] == uid)
    }

    fn change_password(&self, body: &Value) -> Answer {
        match (body["oldPassword"].as_str(), body["newPassword"].as_str()) {
            (Some(old), Some(new)) if old == self.users.password() && new.len() >= 4 => {
                match self.users.set_password(new) {
                    Ok(()) => json(200, &json!({"message": "User password changed"})),
                    Err(error) => json(500, &json!({ "message": error })),
                }
            }
            _ => json(401, &json!({"message": "Invalid old password, or a new one that is too short"})),
        }
    }

    fn query(&self, body: &Value) -> Answer {
        let mut results = json!({});
        let mut worst = 200;
        for query in body["queries"].as_array().into_iter().flatten() {
            let Some(source) = query["datasource"]["uid"].as_str().and_then(|uid| self.data_source(uid)) else {
                return json(404, &json!({"message": "Data source not found"}));
            };
            let plugin = match &self.plugin {
                Ok(plugin) => plugin,
                Err(_) => {
                    return json(404, &json!({"message": "Plugin not found", "messageId": "plugin.notRegistered"}))
                }
            };
            let result = plugin.ask(&json!({
                "address": source["url"].as_str().unwrap_or_default().trim_start_matches("http://").trim_end_matches('/'),
                "refId": query["refId"], "expr": query["expr"], "range": query["range"],
                "from": moment(&body["from"]), "to": moment(&body["to"]), "step": query["intervalMs"].as_f64().unwrap_or(15000.0) / 1000.0
            }));
            let result = result.unwrap_or_else(|error| json!({"status": 500, "error": error, "frames": []}));
            worst = worst.max(if result["status"] == 200 { 200 } else { 400 });
            results[query["refId"].as_str().unwrap_or("A")] = result;
        }
        json(worst, &json!({ "results": results }))
    }

    fn metrics(&mut self) -> String {
        let mut text = format!(
            "# TYPE grafana_build_info gauge\ngrafana_build_info{{branch=\"\",edition=\"fake\",goversion=\"\",revision=\"\",version=\"{VERSION}\"}} 1\n\
             # TYPE grafana_stat_totals_dashboard gauge\ngrafana_stat_totals_dashboard {}\n\
             # TYPE grafana_stat_totals_datasource gauge\ngrafana_stat_totals_datasource{{plugin_id=\"prometheus\"}} {}\n\
             # TYPE grafana_alerting_alerts gauge\ngrafana_alerting_alerts{{state=\"normal\"}} 0\n",
            dashboards(&mut self.providers).0.len(),
            self.data_sources.len(),
        );
        text += "# TYPE grafana_http_request_duration_seconds_count counter\n";
        for (status, count) in &self.answered {
            text += &format!("grafana_http_request_duration_seconds_count{{handler=\"\",method=\"\",status_code=\"{status}\"}} {count}\n");
        }
        if let Ok(plugin) = &self.plugin {
            text += &format!(
                "# TYPE grafana_plugin_{0} gauge\n\
                 grafana_plugin_{0}{{plugin_id=\"prometheus\",plugin_type=\"datasource\",signature_status=\"internal\",version=\"{1}\"}} 1\n",
                self.plugin_metric, plugin.version
            );
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

fn found(index: usize, dashboard: &Value) -> Value {
    let (meta, dashboard) = (&dashboard["meta"], &dashboard["dashboard"]);
    json!({"id": index + 1, "uid": dashboard["uid"], "title": dashboard["title"], "url": meta["url"], "type": "dash-db",
        "tags": dashboard["tags"], "isStarred": false, "folderTitle": meta["folderTitle"]})
}

fn list(dashboards: &[Value]) -> String {
    let items: String =
        dashboards.iter().map(|d| format!("<li>{}\n", d["dashboard"]["title"].as_str().unwrap_or_default())).collect();
    format!("<p>Dashboards that Grafana would draw:</p>\n<ul>\n{items}</ul>")
}
