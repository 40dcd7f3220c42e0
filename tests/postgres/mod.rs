//! A real PostgreSQL server for tests and benches: made in a temporary folder, gone with the process that asked for it.
//!
//! Included by path where it is needed, so it knows nothing but std and tempfile. The server listens on loopback only and
//! lets everyone in. It sorts texts like people do, not by their bytes, where it can: so what needs the order of bytes and
//! does not say so is found out here.
//!
//! Where the server's programs are missing, whoever starts one panics with a line that says what to install. Nothing is
//! skipped.
#![allow(dead_code, reason = "each of those who include it uses a part of it")]

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// What is needed of an installation. All of it lies in one folder.
const PROGRAMS: [&str; 4] = ["initdb", "pg_ctl", "postgres", "psql"];

/// What is said where there is no such folder.
const MISSING: &str = "PostgreSQL's server is missing, which these tests start: `apt-get install postgresql` brings it, or \
     SEXTON_POSTGRES_BIN names the folder with initdb, pg_ctl, postgres and psql";

/// The user and the database that a cluster begins with.
const NAME: &str = "sexton";

/// Where ports are looked for: below those that systems give to outgoing connections (Linux: from 32768), lest one of these
/// has the port when a server that was stopped starts again.
const PORTS: Range<u16> = 20_000..32_000;

/// How often another port is tried: between the look and the start somebody else may take it.
const TRIES: usize = 20;

/// Ends the server and removes its folder once nobody holds the other end of its standard input any more, however the process
/// that did has ended. In a process group of its own, and deaf to the terminal, so that what ends the tests leaves it.
const GUARD: &str = r#"
trap '' HUP INT TERM
read -r _
if pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null); then
  kill -QUIT "$pid" 2>/dev/null
  tries=200
  while [ "$tries" -gt 0 ] && kill -0 "$pid" 2>/dev/null; do sleep 0.05; tries=$((tries - 1)); done
fi
rm -rf -- "$1"
"#;

/// Whether a commit waits for the disk. Without, a crash of the server loses nothing, but one of the machine does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Durable(pub(crate) bool);

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It ends all connections and tidies up.
    Fast,
    /// Like a crash: it has to recover when it starts.
    Immediate,
}

impl Mode {
    /// The word that `pg_ctl` has for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Immediate => "immediate",
        }
    }
}

/// A server that is up, with a database. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    programs: PathBuf,
    user: Option<User>,
    directory: PathBuf,
    port: u16,
    guard: Child,
}

/// Whom the server runs as where we are root: it refuses to be root itself.
#[derive(Debug)]
struct User {
    uid: u32,
    gid: u32,
}

impl Cluster {
    /// Make a cluster and start its server. Returns once that takes connections.
    pub(crate) fn start(durable: Durable) -> Self {
        let programs = programs().unwrap_or_else(|| panic!("{MISSING}"));
        let user = other_user();
        let directory = tempfile::Builder::new().prefix("sexton-postgres-").tempdir();
        let directory = directory.expect("a temporary folder").keep();
        let guard = guard(&directory);
        if let Some(user) = &user {
            chown(&directory, Some(user.uid), Some(user.gid)).expect("root may give a folder away");
        }
        let mut cluster = Self { programs, user, directory, port: 0, guard };
        cluster.make(durable);
        cluster.start_somewhere();
        let made = cluster.ask("postgres", "", &format!("CREATE DATABASE {NAME}"));
        made.unwrap_or_else(|why| panic!("cannot make a database: {why}"));
        cluster
    }

    /// The port that it listens on, at 127.0.0.1. It stays the same when the server is started again.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its database, for the user that owns it.
    pub(crate) fn url(&self) -> String {
        self.url_by_way_of(NAME, self.address())
    }

    /// The same with `schema` as where names are looked for, for those that are not told of schemas otherwise.
    pub(crate) fn url_of_schema(&self, schema: &str) -> String {
        format!("{}?options=-csearch_path%3D{schema}", self.url())
    }

    /// Its database, for `user`, over an address that leads to it.
    pub(crate) fn url_by_way_of(&self, user: &str, address: SocketAddr) -> String {
        format!("postgres://{user}@{address}/{NAME}")
    }

    /// Run statements with `psql`. Returns the rows: a line each, columns separated by `|`, NULL as nothing.
    pub(crate) fn psql(&self, sql: &str) -> String {
        self.psql_in("public", sql)
    }

    /// The same, with names looked for in `schema`.
    pub(crate) fn psql_in(&self, schema: &str, sql: &str) -> String {
        self.try_psql_in(schema, sql).unwrap_or_else(|why| panic!("{sql}: {why}"))
    }

    /// The same for who expects that the server is down, or that it says no.
    pub(crate) fn try_psql_in(&self, schema: &str, sql: &str) -> Result<String, String> {
        self.ask(NAME, schema, sql)
    }

    /// Stop the server, and start it again.
    pub(crate) fn restart(&self, mode: Mode) {
        self.stop(mode);
        self.start_again();
    }

    /// Stop the server. Its port is nobody's until it is started again.
    pub(crate) fn stop(&self, mode: Mode) {
        let mut command = self.program("pg_ctl");
        command.args(["stop", "--silent", "--wait", "--timeout=60", "--mode", mode.as_str(), "--pgdata=data"]);
        done(&mut command).unwrap_or_else(|why| panic!("cannot stop PostgreSQL: {why}"));
    }

    /// Start the server after [`Cluster::stop`]. Returns once it takes connections.
    pub(crate) fn start_again(&self) {
        self.launch().unwrap_or_else(|why| panic!("cannot start PostgreSQL: {why}"));
    }

    /// Fill the folder.
    fn make(&self, durable: Durable) {
        let initdb = |order: &[&str]| {
            let mut command = self.program("initdb");
            command.args(["--pgdata=data", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
            done(command.args(["--username", NAME]).args(order))
        };
        // Servers before 15, and those that were built without ICU, have no order of people that is the same everywhere.
        let made = initdb(&["--locale-provider=icu", "--icu-locale=en-US"]).or_else(|_| initdb(&[]));
        made.unwrap_or_else(|why| panic!("cannot make a PostgreSQL cluster: {why}"));
        let waits = if durable.0 { "on" } else { "off" };
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 200\nfsync = {waits}\n"
        );
        fs::OpenOptions::new()
            .append(true)
            .open(self.directory.join("data/postgresql.conf"))
            .and_then(|mut file| file.write_all(settings.as_bytes()))
            .expect("initdb has made the file");
    }

    /// Start the server on a port that is free.
    fn start_somewhere(&mut self) {
        let mut said = String::new();
        for _ in 0..TRIES {
            self.port = free_port();
            match self.launch() {
                Ok(()) => return,
                Err(why) if why.contains("could not bind") => said = why,
                Err(why) => panic!("cannot start PostgreSQL: {why}"),
            }
        }
        panic!("found no port for PostgreSQL: {said}");
    }

    /// Start the server, and wait until it takes connections: `pg_ctl` reads that in the file that the server writes.
    fn launch(&self) -> Result<(), String> {
        let log = self.directory.join("log");
        let before = fs::metadata(&log).map_or(0, |log| log.len());
        let mut command = self.program("pg_ctl");
        command.args(["start", "--silent", "--wait", "--timeout=60", "--pgdata=data", "--log=log"]);
        command.arg("--options").arg(format!("-p {}", self.port));
        done(&mut command).map(drop).map_err(|why| {
            let log = fs::read_to_string(log).unwrap_or_default();
            format!("{why}\n{}", log.get(usize::try_from(before).unwrap_or_default()..).unwrap_or_default())
        })
    }

    fn ask(&self, database: &str, schema: &str, sql: &str) -> Result<String, String> {
        let mut command = Command::new(self.programs.join("psql"));
        forget_settings(&mut command);
        // As text, and without what the user has in a `.psqlrc`.
        command.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", NAME, "-d", database]);
        command.args(["-p", &self.port.to_string(), "-c", sql]);
        command.env("PGCONNECT_TIMEOUT", "10");
        command.env("PGOPTIONS", format!("-c search_path={schema} -c statement_timeout=60000"));
        done(&mut command).map(|rows| rows.trim_end_matches('\n').to_owned())
    }

    /// One of the server's programs, as whom the server runs as.
    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = match &self.user {
            Some(User { uid, gid }) => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={uid}"), format!("--regid={gid}")]).arg("--clear-groups").arg(program);
                command
            }
            None => Command::new(program),
        };
        forget_settings(&mut command);
        command.current_dir(&self.directory).env("LC_ALL", "C");
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // Best effort, and bounded: the guard gives up on a server that does not end.
        let _ = self.guard.wait();
    }
}

/// The one server of this process, for all tests that neither stop it nor look at what others may do there. It does not wait
/// for the disk.
pub(crate) fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(Durable(false)))
}

/// The name of a schema that no other test of this process uses. It does not exist yet.
pub(crate) fn fresh_schema() -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    format!("test_{}", LAST.fetch_add(1, Ordering::Relaxed) + 1)
}

/// The folder that has all the programs: the one that is named, else the first in the PATH, else Debian's latest.
fn programs() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("SEXTON_POSTGRES_BIN") {
        return Some(PathBuf::from(named)).filter(|folder| is_complete(folder));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<_> = versions.map(|entry| entry.path()).collect();
    versions.sort_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
    let debian = versions.into_iter().rev().map(|version| version.join("bin"));
    std::env::split_paths(&path).chain(debian).find(|folder| is_complete(folder))
}

fn is_complete(folder: &Path) -> bool {
    PROGRAMS.iter().all(|program| folder.join(program).is_file())
}

/// Whom to run the server as; nobody else unless we are root.
fn other_user() -> Option<User> {
    let root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !root {
        return None;
    }
    let user = |name| Some(User { uid: id("-u", name)?, gid: id("-g", name)? });
    let user = ["postgres", "nobody"].into_iter().find_map(user);
    Some(user.expect("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`"))
}

/// A number of a user's, as id(1) tells.
fn id(which: &str, name: &str) -> Option<u32> {
    let told = Command::new("id").args([which, name]).output().ok().filter(|told| told.status.success())?;
    String::from_utf8_lossy(&told.stdout).trim().parse().ok()
}

/// What `PGPORT` and the like say is meant for another server.
fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
        command.env_remove(name);
    }
}

fn guard(directory: &Path) -> Child {
    Command::new("sh")
        .args(["-c", GUARD, "sexton-postgres-guard"])
        .arg(directory)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("there is a shell")
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    // Chance, so that processes that look at the same time rarely find the same.
    let by_chance = || PORTS.start + (RandomState::new().hash_one(()) % PORTS.len() as u64) as u16;
    std::iter::repeat_with(by_chance).take(1000).find(free).expect("one of so many ports is free")
}

/// Run to the end. What it printed, or why it failed.
fn done(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))?;
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    match output.status.success() {
        true => Ok(out.into_owned()),
        false => Err(format!("{}: {err}{out}", output.status)),
    }
}
