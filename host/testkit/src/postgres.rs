//! Starts a real PostgreSQL server for tests and benches, in a temporary folder that is removed with the process that
//! started it.
//!
//! The server listens on loopback only and accepts every client. It sorts texts as people do, not by their bytes, where
//! it can. So code that needs the order of bytes and does not state it fails here.
//!
//! If the server's programs are missing, starting one panics with a line that says what to install. No test is skipped.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::ports;

/// The programs that an installation must have, all in one folder.
const PROGRAMS: [&str; 4] = ["initdb", "pg_ctl", "postgres", "psql"];

/// The message if there is no such folder.
const MISSING: &str = "PostgreSQL's server is missing, which these tests start: `apt-get install postgresql` brings it, or \
     SEXTON_POSTGRES_BIN names the folder with initdb, pg_ctl, postgres and psql";

/// The user and the database of a new cluster.
const NAME: &str = "sexton";

/// The number of ports that are tried, because another process may take one between the check and the start.
const TRIES: usize = 20;

/// A script that ends the server and removes its folder once the other end of its standard input is closed, however the
/// process that held it has ended. It runs in a process group of its own and ignores the terminal, so that the signal
/// that ends the tests does not end it.
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

/// Whether a commit waits for the disk. If not, a crash of the server loses nothing, but one of the machine does.
#[derive(Clone, Copy, Debug)]
pub struct Durable(pub bool);

/// A way to stop a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The server ends all connections and cleans up.
    Fast,
    /// Like a crash: the server has to recover when it starts.
    Immediate,
}

impl Mode {
    /// Returns the word of `pg_ctl`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Immediate => "immediate",
        }
    }
}

/// A server that is up, with a database. It is removed when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    programs: PathBuf,
    user: Option<User>,
    directory: PathBuf,
    port: u16,
    guard: Child,
}

/// The user of the server if this process runs as root, because the server refuses to run as root.
#[derive(Debug)]
struct User {
    uid: u32,
    gid: u32,
}

impl Cluster {
    /// Creates a cluster and starts its server. Returns once it accepts connections.
    pub fn start(durable: Durable) -> Self {
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

    /// Returns the port that it listens on, at 127.0.0.1. It stays the same over a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Returns the URL of its database, for the user that owns it.
    pub fn url(&self) -> String {
        self.url_by_way_of(NAME, self.address())
    }

    /// Does the same with `schema` as the search path, for programs that take no schema.
    pub fn url_of_schema(&self, schema: &str) -> String {
        format!("{}?options=-csearch_path%3D{schema}", self.url())
    }

    /// Returns the URL of its database for `user`, over an address that leads to it.
    pub fn url_by_way_of(&self, user: &str, address: SocketAddr) -> String {
        format!("postgres://{user}@{address}/{NAME}")
    }

    /// Runs statements with `psql`. Returns the rows: a line each, columns separated by `|`, NULL as nothing.
    pub fn psql(&self, sql: &str) -> String {
        self.psql_in("public", sql)
    }

    /// Does the same, with `schema` as the search path.
    pub fn psql_in(&self, schema: &str, sql: &str) -> String {
        self.try_psql_in(schema, sql).unwrap_or_else(|why| panic!("{sql}: {why}"))
    }

    /// Does the same for callers that expect an error, such as that the server is down.
    pub fn try_psql_in(&self, schema: &str, sql: &str) -> Result<String, String> {
        self.ask(NAME, schema, sql)
    }

    /// Stops the server, and starts it again.
    pub fn restart(&self, mode: Mode) {
        self.stop(mode);
        self.start_again();
    }

    /// Stops the server. Its port stays free until it is started again.
    pub fn stop(&self, mode: Mode) {
        let mut command = self.program("pg_ctl");
        command.args(["stop", "--silent", "--wait", "--timeout=60", "--mode", mode.as_str(), "--pgdata=data"]);
        done(&mut command).unwrap_or_else(|why| panic!("cannot stop PostgreSQL: {why}"));
    }

    /// Starts the server after [`Cluster::stop`]. Returns once it accepts connections.
    pub fn start_again(&self) {
        self.launch().unwrap_or_else(|why| panic!("cannot start PostgreSQL: {why}"));
    }

    /// Creates the files of the cluster.
    fn make(&self, durable: Durable) {
        let initdb = |order: &[&str]| {
            let mut command = self.program("initdb");
            command.args(["--pgdata=data", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
            done(command.args(["--username", NAME]).args(order))
        };
        // Servers before 15, and those that were built without ICU, have no natural order that is the same everywhere.
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

    /// Starts the server on a free port.
    fn start_somewhere(&mut self) {
        let mut said = String::new();
        for _ in 0..TRIES {
            self.port = ports::free();
            match self.launch() {
                Ok(()) => return,
                Err(why) if why.contains("could not bind") => said = why,
                Err(why) => panic!("cannot start PostgreSQL: {why}"),
            }
        }
        panic!("found no port for PostgreSQL: {said}");
    }

    /// Starts the server, and waits until it accepts connections: `pg_ctl` reads that in the file that the server
    /// writes.
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
        // The output is text, and a user's `.psqlrc` is ignored.
        command.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", NAME, "-d", database]);
        command.args(["-p", &self.port.to_string(), "-c", sql]);
        command.env("PGCONNECT_TIMEOUT", "10");
        command.env("PGOPTIONS", format!("-c search_path={schema} -c statement_timeout=60000"));
        done(&mut command).map(|rows| rows.trim_end_matches('\n').to_owned())
    }

    /// Returns a command for one of the server's programs, under the server's user.
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

/// Returns the server that all tests of this process share, if they neither stop it nor look at other tests' objects.
/// It does not wait for the disk.
pub fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(Durable(false)))
}

/// Returns the name of a schema that no other test of this process uses. It does not exist yet.
pub fn fresh_schema() -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    format!("test_{}", LAST.fetch_add(1, Ordering::Relaxed) + 1)
}

/// Returns the folder with all the programs: the one that is named, else the first in the PATH, else Debian's latest.
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

/// Returns the user to run the server as; `None` unless this process is root.
fn other_user() -> Option<User> {
    let root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !root {
        return None;
    }
    let user = |name| Some(User { uid: id("-u", name)?, gid: id("-g", name)? });
    let user = ["postgres", "nobody"].into_iter().find_map(user);
    Some(user.expect("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`"))
}

/// Returns a number of a user, as id(1) prints it.
fn id(which: &str, name: &str) -> Option<u32> {
    let told = Command::new("id").args([which, name]).output().ok().filter(|told| told.status.success())?;
    String::from_utf8_lossy(&told.stdout).trim().parse().ok()
}

/// Removes `PGPORT` and the like, which are meant for another server.
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

/// Runs a command to its end. Returns its output, or why it failed.
fn done(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))?;
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    match output.status.success() {
        true => Ok(out.into_owned()),
        false => Err(format!("{}: {err}{out}", output.status)),
    }
}
