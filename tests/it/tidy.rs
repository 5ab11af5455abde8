//! Consistency of the manifest, the lock file and the dependencies.

use std::process::Command;

use crate::service::PROGRAM;

const MANIFEST: &str = include_str!("../../Cargo.toml");
const LOCK: &str = include_str!("../../Cargo.lock");

/// Returns the value of a key in Cargo.toml's first section.
fn manifest(key: &str) -> &'static str {
    let line = MANIFEST.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
    line.unwrap_or_else(|| panic!("no {key} in Cargo.toml")).trim_matches('"')
}

/// Returns the first two numbers of a version.
fn minor(version: &str) -> (u32, u32) {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap_or(0))
}

#[test]
fn the_program_prints_the_version_of_the_manifest() {
    let output = Command::new(PROGRAM).arg("--version").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("metrics-service {}\n", manifest("version")));
}

/// Returns cargo's metadata of each package in the build, as JSON.
fn packages() -> Vec<String> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version=1", "--filter-platform", &target])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata = String::from_utf8(output.stdout).unwrap();

    // Packages come first in the metadata. Each starts with its id and ends with its rust_version.
    let packages = metadata.split(r#""workspace_members":"#).next().unwrap();
    let packages: Vec<String> = packages.split(r#""id":""#).skip(1).map(String::from).collect();
    assert!(packages.len() > 30, "found only {} packages", packages.len());
    packages
}

/// Returns the string value of a key in a package's JSON. None if it is null.
fn value<'a>(package: &'a str, key: &str) -> Option<&'a str> {
    let (_, value) = package.split_once(&format!(r#""{key}":"#))?;
    value.strip_prefix('"')?.split('"').next()
}

#[test]
fn no_dependency_needs_a_newer_rust() {
    for package in packages() {
        if let Some(needs) = value(&package, "rust_version") {
            let id = package.split('"').next().unwrap();
            assert!(minor(needs) <= minor(manifest("rust-version")), "{id} needs Rust {needs}");
        }
    }
}

#[test]
fn dependencies_are_from_the_registry_with_a_permissive_license() {
    const ALLOWED: [&str; 2] = ["MIT", "Apache-2.0"];
    for package in packages().iter().filter(|package| value(package, "source").is_some()) {
        let id = package.split('"').next().unwrap();
        assert!(value(package, "source").unwrap().starts_with("registry+"), "{id} is not from the registry");
        let license = value(package, "license").unwrap_or_else(|| panic!("{id} has no license"));
        assert!(license.split([' ', '/', '(', ')']).any(|word| ALLOWED.contains(&word)), "{id} is under {license}");
    }
}

#[test]
fn an_old_cargo_can_read_the_lock_file() {
    assert!(LOCK.contains("\nversion = 3\n"), "cargo below 1.78 reads lock files up to version 3");
}
