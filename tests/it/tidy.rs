//! What has to agree across files.

use std::process::Command;

use crate::service::PROGRAM;

const MANIFEST: &str = include_str!("../../Cargo.toml");
const LOCK: &str = include_str!("../../Cargo.lock");

/// The value of a key in Cargo.toml's first section.
fn manifest(key: &str) -> &'static str {
    let line = MANIFEST.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
    line.unwrap_or_else(|| panic!("no {key} in Cargo.toml")).trim_matches('"')
}

/// A version's first two numbers.
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

#[test]
fn no_dependency_needs_a_newer_rust() {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version=1", "--filter-platform", &target])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata = String::from_utf8(output.stdout).unwrap();

    // The packages come first. Each begins with its id and ends with its rust_version, which may be null.
    let packages = metadata.split(r#""workspace_members":"#).next().unwrap();
    let packages: Vec<&str> = packages.split(r#""id":""#).skip(1).collect();
    assert!(packages.len() > 30, "found only {} packages", packages.len());
    for package in packages {
        let id = package.split('"').next().unwrap();
        let (_, needs) = package.split_once(r#""rust_version":"#).unwrap();
        if let Some(needs) = needs.strip_prefix('"') {
            let needs = needs.split('"').next().unwrap();
            assert!(minor(needs) <= minor(manifest("rust-version")), "{id} needs Rust {needs}");
        }
    }
}

#[test]
fn the_lock_file_is_one_that_an_old_cargo_reads() {
    assert!(LOCK.contains("\nversion = 3\n"), "cargo below 1.78 reads lock files up to version 3");
}
