//! Translates a directory of Alloy configuration into a configuration of Prometheus in agent mode.
//! Errors have the file and the line, also for components that only the fake does not support.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{json, Map, Value};

use crate::parse::{parse, Block, Expr, Result};

/// The programs to run for a configuration.
pub struct Plan {
    /// Prometheus' configuration in JSON, which is valid YAML.
    pub agent: Value,
    /// The host exporter's arguments, if it is configured.
    pub exporter: Option<Vec<String>>,
    pub components: Vec<Component>,
    /// The component of each queue, by the queue's name.
    pub queues: BTreeMap<String, String>,
}

pub struct Component {
    pub name: String,
    pub label: String,
    /// The file of a `local.file`.
    file: Option<String>,
}

impl Component {
    pub fn id(&self) -> String {
        format!("{}.{}", self.name, self.label)
    }

    /// Returns the state and the reason. As in Alloy, a `local.file` is unhealthy if its file is unreadable.
    pub fn health(&self) -> (&'static str, String) {
        match self.file.as_ref().map(|file| (file, std::fs::read(file))) {
            None => ("healthy", "started component".into()),
            Some((_, Ok(_))) => ("healthy", "read file".into()),
            Some((file, Err(error))) => ("unhealthy", format!("failed to read file: {file}: {error}")),
        }
    }
}

/// Components with their exports. The programs that do the work check the attributes.
const KNOWN: &[(&str, &[&str])] = &[
    ("discovery.file", &["targets"]),
    ("discovery.relabel", &["output"]),
    ("local.file", &[]),
    ("prometheus.exporter.unix", &["targets"]),
    ("prometheus.relabel", &["receiver"]),
    ("prometheus.remote_write", &["receiver"]),
    ("prometheus.scrape", &[]),
];
/// Attributes of a scrape that Prometheus has under another name.
const NOT_PASSED_ON: &[&str] = &["targets", "forward_to", "job_name"];
/// Blocks that are no components.
const SETTINGS: &[&str] = &["logging"];
const FILES: &str = " files";
const RECEIVER: &str = " receiver";
const INNER: &str = " inner";

/// `exporter`: the address of the host exporter.
pub fn load(dir: &Path, exporter: &str) -> Result<Plan> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .map_err(|e| format!("{}: {e}", dir.display()))?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "alloy"))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(format!("{}: no *.alloy file", dir.display()));
    }
    let mut blocks = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let root = parse(&file.display().to_string(), text.trim_start_matches('\u{feff}'))?;
        if let Some((name, _)) = root.attributes.first() {
            return Err(format!("{}: unrecognized attribute name {name:?}", file.display()));
        }
        blocks.extend(root.blocks);
    }
    let graph = Graph::of(blocks, exporter)?;
    graph.plan()
}

struct Graph<'a> {
    components: BTreeMap<String, Block>,
    exporter: &'a str,
    host: String,
}

impl<'a> Graph<'a> {
    fn of(blocks: Vec<Block>, exporter: &'a str) -> Result<Self> {
        let mut components: BTreeMap<String, Block> = BTreeMap::new();
        for block in blocks {
            let place = block.place.clone();
            if SETTINGS.contains(&block.name.as_str()) {
                continue;
            }
            known(&block.name).ok_or(format!("{place}: the fake does not support component {:?}", block.name))?;
            if block.label.is_empty() {
                return Err(format!("{place}: component {:?} must have a label", block.name));
            }
            let id = format!("{}.{}", block.name, block.label);
            if let Some(first) = components.insert(id.clone(), block) {
                return Err(format!("{place}: component {id} already declared at {}", first.place));
            }
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").map_err(|e| e.to_string())?.trim().to_owned();
        Ok(Graph { components, exporter, host })
    }

    fn plan(&self) -> Result<Plan> {
        let scrapes: Vec<_> = self.named("prometheus.scrape").collect();
        let mut routes = Vec::new();
        for (id, block) in &scrapes {
            routes.push((*id, *block, self.receivers(block, 0)?));
        }
        let mut queues = BTreeMap::new();
        let mut writes = Vec::new();
        for (id, block) in self.named("prometheus.remote_write") {
            for endpoint in block.blocks_named("endpoint") {
                let mut write = self.object(endpoint, 0)?;
                let name =
                    write.get("name").and_then(Value::as_str).map_or(format!("{id}-{}", queues.len()), str::to_owned);
                write.insert("name".into(), json!(name));
                let mut rules = self.drop_rules(&routes, id)?;
                match write.remove("write_relabel_config") {
                    Some(Value::Array(own)) => rules.extend(own),
                    own => rules.extend(own),
                }
                write.insert("write_relabel_configs".into(), Value::Array(rules));
                writes.push(Value::Object(write));
                queues.insert(name, id.clone());
            }
        }
        let mut configs = Vec::new();
        for (id, block) in &scrapes {
            configs.extend(self.scrape(id, block)?);
        }
        Ok(Plan {
            exporter: self
                .named("prometheus.exporter.unix")
                .next()
                .map(|(_, b)| self.exporter_arguments(b))
                .transpose()?,
            agent: json!({"scrape_configs": configs, "remote_write": writes}),
            components: self.components.values().map(|b| self.component(b)).collect::<Result<_>>()?,
            queues,
        })
    }

    /// Returns rules that drop the samples of scrapes that do not reach this remote write, because the
    /// agent sends every sample to every remote write.
    fn drop_rules(&self, routes: &[(&String, &Block, Vec<String>)], write: &String) -> Result<Vec<Value>> {
        let others = routes.iter().filter(|(_, _, receivers)| !receivers.contains(write));
        others
            .map(|(scrape, block, _)| {
                let job = block.attribute("job_name").map(|e| self.value(e, &block.place, 0)).transpose()?;
                Ok(json!({"source_labels": ["job"], "regex": job.unwrap_or(json!(scrape)), "action": "drop"}))
            })
            .collect()
    }

    fn named<'b>(&'b self, name: &'b str) -> impl Iterator<Item = (&'b String, &'b Block)> {
        self.components.iter().filter(move |(_, b)| b.name == name)
    }

    /// Returns the remote writes that a component's samples reach.
    fn receivers(&self, from: &Block, depth: usize) -> Result<Vec<String>> {
        if from.blocks_named("rule").next().is_some() || depth > 50 {
            return Err(format!("{}: the fake supports neither rules nor cycles here", from.place));
        }
        let targets =
            from.attribute("forward_to").ok_or(format!("{}: missing required attribute \"forward_to\"", from.place))?;
        let Value::Array(targets) = self.value(targets, &from.place, 0)? else {
            return Err(format!("{}: forward_to must be a list", from.place));
        };
        let mut found = Vec::new();
        for target in targets {
            let id = target[RECEIVER].as_str().ok_or(format!("{}: forward_to must name receivers", from.place))?;
            match &self.components[id] {
                write if write.name == "prometheus.remote_write" => found.push(id.to_owned()),
                relabel => found.extend(self.receivers(relabel, depth + 1)?),
            }
        }
        Ok(found)
    }

    /// Returns a scrape configuration for each source of targets.
    fn scrape(&self, id: &str, block: &Block) -> Result<Vec<Value>> {
        let mut common = self.object(block, 0)?;
        let job = common.get("job_name").and_then(Value::as_str).unwrap_or(id).to_owned();
        common.retain(|name, _| !NOT_PASSED_ON.contains(&name.as_str()));
        common.entry("scrape_interval").or_insert(json!("60s"));
        // Alloy's defaults, which differ from Prometheus'.
        let names = common.entry("metric_name_validation_scheme").or_insert(json!("legacy"));
        let escaping = if names == "utf8" { "allow-utf-8" } else { "underscores" };
        common.entry("metric_name_escaping_scheme").or_insert(json!(escaping));
        let targets =
            block.attribute("targets").ok_or(format!("{}: missing required attribute \"targets\"", block.place))?;
        let Value::Array(targets) = self.value(targets, &block.place, 0)? else {
            return Err(format!("{}: targets must be a list", block.place));
        };
        let mut configs = Vec::new();
        for (i, target) in targets.into_iter().enumerate() {
            // Prometheus requires unique names, so a rule sets the job's name.
            let unique = format!("{id}#{i}");
            let mut rules =
                vec![json!({"source_labels": ["job"], "regex": unique, "target_label": "job", "replacement": job})];
            let mut config = common.clone();
            let source = unwrap(target, &mut rules);
            if let Some(files) = source.get(FILES) {
                config.insert("file_sd_configs".into(), json!([{"files": files}]));
            } else if let Value::Object(mut labels) = source {
                let address =
                    labels.remove("__address__").ok_or(format!("{}: a target without __address__", block.place))?;
                config.insert("static_configs".into(), json!([{"targets": [address], "labels": labels}]));
            }
            config.insert("job_name".into(), json!(unique));
            config.insert("relabel_configs".into(), Value::Array(rules));
            configs.push(Value::Object(config));
        }
        Ok(configs)
    }

    fn exporter_arguments(&self, block: &Block) -> Result<Vec<String>> {
        let mut arguments =
            vec!["--web.disable-exporter-metrics".to_owned(), format!("--web.listen-address={}", self.exporter)];
        // These are on in Debian's build and off in Alloy.
        arguments.extend(["--no-collector.systemd".to_owned(), "--collector.textfile.directory=".to_owned()]);
        for (name, value) in self.object(block, 0)? {
            match (name.as_str(), value) {
                ("disable_collectors", Value::Array(names)) => {
                    arguments.extend(names.iter().map(|n| format!("--no-collector.{}", plain(n))))
                }
                (collector, Value::Object(options)) => arguments.extend(
                    options
                        .iter()
                        .map(|(k, v)| format!("--collector.{collector}.{}={}", k.replace('_', "-"), plain(v))),
                ),
                _ => return Err(format!("{}: the fake does not support {name}", block.place)),
            }
        }
        Ok(arguments)
    }

    fn rules(&self, relabel: &str) -> Result<Vec<Value>> {
        self.components[relabel].blocks_named("rule").map(|rule| Ok(Value::Object(self.object(rule, 0)?))).collect()
    }

    /// Returns a block's attributes and inner blocks as an object. Repeated blocks become a list.
    fn object(&self, block: &Block, depth: usize) -> Result<Map<String, Value>> {
        let mut object = Map::new();
        for (name, value) in &block.attributes {
            object.insert(name.clone(), self.value(value, &block.place, depth)?);
        }
        for inner in &block.blocks {
            let value = Value::Object(self.object(inner, depth)?);
            match object.get_mut(&inner.name) {
                None => drop(object.insert(inner.name.clone(), value)),
                Some(Value::Array(list)) => list.push(value),
                Some(first) => *first = json!([first.take(), value]),
            }
        }
        Ok(object)
    }

    fn value(&self, expression: &Expr, place: &str, depth: usize) -> Result<Value> {
        if depth > 50 {
            return Err(format!("{place}: cycle in the references"));
        }
        let of = |e: &Expr| self.value(e, place, depth + 1);
        Ok(match expression {
            Expr::Literal(value) => value.clone(),
            Expr::List(items) => Value::Array(items.iter().map(of).collect::<Result<_>>()?),
            Expr::Object(entries) => {
                Value::Object(entries.iter().map(|(k, e)| Ok((k.clone(), of(e)?))).collect::<Result<_>>()?)
            }
            Expr::Add(a, b) => match (of(a)?, of(b)?) {
                (Value::String(a), Value::String(b)) => json!(a + &b),
                _ => return Err(format!("{place}: the fake only adds strings")),
            },
            Expr::Call(name, arguments) => {
                let arguments = arguments.iter().map(of).collect::<Result<Vec<_>>>()?;
                match (name.as_str(), arguments.as_slice()) {
                    ("sys.env", [Value::String(name)]) => json!(std::env::var(name).unwrap_or_default()),
                    _ => return Err(format!("{place}: the fake does not support this call of {name}")),
                }
            }
            Expr::Name(name) if name == "constants.hostname" => json!(self.host),
            Expr::Name(name) => self.export(name, place, depth)?,
        })
    }

    fn export(&self, name: &str, place: &str, depth: usize) -> Result<Value> {
        let unknown = || format!("{place}: component {name:?} does not exist or is out of scope");
        let (id, export) = name.rsplit_once('.').ok_or_else(unknown)?;
        let block = self.components.get(id).ok_or_else(unknown)?;
        if !known(&block.name).is_some_and(|(_, exports)| exports.contains(&export)) {
            return Err(format!("{place}: field {export:?} does not exist in {id}"));
        }
        let attribute = |name| match block.attribute(name) {
            Some(value) => self.value(value, &block.place, depth + 1),
            None => Err(format!("{}: missing required attribute {name:?}", block.place)),
        };
        Ok(match (block.name.as_str(), export) {
            (_, "receiver") => json!({ RECEIVER: id }),
            ("discovery.file", _) => json!([{ FILES: attribute("files")? }]),
            ("discovery.relabel", _) => {
                let rules = self.rules(id)?;
                let targets = attribute("targets")?;
                let targets = targets.as_array().ok_or(format!("{}: targets must be a list", block.place))?;
                Value::Array(targets.iter().map(|t| json!({ INNER: t, "rules": rules })).collect())
            }
            _ => json!([{"__address__": self.exporter, "instance": self.host, "job": "integrations/unix"}]),
        })
    }

    fn component(&self, block: &Block) -> Result<Component> {
        let attributes = self.object(block, 0)?;
        let file = attributes.get("filename").filter(|_| block.name == "local.file").map(plain);
        Ok(Component { name: block.name.clone(), label: block.label.clone(), file })
    }
}

/// Returns a target without its relabel components, and adds their rules, the innermost first.
fn unwrap(target: Value, rules: &mut Vec<Value>) -> Value {
    let Some(inner) = target.get(INNER) else { return target };
    let source = unwrap(inner.clone(), rules);
    rules.extend(target["rules"].as_array().into_iter().flatten().cloned());
    source
}

fn known(name: &str) -> Option<&'static (&'static str, &'static [&'static str])> {
    KNOWN.iter().find(|(n, _)| *n == name)
}

/// Formats a value for a command line.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
