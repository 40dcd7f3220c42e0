//! Runs a host as a process: starts it, finds its address, keeps its log, and ends it.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The interval at which a process is asked whether it has ended.
const AGAIN: Duration = Duration::from_millis(10);

/// A process of a host. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    address: Address,
}

impl Process {
    /// Starts a host in `directory`, which holds its `sexton.toml`. `command` is the binary, or becomes the binary with
    /// the arguments that are added here. `keep` gets each line of the host's log; [`Log::keep`] is one.
    ///
    /// # Errors
    ///
    /// The command cannot be started.
    pub fn start(command: Command, directory: &Path, keep: impl FnMut(String) + Send + 'static) -> io::Result<Self> {
        let mut child = host(command, directory).stderr(Stdio::piped()).spawn()?;
        let address = Address::default();
        if let Some(stderr) = child.stderr.take() {
            let found = address.clone();
            thread::spawn(move || read(stderr, &found, keep));
        }
        Ok(Self { child, address })
    }

    /// Starts a host that writes its log to the file `log`, and waits until it is up. The caller's process has no work
    /// with the log, which a bench would measure.
    ///
    /// # Errors
    ///
    /// The command cannot be started, or the host is not up after `patience`. The message holds its log.
    pub fn start_with_log_file(
        command: Command,
        directory: &Path,
        log: &Path,
        patience: Duration,
    ) -> Result<Self, String> {
        let file = fs::File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let child = host(command, directory).stderr(file).spawn().map_err(|error| error.to_string())?;
        let process = Self { child, address: Address::default() };
        let start = Instant::now();
        loop {
            let text = fs::read_to_string(log).unwrap_or_default();
            if let Some(url) = text.lines().find_map(url_in) {
                process.address.set(State::Known(url));
                return Ok(process);
            }
            if start.elapsed() > patience {
                return Err(text);
            }
            // A file has no event for this, so it is read repeatedly; the bound above ends it.
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Returns the process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns where the host's address appears.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a signal, such as `TERM`.
    ///
    /// # Errors
    ///
    /// kill(1) cannot send it.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status()?;
        match sent.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!("cannot send SIG{name}"))),
        }
    }

    /// Ends the process as a power cut would.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Returns how the process ended, if it has.
    ///
    /// # Errors
    ///
    /// The system does not say.
    pub fn status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits until the process has ended by itself. Returns `None` after `patience`.
    ///
    /// # Errors
    ///
    /// The system does not say whether it has ended.
    pub fn wait(&mut self, patience: Duration) -> io::Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            let status = self.status()?;
            if status.is_some() || start.elapsed() >= patience {
                return Ok(status);
            }
            // There is no event to wait for with a bound, so the question is repeated.
            thread::sleep(AGAIN);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address of a host, which is known once the host is up. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Address(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Unknown,
    Known(String),
    /// The log ended before the host was up.
    Gone,
}

impl Address {
    /// Returns `http://ADDRESS:PORT`, if the host is or was up.
    #[must_use]
    pub fn get(&self) -> Option<String> {
        self.state().url()
    }

    /// Waits until the host is up, and returns the same. Returns `None` after `patience`, and as soon as the host has
    /// ended.
    #[must_use]
    pub fn wait(&self, patience: Duration) -> Option<String> {
        let starting = |state: &mut State| matches!(state, State::Unknown);
        let waited = self.0.1.wait_timeout_while(self.state(), patience, starting);
        waited.unwrap_or_else(PoisonError::into_inner).0.url()
    }

    fn set(&self, new: State) {
        let mut state = self.state();
        // A host says once in its life that it is up.
        if matches!(*state, State::Unknown) {
            *state = new;
            self.0.1.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn url(&self) -> Option<String> {
        match self {
            Self::Known(url) => Some(url.clone()),
            Self::Unknown | Self::Gone => None,
        }
    }
}

/// The lines of a host's log so far. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Returns a function that adds a line to this log.
    pub fn keep(&self) -> impl FnMut(String) + Send + 'static + use<> {
        let log = self.clone();
        move |line| log.lines().push(line)
    }

    /// Returns all lines as one text.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// Returns the lines from number `from` on.
    #[must_use]
    pub fn lines_from(&self, from: usize) -> Vec<String> {
        self.lines().get(from..).unwrap_or_default().to_vec()
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds what makes a host of `command`: its arguments, its folder, and an environment without what is meant for another
/// host.
fn host(mut command: Command, directory: &Path) -> Command {
    command
        .args(["run", "--config", "sexton.toml"])
        .current_dir(directory)
        .env_remove("SEXTON_URL")
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Reads a log to its end.
fn read(log: impl Read, address: &Address, mut keep: impl FnMut(String)) {
    for line in BufReader::new(log).lines().map_while(Result::ok) {
        let url = url_in(&line);
        // A test that knows the address finds this line in the log.
        keep(line);
        if let Some(url) = url {
            address.set(State::Known(url));
        }
    }
    address.set(State::Gone);
}

/// Returns `http://ADDRESS:PORT` of the line that a host logs when it is up.
fn url_in(line: &str) -> Option<String> {
    let at = line.find("http://").filter(|_| line.contains(" is up: "))?;
    let address = line[at..].split(['/', ',']).nth(2).unwrap_or_default();
    Some(format!("http://{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PATIENCE;

    #[test]
    fn the_address_of_a_host_is_read_from_its_log() {
        let up = "2026-01-01T00:00:00Z  INFO Sexton 0.1.0 is up: http://127.0.0.1:40123/, plugins from `plugins`";

        assert_eq!(url_in(up).as_deref(), Some("http://127.0.0.1:40123"));
        assert_eq!(url_in("Database is up: postgres://a@127.0.0.1:5432/sexton"), None);
        assert_eq!(url_in("Asks http://127.0.0.1:40123/"), None);
    }

    #[test]
    fn waiting_for_the_address_of_a_host_that_has_ended_is_over_at_once() {
        let address = Address::default();

        read(&b"error: no such file\n"[..], &address, drop);

        assert_eq!(address.wait(Duration::MAX), None);
    }

    /// A shell that says what a host says, with the arguments that it got, and waits.
    fn shell() -> Command {
        let mut command = Command::new("sh");
        let script = r#"echo "Sexton 0 is up: http://127.0.0.1:1/, by $* in $PWD" >&2; exec sleep 1000"#;
        command.args(["-c", script, "sh"]);
        command
    }

    #[test]
    fn a_command_becomes_a_host_in_its_folder_and_ends_by_a_signal() {
        let (folder, log) = (tempfile::tempdir().unwrap(), Log::default());

        let mut process = Process::start(shell(), folder.path(), log.keep()).unwrap();
        let url = process.address().wait(PATIENCE);
        let before = process.status().unwrap();
        process.signal("TERM").unwrap();
        let ended = process.wait(PATIENCE).unwrap();

        assert_eq!(url.as_deref(), Some("http://127.0.0.1:1"), "{}", log.text());
        let folder = folder.path().canonicalize().unwrap();
        assert!(log.text().contains(&format!("by run --config sexton.toml in {}", folder.display())), "{}", log.text());
        assert!(before.is_none() && ended.is_some_and(|status| !status.success()), "{ended:?}");
    }

    #[test]
    fn a_host_with_a_log_file_is_killed_when_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");

        let process = Process::start_with_log_file(shell(), folder.path(), &log, PATIENCE).unwrap();
        let (url, id) = (process.address().get(), process.id());
        drop(process);

        assert_eq!(url.as_deref(), Some("http://127.0.0.1:1"));
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn the_address_outlives_the_host() {
        let (address, log) = (Address::default(), Log::default());

        read(&b"Sexton 0.1.0 is up: http://127.0.0.1:1/, plugins from `plugins`\nends\n"[..], &address, log.keep());

        assert_eq!(address.get().as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(log.lines_from(1), ["ends"]);
    }
}
