//! Names what the host refuses a guest, and the line of the manifest that would grant it.
//!
//! The guest gets an error code and must not learn more than that. The author reads the run's log and message, so the
//! first refusal of each kind goes into both.

use std::fmt;
use std::sync::Arc;

use crate::attempt::{LogLine, RunHandle};
use sexton_domain::task::{Pattern, Task};
use sexton_domain::time::Clock;
use sexton_system::harmless;

/// The characters that are shown of a name that a guest chose, and of a grant.
const LONGEST_NAME: usize = 200;

/// The number of existing grants that are repeated in the line to add.
const MOST_GRANTS: usize = 6;

/// Something that the host refused a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal<'a> {
    /// A lock, by name.
    Lock(&'a str),
    /// An entry of the cache, by key.
    CacheKey(&'a str),
    /// A task whose runs the guest asked to enqueue.
    Task(&'a str),
    /// A host of a request, with the port unless it is the usual one.
    Host(&'a str),
    /// A name that has no address in the public internet.
    PrivateName(&'a str),
    /// A header of a request that only the host sets.
    Header(&'a str),
    /// A file to change below a directory that may only be read.
    Write(&'a str),
    /// More content than a directory may hold.
    Quota {
        guest: &'a str,
        /// The bytes and entries that the directory holds.
        used: (u64, u64),
        /// Whether the limit of entries was reached, rather than that of bytes.
        by_entries: bool,
    },
    /// A socket or a look-up of a name.
    Socket(&'a str),
}

impl Refusal<'_> {
    /// Returns the kind of the refusal. Each kind is shown once in a run.
    fn kind(&self) -> &'static str {
        match self {
            Self::Lock(_) => "lock",
            Self::CacheKey(_) => "cache key",
            Self::Task(_) => "task",
            Self::Host(_) => "host",
            Self::PrivateName(_) => "private name",
            Self::Header(_) => "header",
            Self::Write(_) => "write",
            Self::Quota { .. } => "write past a quota",
            Self::Socket(_) => "socket",
        }
    }

    fn words(&self, task: &Task) -> String {
        let grants = &task.grants;
        let add = |line: String| format!("add `{line}` to [tasks.{}.grants] in {}.toml", task.key.task, task.plugin);
        let list = |key: &str, known: Vec<&str>, new: &str| add(format!("{key} = [{}]", quoted(&known, new)));
        let patterns = |patterns: &'_ [Pattern]| patterns.iter().map(|p| p.0.clone()).collect::<Vec<String>>();
        let refs = |texts: &[String], key: &str, new: &str| list(key, texts.iter().map(String::as_str).collect(), new);
        match self {
            Self::Lock(name) => {
                format!("the lock {} is not granted; {}", shown(name), refs(&patterns(&grants.locks), "locks", name))
            }
            Self::CacheKey(key) => {
                let line = refs(&patterns(&grants.cache), "cache", key);
                format!("the cache key {} is not granted; {line}", shown(key))
            }
            Self::Task(name) => {
                let line = refs(&patterns(&grants.schedule), "schedule", name);
                format!("enqueueing runs of the task {} is not granted; {line}", shown(name))
            }
            Self::Host(host) => {
                let known: Vec<String> = grants.http.iter().map(ToString::to_string).collect();
                format!("the host {} is not granted; {}", shown(host), refs(&known, "http", host))
            }
            Self::PrivateName(name) => format!(
                "the name {} resolves to no public address; an address of a private network is granted by its number, such as \
                 `http = [\"10.0.0.7\"]`",
                shown(name)
            ),
            Self::Header(name) => format!("the host sets the header {}; leave it out", shown(name)),
            Self::Write(path) => {
                let line = |directory: &&sexton_domain::task::Directory| {
                    let (host, guest) = (text(&directory.host.to_string_lossy()), text(&directory.guest));
                    format!("directories = [{{ host = {host}, guest = {guest}, write = true }}]")
                };
                let line = grants.directories.iter().find(|directory| !directory.write).as_ref().map(line);
                let line = line.unwrap_or_else(|| "write = true".to_owned());
                format!("changing {} is not granted, because its directory is read-only; {}", shown(path), add(line))
            }
            Self::Quota { guest, used: (bytes, entries), by_entries } => {
                let granted = grants.directories.iter().find(|directory| directory.guest == *guest);
                let quota = granted.and_then(|directory| directory.quota).unwrap_or_default();
                let size = |bytes: u64| bytesize::ByteSize::b(bytes).display().iec().to_string().replace(".0 ", " ");
                let (reached, line) = match by_entries {
                    true => (
                        format!("it holds {entries} of {} files, directories and links", quota.entries),
                        format!("entries = {}", quota.entries),
                    ),
                    false => (
                        format!("its files take {bytes} of {} bytes", quota.bytes),
                        format!("quota = \"{}\"", size(quota.bytes)),
                    ),
                };
                format!(
                    "{} is full: {reached}; delete some, or raise `{line}` of that directory in [[tasks.{}.grants.directories]] in {}.toml",
                    shown(guest),
                    task.key.task,
                    task.plugin
                )
            }
            Self::Socket(what) => format!(
                "{what} is not granted, and cannot be: a task reaches other machines by HTTP, which `http = [\"HOST\"]` grants"
            ),
        }
    }
}

/// Returns a list of grants in TOML, with `new` at its end.
fn quoted(known: &[&str], new: &str) -> String {
    let mut texts: Vec<String> = known.iter().take(MOST_GRANTS).map(|known| text(known)).collect();
    if known.len() > MOST_GRANTS {
        texts.push("…".to_owned());
    }
    texts.push(text(new));
    texts.join(", ")
}

/// Returns a text in TOML, bounded, on one line and without anything that a terminal would obey.
fn text(text: &str) -> String {
    format!("\"{}\"", bounded(text).escape_debug())
}

fn shown(name: &str) -> String {
    format!("`{}`", harmless::line(bounded(name)))
}

fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_NAME)]
}

/// Notes the refusals of one attempt.
#[derive(Clone)]
pub(crate) struct Refusals {
    task: Arc<Task>,
    handle: Arc<RunHandle>,
    clock: Arc<dyn Clock>,
}

impl Refusals {
    pub(crate) fn new(task: Arc<Task>, handle: Arc<RunHandle>, clock: Arc<dyn Clock>) -> Self {
        Self { task, handle, clock }
    }

    /// Notes a refusal. The first of its kind becomes a line of the run's log.
    pub(crate) fn note(&self, refusal: Refusal<'_>) {
        let words = || refusal.words(&self.task);
        if self.handle.refused.note(refusal.kind(), words) {
            let message = format!("refused: {}", refusal.words(&self.task));
            self.handle.log(LogLine { at: self.clock.now(), level: "warn".to_owned(), message });
        }
    }
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusals").field("task", &self.task.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imports::testing;
    use sexton_domain::task::{Directory, Grants, HttpHost};

    fn task() -> Task {
        let directory = |guest: &str, write| Directory {
            host: format!("/srv{guest}").into(),
            guest: guest.into(),
            write,
            quota: None,
        };
        let grants = Grants {
            http: vec![
                HttpHost { host: "example.org".into(), port: None },
                HttpHost { host: "h".into(), port: Some(81) },
            ],
            directories: vec![directory("/open", true), directory("/data", false)],
            ..testing::grants(&["a", "b/*"])
        };
        testing::task("flaky", grants)
    }

    #[test]
    fn every_refusal_names_the_thing_asked_for_and_the_line_that_grants_it() {
        let place = "[tasks.flaky.grants] in plugin.toml";
        for (refusal, name, line) in [
            (Refusal::Lock("c"), "the lock `c`", r#"add `locks = ["a", "b/*", "c"]` to "#),
            (Refusal::CacheKey("y/1"), "the cache key `y/1`", r#"add `cache = ["a", "b/*", "y/1"]` to "#),
            (Refusal::Task("other"), "the task `other`", r#"add `schedule = ["a", "b/*", "other"]` to "#),
            (Refusal::Host("x.org"), "the host `x.org`", r#"add `http = ["example.org", "h:81", "x.org"]` to "#),
            (
                Refusal::Write("out.txt"),
                "changing `out.txt`",
                r#"add `directories = [{ host = "/srv/data", guest = "/data", write = true }]` to "#,
            ),
        ] {
            let words = refusal.words(&task());
            assert!(words.contains(name) && words.contains(&format!("{line}{place}")), "{words}");
        }
        for (refusal, part) in [
            (Refusal::PrivateName("db.internal"), "`db.internal` resolves to no public address"),
            (Refusal::Header("host"), "the host sets the header `host`"),
            (
                Refusal::Quota { guest: "/open", used: (1 << 30, 3), by_entries: false },
                "`/open` is full: its files take 1073741824 of 1073741824 bytes; delete some, or raise `quota = \"1 GiB\"` of that \
                 directory in [[tasks.flaky.grants.directories]] in plugin.toml",
            ),
            (
                Refusal::Quota { guest: "/open", used: (9, 100_000), by_entries: true },
                "`/open` is full: it holds 100000 of 100000 files, directories and links; delete some, or raise `entries = 100000` of",
            ),
            (Refusal::Socket("a TCP socket"), "a TCP socket is not granted, and cannot be"),
        ] {
            let words = refusal.words(&task());
            assert!(words.contains(part), "{words}");
        }
    }

    #[test]
    fn a_name_that_a_guest_chose_is_bounded_and_harmless() {
        let attack = format!("\u{1b}[2J\n`{}", "x".repeat(1 << 20));

        let words = Refusal::Lock(&attack).words(&task());

        assert!(words.len() < 1000 && !words.contains(char::is_control), "{words:?}");
    }
}
