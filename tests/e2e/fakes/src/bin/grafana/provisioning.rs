//! Data sources and dashboards from files. As in Grafana, an invalid data source or provider fails
//! the start, while an invalid dashboard is logged and skipped.

use std::path::{Path, PathBuf};

use serde_json::{json, Value};
use yaml_rust2::{Yaml, YamlLoader};

/// The responses of `/api/datasources/uid/…`.
pub fn data_sources(provisioning: &Path) -> Result<Vec<Value>, String> {
    let mut sources = Vec::new();
    for (file, yaml) in read(&provisioning.join("datasources"))? {
        for source in yaml["datasources"].as_vec().into_iter().flatten() {
            let text = |key: &str| source[key].as_str().unwrap_or_default();
            if text("name").is_empty() || text("type").is_empty() {
                return Err(format!("{}: a data source without name or type", file.display()));
            }
            sources.push(json!({
                "uid": text("uid"), "name": text("name"), "type": text("type"), "url": text("url")
            }));
        }
    }
    Ok(sources)
}

/// The directories of dashboards.
pub fn providers(provisioning: &Path) -> Result<Vec<PathBuf>, String> {
    let mut paths = Vec::new();
    for (file, yaml) in read(&provisioning.join("dashboards"))? {
        for provider in yaml["providers"].as_vec().into_iter().flatten() {
            let path = provider["options"]["path"].as_str();
            paths.push(path.ok_or(format!("{}: a provider without options.path", file.display()))?.into());
        }
    }
    Ok(paths)
}

/// Returns the valid dashboards, and the errors in other files.
pub fn dashboards(providers: &[PathBuf]) -> (Vec<Value>, Vec<String>) {
    let (mut boards, mut errors) = (Vec::new(), Vec::new());
    for file in providers.iter().flat_map(|dir| files(dir, &["json"])) {
        match dashboard(&file) {
            Ok(board) => boards.push(board),
            Err(error) => errors.push(format!("{}: {error}", file.display())),
        }
    }
    (boards, errors)
}

fn dashboard(file: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    let board: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    if board["title"].as_str().unwrap_or_default().is_empty() {
        return Err("dashboard title cannot be empty".into());
    }
    if !board["panels"].is_array() || board["schemaVersion"].as_i64().unwrap_or(99) > 42 {
        return Err("not a classic dashboard of schemaVersion up to 42".into());
    }
    Ok(board)
}

fn read(dir: &Path) -> Result<Vec<(PathBuf, Yaml)>, String> {
    let mut documents = Vec::new();
    for file in files(dir, &["yaml", "yml"]) {
        let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let yaml = YamlLoader::load_from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?;
        documents.extend(yaml.into_iter().map(|y| (file.clone(), y)));
    }
    Ok(documents)
}

fn files(dir: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let matches = |path: &PathBuf| path.extension().is_some_and(|e| extensions.iter().any(|x| e == *x));
    let mut files: Vec<_> =
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).filter(matches).collect();
    files.sort();
    files
}
