//! Tests databases that a host cannot use: it reports that in one line, and ends.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use sexton_testkit::postgres::{fresh_schema, shared};

use super::Fleet;
use crate::harness::{PATIENCE, SEXTON, Setup};

/// Returns the last words of a host that ends by itself.
fn refused(setup: &Setup) -> String {
    let directory = setup.directory();
    let mut child = Command::new(SEXTON)
        .args(["run", "--config", "sexton.toml"])
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("the host does not end");
        }
        std::thread::sleep(std::time::Duration::from_millis(10)); // nothing to listen to; the bound above decides
    };
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!status.success(), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{said}");
    assert!(!said.contains("panicked") && !said.contains("a-password"), "{said}");
    said.lines().find(|line| line.starts_with("error: ")).unwrap().to_owned()
}

/// Returns what a host reports about this database.
fn of(url: &str) -> String {
    refused(&Fleet { url: url.to_owned(), schema: fresh_schema(), lease: "15s" }.setup("a"))
}

#[test]
fn an_invalid_url_is_reported_with_its_position_and_the_allowed_form() {
    let other = "mysql://sexton:a-password@127.0.0.1/db";
    for url in [other, "127.0.0.1:5432", "postgres://sexton:a-password@[::1/db", ""] {
        let line = of(url);
        assert!(line.contains("sexton.toml:") && line.contains("postgres://"), "{url}: {line}");
    }
}

#[test]
fn a_database_that_cannot_be_reached_is_named_without_its_password() {
    // No server listens on port 1 of loopback.
    let line = of("postgres://sexton:a-password@127.0.0.1:1/orders");

    assert!(line.contains("127.0.0.1:1"), "{line}");
}

#[test]
fn a_server_without_the_database_or_the_user_is_reported() {
    let server = shared().address();

    let [database, user] = [format!("sexton@{server}/no-such-database"), format!("no-such-user@{server}/sexton")]
        .map(|rest| of(&format!("postgres://{rest}")));

    assert!(database.contains("no-such-database"), "{database}");
    assert!(user.contains("no-such-user"), "{user}");
}

#[test]
fn a_database_of_a_newer_schema_is_not_changed() {
    let fleet = Fleet::new();
    drop(fleet.host("a"));
    shared().psql_in(&fleet.schema, "UPDATE meta SET version = 1000, serves = 1000");

    let line = refused(&fleet.setup("a"));

    assert!(line.contains("version 1000") && line.contains("newer"), "{line}");
    assert_eq!(shared().psql_in(&fleet.schema, "SELECT version FROM meta"), "1000");
}

#[test]
fn a_database_that_a_newer_host_left_usable_is_used() {
    let fleet = Fleet::new();
    drop(fleet.host("a"));
    let serves = shared().psql_in(&fleet.schema, "UPDATE meta SET version = 1000 RETURNING serves");

    let host = fleet.host("b");

    assert_eq!(host.request("GET", "/v1/health", b"").0, 200);
    assert_eq!(shared().psql_in(&fleet.schema, "SELECT serves FROM meta"), serves);
}
