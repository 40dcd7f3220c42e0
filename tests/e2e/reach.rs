//! Tests the reach of a guest: the directories and hosts that it was granted, and nothing else.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::Value;

use crate::harness::{Host, attempts, id, outcome};

fn manifest(grants: &str) -> String {
    format!(
        "[tasks.probe]\n[tasks.probe.retry]\nattempts = 1\n[tasks.probe.limits]\ndeadline = \"20s\"\n\
         [tasks.probe.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\n{grants}\n"
    )
}

/// Returns the output of the run, or the reason of its failure.
fn said(host: &Host, input: &str) -> Result<Value, String> {
    let answer = host.run("probe", input);
    match outcome(&answer) {
        "succeeded" => Ok(serde_json::from_slice(&host.output(id(&answer))).unwrap()),
        _ => Err(attempts(&answer)[0]["message"].as_str().unwrap_or_default().to_owned()),
    }
}

#[test]
fn a_directory_is_read_only_by_default_and_nothing_beside_it_is_visible() {
    let host = Host::start();
    let place = host.directory.path();
    for (directory, file) in [("open", "a.txt"), ("shut", "b.txt")] {
        fs::create_dir(place.join(directory)).unwrap();
        fs::write(place.join(directory).join(file), "content").unwrap();
    }
    fs::write(place.join("secret.txt"), "secret").unwrap();
    std::os::unix::fs::symlink(place.join("secret.txt"), place.join("shut/link.txt")).unwrap();
    std::os::unix::fs::symlink("../secret.txt", place.join("open/link.txt")).unwrap();
    let grants = format!(
        "http = [\"127.0.0.1:1\"]\ndirectories = [{{ host = \"{0}/shut\", guest = \"/shut\" }}, {{ host = \"{0}/open\", guest = \"/open\", write = true }}]",
        place.display()
    );
    host.add("probe", "probe", &manifest(&grants));

    assert_eq!(said(&host, r#"{"do": "read-file", "path": "/shut/b.txt"}"#).unwrap(), "content");
    assert!(said(&host, r#"{"do": "write-file", "path": "/open/new.txt", "content": "new"}"#).is_ok());
    assert_eq!(fs::read_to_string(place.join("open/new.txt")).unwrap(), "new");
    for refused in [
        r#"{"do": "write-file", "path": "/shut/b.txt", "content": "changed"}"#,
        r#"{"do": "write-file", "path": "/shut/new.txt", "content": "new"}"#,
        r#"{"do": "read-file", "path": "/shut/link.txt"}"#,
        r#"{"do": "read-file", "path": "/open/link.txt"}"#,
        r#"{"do": "read-file", "path": "/open/../secret.txt"}"#,
        r#"{"do": "read-file", "path": "/etc/passwd"}"#,
        r#"{"do": "write-file", "path": "/open/link.txt", "content": "changed"}"#,
    ] {
        let answer = said(&host, refused);
        assert!(answer.is_err(), "{refused}: {answer:?}");
    }
    assert_eq!(fs::read_to_string(place.join("shut/b.txt")).unwrap(), "content");
    assert_eq!(fs::read_to_string(place.join("secret.txt")).unwrap(), "secret");
}

/// Makes a pipe that no other process ever opens.
fn pipe(path: &std::path::Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_pipe_in_a_granted_directory_is_refused_and_files_open_as_before() {
    let host = Host::start();
    let place = host.directory.path().join("files");
    fs::create_dir(&place).unwrap();
    pipe(&place.join("pipe"));
    fs::write(place.join("file"), "content").unwrap();
    let grants =
        format!("http = [\"127.0.0.1:1\"]\ndirectories = [{{ host = {place:?}, guest = \"/files\", write = true }}]");
    host.add(
        "probe",
        "probe",
        &format!("{}\n", manifest(&grants)).replace("[tasks.probe]\n", "[tasks.probe]\noverlap = \"allow(64)\"\n"),
    );

    // More than there are threads for files.
    for (input, many) in [
        (r#"{"do": "read-file", "path": "/files/pipe"}"#, 41),
        (r#"{"do": "write-file", "path": "/files/pipe", "content": "x"}"#, 10),
    ] {
        let runs: Vec<_> = (0..many).map(|_| host.trigger("probe", input)).collect();
        for run in runs {
            let answer = host.wait(run);
            assert_ne!(outcome(&answer), "timed-out", "{answer}");
            let attempt = &attempts(&answer)[0];
            let told = attempt["log"]["text"].as_str().unwrap_or_default();
            assert!(told.contains("cannot open `pipe`: it is a pipe"), "{attempt}");
        }
    }

    assert_eq!(said(&host, r#"{"do": "read-file", "path": "/files/file"}"#).unwrap(), "content");
}

/// Starts a server that answers every request with `answer`, and returns its address.
fn server(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn a_host_that_is_granted_is_called_and_a_redirect_to_another_is_refused() {
    let secret = server("HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecret".to_owned());
    let good = server("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello".to_owned());
    let redirects = server(format!(
        "HTTP/1.1 302 Found\r\nlocation: http://{secret}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    ));
    let host = Host::start();
    host.add("probe", "probe", &manifest(&format!("http = [\"{good}\", \"{redirects}\"]")));

    let answer = said(&host, &format!(r#"{{"do": "http-get", "url": "http://{good}/"}}"#)).unwrap();
    assert_eq!((answer["status"].as_u64(), answer["body"].as_str()), (Some(200), Some("hello")));
    for refused in [
        format!(r#"{{"do": "http-get", "url": "http://{secret}/"}}"#),
        format!(r#"{{"do": "http-get-follow", "url": "http://{redirects}/"}}"#),
        format!(r#"{{"do": "http-get", "url": "http://localhost:{}/"}}"#, good.rsplit(':').next().unwrap()),
    ] {
        let answer = said(&host, &refused);
        assert!(answer.as_ref().is_err_and(|why| !why.contains("secret")), "{refused}: {answer:?}");
    }
}
