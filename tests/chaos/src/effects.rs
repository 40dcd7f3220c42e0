//! Runs a server outside, which guests contact. The database cannot take back what it has seen.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::checker::Effect;

/// The time in which a guest must send its request. It may be stopped half-way, and no thread may wait for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The server.
#[derive(Debug)]
pub(crate) struct Effects {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Effect>>>,
}

impl Effects {
    /// Listens on a port of its own, for as long as the process lives.
    pub(crate) fn listen() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || answer(stream, &kept));
            }
        });
        Ok(Self { address, seen })
    }

    /// Returns everything that was seen so far.
    pub(crate) fn seen(&self) -> Vec<Effect> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers `GET /RUN/ATTEMPT/FENCE`. It records first and answers then, so that a guest that succeeded was certainly
/// seen.
fn answer(mut stream: TcpStream, kept: &Mutex<Vec<Effect>>) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines().map_while(Result::ok);
    let wanted = lines.next()?;
    lines.find(String::is_empty)?;
    let status = match parse(&wanted) {
        Some(effect) => {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(effect);
            "204 No Content"
        }
        None => "400 Bad Request",
    };
    write!(stream, "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").ok()
}

fn parse(request: &str) -> Option<Effect> {
    let mut parts = request.strip_prefix("GET /")?.split(' ').next()?.split('/').map(|part| part.parse().ok());
    Some(Effect { run: parts.next()??, attempt: parts.next()??, fence: parts.next()?? })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn understood_requests_are_recorded_and_others_are_not() {
        let effects = Effects::listen().unwrap();
        let ask = |path: &str| {
            let mut stream = TcpStream::connect(effects.address).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };

        assert!(ask("/7/2/40").starts_with("HTTP/1.1 204 "));
        assert!(ask("/7/two").starts_with("HTTP/1.1 400 "));

        let seen: Vec<_> = effects.seen().iter().map(|seen| (seen.run, seen.attempt, seen.fence)).collect();
        assert_eq!(seen, [(7, 2, 40)]);
    }
}
