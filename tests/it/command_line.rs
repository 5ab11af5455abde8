//! The command line: its output and exit status.

use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use crate::service::{Service, PROGRAM};

fn run(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn help_names_every_option() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    for option in ["--listen ADDR:PORT", "--help", "--version", "127.0.0.1:8000"] {
        assert!(help.contains(option), "{help}");
    }
}

#[test]
fn wrong_arguments_are_named_and_exit_2() {
    for (args, named) in [
        (&["--listen"][..], "--listen needs an address"),
        (&["--listen", "8000"], "\"8000\""),
        (&["--listen", "localhost:8000"], "\"localhost:8000\""),
        (&["--listen", "127.0.0.1:65536"], "\"127.0.0.1:65536\""),
        (&["--listen="], "\"\""),
        (&["--port", "1"], "\"--port\""),
        (&["serve"], "\"serve\""),
        (&[""], "\"\""),
    ] {
        let output = run(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(named), "{args:?}: {stderr}");
        assert!(stderr.contains("metrics-service --help"), "{stderr}");
    }
}

#[test]
fn a_port_in_use_exits_1_with_a_hint() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let output = run(&["--listen", &address.to_string()]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.starts_with(&format!("error: cannot listen on {address}: ")), "{stderr}");
    assert!(stderr.contains(&format!("ss -ltnp 'sport = :{}'", address.port())), "{stderr}");
}

#[test]
fn listens_on_the_given_address() {
    for args in [["--listen", "0.0.0.0:0"].as_slice(), &["--listen=[::1]:0"]] {
        let mut command = Command::new(PROGRAM);
        command.args(args);
        let mut service = Service::spawn(command);
        if service.address.ip().is_unspecified() {
            service.address.set_ip([127, 0, 0, 1].into());
        }
        assert_eq!(service.call("GET", "/health").status, 200, "{args:?}");
        service.stop();
    }
}
