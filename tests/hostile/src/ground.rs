//! Provides the surroundings of the attacks: a directory to break out of, and malicious servers.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// A text that must stay as it is, and must never appear in anything that a guest made.
pub(crate) const SECRET: &str = "what nobody is to see";

/// The bytes and entries that the directory may hold which attacks fill.
pub(crate) const SMALL_BOX: (u64, u64) = (256 << 10, 60);

/// The surroundings of the attacks.
pub(crate) struct Environment {
    directory: PathBuf,
    /// `ADDRESS:PORT` of the host's API.
    pub(crate) host: String,
    /// A server that accepts, and never sends a byte.
    pub(crate) silent: SocketAddr,
    /// A server that sends a body a byte at a time, for ever.
    pub(crate) drip: SocketAddr,
    /// A server that sends a body as fast as it is read, for ever.
    pub(crate) flood: SocketAddr,
    /// A server that sends header fields for ever.
    pub(crate) heads: SocketAddr,
    /// A server that redirects to `inside`.
    pub(crate) redirects: SocketAddr,
    /// A private service that no guest may reach.
    pub(crate) inside: SocketAddr,
    called: Arc<AtomicUsize>,
}

impl Environment {
    /// Creates them in `directory`, for attacks on the host at `host`.
    pub(crate) fn prepare(directory: &Path, host: &str) -> Result<Self> {
        let open = directory.join("box");
        fs::create_dir_all(&open)?;
        fs::write(directory.join("secret"), SECRET)?;
        fs::write(open.join("a"), "a")?;
        fs::create_dir_all(directory.join("small"))?;
        fs::write(directory.join("small/a"), "a")?;
        symlink("../secret", open.join("planted"))?;
        symlink(directory.join("secret"), open.join("planted-root"))?;
        symlink("..", open.join("up"))?;
        let made = std::process::Command::new("mkfifo").arg(open.join("pipe")).status()?;
        anyhow::ensure!(made.success(), "cannot make a pipe");

        let called = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&called);
        let inside = server(move |mut stream| {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{SECRET}", SECRET.len());
        })?;
        Ok(Self {
            directory: directory.to_owned(),
            host: host.to_owned(),
            silent: server(until_closed)?,
            drip: server(|stream| endless(stream, "HTTP/1.1 200 OK\r\n\r\n", b".", Duration::from_millis(20)))?,
            flood: server(|stream| endless(stream, "HTTP/1.1 200 OK\r\n\r\n", &[b'.'; 64 << 10], Duration::ZERO))?,
            heads: server(|stream| {
                endless(stream, "HTTP/1.1 200 OK\r\n", b"x: yyyyyyyyyyyyyyyyyyyyyyy\r\n", Duration::ZERO)
            })?,
            redirects: server(move |mut stream| {
                let _ = write!(stream, "HTTP/1.1 302 Found\r\nlocation: http://{inside}/\r\ncontent-length: 0\r\n\r\n");
            })?,
            inside,
            called,
        })
    }

    /// Returns the directory that some attacks are granted, as a line of a manifest.
    pub(crate) fn open_box(&self, write: bool) -> String {
        format!("directories = [{{ host = {:?}, guest = \"/box\", write = {write} }}]", self.directory.join("box"))
    }

    /// Returns a directory that attacks fill, as a line of a manifest.
    pub(crate) fn small_box(&self) -> String {
        let (bytes, entries) = SMALL_BOX;
        let place = self.directory.join("small");
        format!(
            "directories = [{{ host = {place:?}, guest = \"/small\", write = true, quota = {bytes}, entries = {entries} }}]"
        )
    }

    /// Returns the contents of that directory: bytes of files, and entries.
    pub(crate) fn small_box_holds(&self) -> Result<(u64, u64)> {
        let mut holds = (0, 0);
        for entry in fs::read_dir(self.directory.join("small"))? {
            // A file that a run has just removed is skipped.
            let Ok(stat) = entry?.metadata() else { continue };
            holds.1 += 1;
            holds.0 += if stat.is_file() { stat.len() } else { 0 };
        }
        Ok(holds)
    }

    /// Returns whether the files beside that directory are as they were, and nothing was added.
    pub(crate) fn untouched(&self) -> Result<bool> {
        let beside: Vec<_> = fs::read_dir(&self.directory)?.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        let known = beside.iter().all(|name| ["box", "secret", "small"].iter().any(|known| name == known));
        Ok(known && fs::read_to_string(self.directory.join("secret"))? == SECRET)
    }

    /// Returns how often the private service was called.
    pub(crate) fn inside_called(&self) -> usize {
        self.called.load(Ordering::SeqCst)
    }
}

/// Starts a server that runs `each` for each connection, once its request is there.
fn server(each: impl Fn(TcpStream) + Clone + Send + 'static) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let each = each.clone();
            thread::spawn(move || {
                // A request of these guests comes in one piece.
                if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                    each(stream);
                }
            });
        }
    });
    Ok(address)
}

fn until_closed(mut stream: TcpStream) {
    while stream.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
}

fn endless(mut stream: TcpStream, begin: &str, again: &[u8], every: Duration) {
    let mut open = stream.write_all(begin.as_bytes()).is_ok();
    while open {
        open = stream.write_all(again).is_ok();
        // This is the pace of the attack, not a wait for anything.
        thread::sleep(every);
    }
}
