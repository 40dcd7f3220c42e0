//! Implements `migrate`: moves all records of one store into another. Needs no host, and no host may use either store
//! during the move.

use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::args::Hidden;
use super::error::{CliError, Exit};
use super::screen::{Screen, eprint_line, one_line};
use super::threads;
use crate::config::names::is_schema;
use sexton_store::StoreError;
use sexton_store::postgres::{DatabaseUrl, PostgresOptions, PostgresStore};
use sexton_store::sqlite::SqliteStore;
use sexton_store::transfer::{self, Bound, Compared, End, Kind, MoveError, MoveEvent, Moved, Plan, Transfer, Work};

/// The digits of a digest that are shown: enough to tell two of them apart.
const DIGITS: usize = 16;

#[derive(Args, Clone, Debug)]
pub(super) struct MigrateArgs {
    /// Store to read: `sqlite:PATH`, or `postgres://USER@HOST/DATABASE`; `@FILE` names a file with that in it
    #[arg(long, value_name = "STORE")]
    pub(super) from: Hidden,
    /// Store to fill, in the same way: an empty one, or the destination of an interrupted move
    #[arg(long, value_name = "STORE")]
    pub(super) to: Hidden,
    /// The schema, where a store is in PostgreSQL
    #[arg(long, value_name = "NAME", default_value = "sexton", value_parser = schema)]
    pub(super) schema: String,
    /// File with the certificates of the authorities that a database's certificate may come from
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// Move even if a host is reported as up
    #[arg(long)]
    pub(super) force: bool,
}

/// Checks the name of a schema as the configuration does.
fn schema(text: &str) -> Result<String, String> {
    match is_schema(text) {
        true => Ok(text.to_owned()),
        false => Err("write 1 to 63 of a-z, 0-9 and `_`, beginning with a letter".to_owned()),
    }
}

pub(super) fn migrate(args: &MigrateArgs, screen: &Screen) -> Result<(), CliError> {
    let from = Place::of("--from", &args.from)?;
    let to = Place::of("--to", &args.to)?;
    if from == to {
        return Err(CliError::usage("`--from` and `--to` are the same store"));
    }
    let moved = threads::of_command()?.block_on(moved(&from, &to, args, screen))?;
    table(&moved, screen)?;
    judge(&moved)?;
    screen.line(&format!("All of `{}` is in `{}` now.", from.store_name(&args.schema), to.store_name(&args.schema)))?;
    match moved.under_way() {
        0 => Ok(()),
        runs => screen.line(&format!(
            "{runs} run(s) were under way: the next host finds these attempts lost, and tries again as their tasks say."
        )),
    }
}

async fn moved(from: &Place, to: &Place, args: &MigrateArgs, screen: &Screen) -> Result<Moved, CliError> {
    let source = from.open(End::Source, args).await?;
    let destination = to.open(End::Destination, args).await?;
    let plan = Plan { from: from.store_name(&args.schema), force: args.force, page: Bound::default(), now: screen.now };
    let mut shown = Shown::default();
    transfer::move_all(&*source, &*destination, &plan, &mut |told| shown.tell(told)).await.map_err(explain)
}

/// The place of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Sqlite(PathBuf),
    Postgres(DatabaseUrl),
}

impl Place {
    /// Parses the place from an option. A text that may contain a password is not quoted.
    fn of(option: &str, Hidden(text): &Hidden) -> Result<Self, CliError> {
        let text = match text.strip_prefix('@') {
            None => text.clone(),
            Some(file) => std::fs::read_to_string(file)
                .map_err(|e| CliError::usage(format!("{option}: cannot read `{file}`: {e}")))?,
        };
        let text = text.trim();
        match text.strip_prefix("sqlite:") {
            Some("") => Err(CliError::usage(format!("{option}: `sqlite:` is followed by the path of a file"))),
            Some(path) => Ok(Self::Sqlite(absolute(Path::new(path)))),
            None => DatabaseUrl::new(text).map(Self::Postgres).map_err(|why| {
                CliError::usage(format!("{option} names no store: {why}"))
                    .hint("write `sqlite:PATH` or `postgres://USER@HOST/DATABASE`")
            }),
        }
    }

    /// Returns the store's name, which is the same from everywhere: an interrupted move continues if the names are the
    /// same.
    fn store_name(&self, schema: &str) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgres(url) => format!("{url} schema {schema}"),
        }
    }

    async fn open(&self, end: End, args: &MigrateArgs) -> Result<Arc<dyn Transfer>, CliError> {
        let refused = |error: StoreError| CliError::failed(format!("{end}: {error}"));
        match self {
            Self::Sqlite(path) => {
                if end == End::Source && !path.is_file() {
                    return Err(CliError::usage(format!("{end}: there is no file `{}`", path.display())));
                }
                Ok(SqliteStore::open_to_move(path).map_err(refused)?)
            }
            Self::Postgres(url) => {
                let options = PostgresOptions {
                    url: url.clone(),
                    schema: args.schema.clone(),
                    ca: args.ca.clone(),
                    host: "migrate".to_owned(),
                };
                Ok(PostgresStore::open_to_move(&options, end).await.map_err(refused)?)
            }
        }
    }
}

/// Returns a path that is the same from every directory.
fn absolute(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

fn explain(error: MoveError) -> CliError {
    let said = error.to_string();
    match error {
        MoveError::InUse(..) => CliError::new(Exit::Conflict, said)
            .hint("stop it first; if it ended unexpectedly, wait until its lease is over, or use --force"),
        MoveError::NotEmpty => CliError::new(Exit::Conflict, said)
            .hint("name a file or a schema that does not exist yet, or remove the existing one"),
        MoveError::Another(source) => CliError::new(Exit::Conflict, said)
            .hint(format!("continue the move from `{source}`, or name an empty destination")),
        MoveError::Unfinished(source) => {
            CliError::new(Exit::Conflict, said).hint(format!("finish the move from `{source}` first"))
        }
        MoveError::Store(..) => CliError::failed(said)
            .hint("the records that were moved are kept, and the same command continues from there"),
    }
}

/// Shows the progress: bars on a terminal, or else a line for each kind of record that was moved.
#[derive(Default)]
struct Shown {
    bar: Option<ProgressBar>,
    about: Option<(Work, Kind)>,
    records: u64,
}

impl Shown {
    fn tell(&mut self, told: MoveEvent) {
        match told {
            MoveEvent::Begins { work, kind, records, before } => {
                self.about = Some((work, kind));
                self.records = before;
                self.bar = stderr().is_terminal().then(|| bar(work, kind, records, before));
            }
            MoveEvent::Did(records) => {
                self.records += records;
                if let Some(bar) = &self.bar {
                    bar.inc(records);
                }
            }
            MoveEvent::Done => match (self.about, self.bar.take()) {
                (Some((Work::Copying, _)), Some(bar)) => bar.finish(),
                (_, Some(bar)) => bar.finish_and_clear(),
                (Some((Work::Copying, kind)), None) => eprint_line(&format!("{} {kind} moved", self.records)),
                _ => {}
            },
        }
    }
}

fn bar(work: Work, kind: Kind, records: u64, before: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:26} {wide_bar} {human_pos}/{human_len} {eta}")
        .expect("the template is well-formed");
    let doing = match work {
        Work::Copying => "moving",
        Work::Comparing => "comparing",
    };
    let bar = ProgressBar::new(records).with_style(style).with_message(format!("{doing} {kind}"));
    bar.set_position(before);
    bar
}

fn table(moved: &Moved, screen: &Screen) -> Result<(), CliError> {
    if moved.went_on {
        screen.line("This command continued an interrupted move.")?;
    }
    let mut table = screen.table(&["KIND", "RECORDS", "SHA-256", ""], "");
    for compared in &moved.compared {
        let Compared { kind, source, .. } = compared;
        table.add_row(vec![
            kind.to_string(),
            source.records.to_string(),
            short(&source.digest).to_owned(),
            verdict(compared),
        ]);
    }
    screen.print(&table)
}

fn verdict(compared: &Compared) -> String {
    let there = &compared.destination;
    match compared.is_same() {
        true => "verified".to_owned(),
        false => format!("differs: {} at the destination, {}", there.records, short(&there.digest)),
    }
}

fn short(digest: &str) -> &str {
    digest.get(..DIGITS).unwrap_or(digest)
}

fn judge(moved: &Moved) -> Result<(), CliError> {
    let differing: Vec<&str> = moved.differing().into_iter().map(Kind::as_str).collect();
    if differing.is_empty() {
        return Ok(());
    }
    let message = format!("not the same at source and destination: {}", differing.join(", "));
    Err(CliError::failed(one_line(&message)).hint(
        "nothing was deleted, and no host uses the destination: make sure that no host uses the source either, and move everything to an empty destination",
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn args(from: &str, to: &str) -> MigrateArgs {
        let hidden = |text: &str| Hidden(text.to_owned());
        MigrateArgs { from: hidden(from), to: hidden(to), schema: "sexton".into(), ca: None, force: false }
    }

    fn at(directory: &Path, file: &str) -> String {
        format!("sqlite:{}", directory.join(file).display())
    }

    fn printed(screen: &Screen) -> String {
        String::from_utf8(screen.kept.lock().expect("no panics").clone()).expect("UTF-8")
    }

    #[test]
    fn moved_records_are_shown_with_counts_and_digests() {
        let directory = tempfile::tempdir().expect("a directory");
        let (from, to) = (at(directory.path(), "a.db"), at(directory.path(), "b.db"));
        drop(SqliteStore::open_to_move(directory.path().join("a.db")).expect("a store"));
        let screen = Screen::plain();

        migrate(&args(&from, &to), &screen).expect("it is moved");

        let shown = printed(&screen);
        assert_eq!(shown.matches("verified").count(), Kind::ALL.len(), "{shown}");
        assert!(shown.starts_with("KIND"), "{shown}");
        assert!(shown.contains(&format!("All of `{from}` is in `{to}` now.")), "{shown}");
    }

    #[test]
    fn a_source_that_is_not_there_is_not_made() {
        let directory = tempfile::tempdir().expect("a directory");
        let args = args(&at(directory.path(), "a.db"), &at(directory.path(), "b.db"));

        let error = migrate(&args, &Screen::plain()).expect_err("there is no file");

        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.message().contains("there is no file"), "{error:?}");
        assert_eq!(std::fs::read_dir(directory.path()).expect("it is there").count(), 0);
    }

    #[test]
    fn a_text_that_names_no_store_is_not_quoted() {
        for wrong in
            ["", "sqlite:", "var/sexton.db", "mysql://ada:secret@h/db", "postgres://ada:secret@h/db?x=y", "@/none"]
        {
            let error = Place::of("--from", &Hidden(wrong.to_owned())).expect_err(wrong);
            assert_eq!(error.exit(), Exit::Usage, "{wrong}");
            assert!(error.message().starts_with("--from") && !error.message().contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn a_store_is_the_same_by_whichever_path() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("sub")).expect("a directory");
        std::fs::write(directory.path().join("a.db"), "").expect("a file");
        let direct = at(directory.path(), "a.db");

        let error = migrate(&args(&direct, &at(directory.path(), "sub/../a.db")), &Screen::plain());

        assert!(error.expect_err("they are one").message().contains("the same store"));
    }

    #[test]
    fn a_store_may_be_named_by_a_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("to");
        std::fs::write(&file, "postgres://ada:secret@db.example/jobs\n").expect("a file");

        let place = Place::of("--to", &Hidden(format!("@{}", file.display()))).expect("a store");

        assert_eq!(place.store_name("sexton"), "postgres://db.example:5432/jobs schema sexton");
    }
}
