//! Data sources and dashboards from files. As in Grafana, a broken data source or provider ends the start, while a broken
//! dashboard is logged and left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{json, Value};
use yaml_rust2::{Yaml, YamlLoader};

pub struct Provider {
    folder: String,
    path: PathBuf,
    /// What it has written to the database, and what was wrong with other files.
    written: Option<(Vec<Value>, Vec<String>)>,
}

/// As `/api/datasources/uid/…` shows them.
pub fn data_sources(provisioning: &Path) -> Result<Vec<Value>, String> {
    let mut found = Vec::new();
    for (file, yaml) in read(&provisioning.join("datasources"))? {
        for source in yaml["datasources"].as_vec().into_iter().flatten() {
            let text = |key: &str| source[key].as_str().unwrap_or_default();
            if text("name").is_empty() || text("type").is_empty() {
                return Err(format!("{}: a data source without name or type", file.display()));
            }
            found.push(json!({
                "id": found.len() + 1, "uid": text("uid"), "orgId": 1, "name": text("name"), "type": text("type"), "typeLogoUrl": "",
                "access": text("access"), "url": text("url"), "user": "", "database": "", "basicAuth": false, "basicAuthUser": "",
                "withCredentials": false, "isDefault": source["isDefault"].as_bool().unwrap_or(false), "jsonData": to_json(&source["jsonData"]),
                "secureJsonFields": {}, "version": 1, "readOnly": !source["editable"].as_bool().unwrap_or(false)
            }));
        }
    }
    Ok(found)
}

pub fn providers(provisioning: &Path) -> Result<Vec<Provider>, String> {
    let mut found = Vec::new();
    for (file, yaml) in read(&provisioning.join("dashboards"))? {
        for provider in yaml["providers"].as_vec().into_iter().flatten() {
            let path = provider["options"]["path"]
                .as_str()
                .ok_or(format!("{}: a provider without options.path", file.display()))?;
            found.push(Provider {
                folder: provider["folder"].as_str().unwrap_or_default().to_owned(),
                path: path.into(),
                written: None,
            });
        }
    }
    Ok(found)
}

/// The dashboards as `/api/dashboards/uid/…` shows them; and what is wrong with other files. As in Grafana, a provider writes what
/// is there at the start, and then no change while a uid of its files, or a title in one folder, is there twice.
pub fn dashboards(providers: &mut [Provider]) -> (Vec<Value>, Vec<String>) {
    let found: Vec<_> = providers.iter().map(found).collect();
    let mut times = BTreeMap::new();
    let names = |board: &Value| {
        let of = |key: &str| board["dashboard"][key].as_str().unwrap_or_default().to_owned();
        [(String::new(), of("uid")), (board["meta"]["folderTitle"].to_string(), of("title"))]
    };
    found.iter().flat_map(|(boards, _)| boards).flat_map(names).for_each(|name| *times.entry(name).or_insert(0) += 1);
    let is_twice = |name: &(String, String)| !name.1.is_empty() && times[name] > 1;
    for (provider, now) in providers.iter_mut().zip(found) {
        if provider.written.is_none() || !now.0.iter().flat_map(names).any(|name| is_twice(&name)) {
            provider.written = Some(now);
        }
    }
    let (boards, wrong): (Vec<_>, Vec<_>) = providers.iter().filter_map(|p| p.written.clone()).unzip();
    (boards.concat(), wrong.concat())
}

fn found(provider: &Provider) -> (Vec<Value>, Vec<String>) {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for file in files(&provider.path, &["json"]) {
        match dashboard(&file) {
            Ok(dashboard) => {
                let (uid, title) = (dashboard["uid"].clone(), dashboard["title"].clone());
                let slug = title.as_str().unwrap_or_default().to_lowercase().replace(' ', "-");
                found.push(json!({
                    "meta": {"type": "db", "slug": slug, "url": format!("/d/{}/{slug}", uid.as_str().unwrap_or_default()), "isFolder": false,
                        "folderTitle": provider.folder, "provisioned": true,
                        "provisionedExternalId": file.file_name().map(|n| n.to_string_lossy())},
                    "dashboard": dashboard
                }));
            }
            Err(error) => wrong.push(format!("{}: {error}", file.display())),
        }
    }
    (found, wrong)
}

pub fn dashboard(file: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    let dashboard: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    if dashboard["title"].as_str().unwrap_or_default().is_empty() {
        return Err("dashboard title cannot be empty".into());
    }
    if !dashboard["panels"].is_array() || dashboard["schemaVersion"].as_i64().unwrap_or(99) > 42 {
        return Err("not a classic dashboard of schemaVersion up to 42".into());
    }
    Ok(dashboard)
}

fn read(folder: &Path) -> Result<Vec<(PathBuf, Yaml)>, String> {
    let mut found = Vec::new();
    for file in files(folder, &["yaml", "yml"]) {
        let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let yaml = YamlLoader::load_from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?;
        found.extend(yaml.into_iter().map(|y| (file.clone(), y)));
    }
    Ok(found)
}

fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let has_ending = |path: &PathBuf| path.extension().is_some_and(|e| endings.iter().any(|ending| e == *ending));
    let mut files: Vec<_> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).filter(has_ending).collect();
    files.sort();
    files
}

fn to_json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::String(text) => json!(text),
        Yaml::Integer(number) => json!(number),
        Yaml::Real(number) => json!(number.parse::<f64>().ok()),
        Yaml::Boolean(value) => json!(value),
        Yaml::Array(items) => items.iter().map(to_json).collect(),
        Yaml::Hash(map) => map
            .iter()
            .map(|(k, v)| (k.as_str().unwrap_or_default().to_owned(), to_json(v)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        _ => json!({}),
    }
}
