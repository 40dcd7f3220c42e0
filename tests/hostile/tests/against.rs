//! Tests the suite against a host that is up already, for an operator without a binary of the host beside the suite.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;

#[test]
fn the_suite_against_a_host_that_is_up_wants_no_binary_of_the_host() {
    // The directory of the suite and its guests, without a `sexton` beside it.
    let place = tempfile::tempdir().unwrap();
    let suite = place.path().join("hostile");
    fs::copy(env!("CARGO_BIN_EXE_hostile"), &suite).unwrap();
    fs::create_dir(place.path().join("plugins")).unwrap();
    for guest in ["hostile.wasm", "noop.wasm"] {
        fs::write(place.path().join(guest), "").unwrap();
    }
    let call = |args: &[&str]| {
        let output =
            Command::new(&suite).args(["--guests", "."]).args(args).current_dir(place.path()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // The server reports at once that it is no host, which ends the suite.
    let host = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut asked = String::new();
        BufReader::new(&connection).read_line(&mut asked).unwrap();
        connection.write_all(b"HTTP/1.1 500 \r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        asked
    });

    let against = call(&["--against", &url, "--plugins", "plugins"]);
    let own = call(&[]);

    assert!(!against.contains("no `sexton`"), "{against}");
    assert_eq!(host.join().unwrap().trim_end(), "GET /v1/host HTTP/1.1", "{against}");
    assert!(own.contains("no `sexton` beside this program"), "a host of its own it cannot start: {own}");
}
