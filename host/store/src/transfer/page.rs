//! Defines pages of records of one kind: their order, their size, and the sum of all of them.

use std::fmt::Write as _;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::records::{
    AttemptRecord, ComponentRecord, EntryRecord, PartRecord, PauseRecord, PluginRecord, RunRecord, ScheduleRecord,
    TaskRecord, VersionRecord,
};
use super::{Key, Kind, without_nul};
use sexton_domain::run::RunState;
use sexton_domain::task::Name;

/// A record of any kind.
pub(crate) trait Record: Serialize {
    /// Returns the position of the record among those of its kind.
    fn key(&self) -> Key;
    /// Returns the texts in which a guest or a person may have left any character.
    fn texts(&mut self) -> Vec<&mut String>;
    /// Returns the bytes of what may be large in the record.
    fn bytes(&self) -> usize;
}

impl Record for TaskRecord {
    fn key(&self) -> Key {
        Key::Names(self.key.tenant.to_string(), self.key.task.to_string())
    }

    fn texts(&mut self) -> Vec<&mut String> {
        let why = self.paused.as_mut().and_then(|pause| pause.why.as_mut());
        [self.memory.as_mut(), self.schedule.as_mut(), self.left_out.as_mut(), why].into_iter().flatten().collect()
    }

    fn bytes(&self) -> usize {
        self.memory.as_ref().map_or(0, String::len)
    }
}

impl Record for PauseRecord {
    fn key(&self) -> Key {
        Key::Names(self.tenant.as_ref().map(Name::to_string).unwrap_or_default(), String::new())
    }

    fn texts(&mut self) -> Vec<&mut String> {
        self.pause.why.as_mut().into_iter().collect()
    }

    fn bytes(&self) -> usize {
        self.pause.why.as_ref().map_or(0, String::len)
    }
}

impl Record for ScheduleRecord {
    fn key(&self) -> Key {
        Key::Numbers(self.id, 0)
    }

    fn texts(&mut self) -> Vec<&mut String> {
        vec![&mut self.definition]
    }

    fn bytes(&self) -> usize {
        self.definition.len() + self.data.as_ref().map_or(0, Vec::len)
    }
}

impl Record for EntryRecord {
    fn key(&self) -> Key {
        Key::Names(self.tenant.to_string(), self.key.clone())
    }

    /// Keys are stored as bytes where texts cannot hold them, so that no text needs cleaning.
    fn texts(&mut self) -> Vec<&mut String> {
        Vec::new()
    }

    fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

impl Record for VersionRecord {
    fn key(&self) -> Key {
        Key::Numbers(i64::try_from(self.version).unwrap_or(i64::MAX), 0)
    }

    /// As for entries.
    fn texts(&mut self) -> Vec<&mut String> {
        Vec::new()
    }

    fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

impl Record for ComponentRecord {
    fn key(&self) -> Key {
        Key::Names(self.digest.clone(), String::new())
    }

    fn texts(&mut self) -> Vec<&mut String> {
        Vec::new()
    }

    fn bytes(&self) -> usize {
        0
    }
}

impl Record for PartRecord {
    fn key(&self) -> Key {
        Key::Part(self.digest.clone(), self.part)
    }

    fn texts(&mut self) -> Vec<&mut String> {
        Vec::new()
    }

    fn bytes(&self) -> usize {
        self.body.len()
    }
}

impl Record for PluginRecord {
    fn key(&self) -> Key {
        Key::Names(self.tenant.to_string(), self.plugin.to_string())
    }

    fn texts(&mut self) -> Vec<&mut String> {
        vec![&mut self.manifest, &mut self.host]
    }

    fn bytes(&self) -> usize {
        self.manifest.len()
    }
}

impl Record for RunRecord {
    fn key(&self) -> Key {
        Key::Numbers(self.id.0, 0)
    }

    fn texts(&mut self) -> Vec<&mut String> {
        let texts = [
            self.host.as_mut(),
            self.dedup.as_mut(),
            self.message.as_mut(),
            self.note.as_mut(),
            self.cancel.as_mut(),
            self.content_type.as_mut(),
        ];
        texts.into_iter().flatten().collect()
    }

    fn bytes(&self) -> usize {
        self.input.len() + self.output.len()
    }
}

impl Record for AttemptRecord {
    fn key(&self) -> Key {
        Key::Numbers(self.run.0, self.attempt.into())
    }

    fn texts(&mut self) -> Vec<&mut String> {
        let report = &mut self.report;
        let always = [&mut self.host, &mut report.log.text, &mut report.stdout.text, &mut report.stderr.text];
        let maybe = [report.message.as_mut(), report.backtrace.as_mut()];
        always.into_iter().chain(maybe.into_iter().flatten()).collect()
    }

    fn bytes(&self) -> usize {
        let report = &self.report;
        report.log.text.len()
            + report.stdout.text.len()
            + report.stderr.text.len()
            + report.backtrace.as_ref().map_or(0, String::len)
    }
}

/// Records of one kind, in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    Tasks(Vec<TaskRecord>),
    Pauses(Vec<PauseRecord>),
    Schedules(Vec<ScheduleRecord>),
    Entries(Vec<EntryRecord>),
    Versions(Vec<VersionRecord>),
    Components(Vec<ComponentRecord>),
    Parts(Vec<PartRecord>),
    Plugins(Vec<PluginRecord>),
    Runs(Vec<RunRecord>),
    Attempts(Vec<AttemptRecord>),
}

/// Evaluates `$what` with the records of a page of any kind.
macro_rules! with_records {
    ($page:expr, $records:ident => $what:expr) => {
        match $page {
            Page::Tasks($records) => $what,
            Page::Pauses($records) => $what,
            Page::Schedules($records) => $what,
            Page::Entries($records) => $what,
            Page::Versions($records) => $what,
            Page::Components($records) => $what,
            Page::Parts($records) => $what,
            Page::Plugins($records) => $what,
            Page::Runs($records) => $what,
            Page::Attempts($records) => $what,
        }
    };
}

impl Page {
    /// Returns the kind of the records.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Tasks(_) => Kind::Tasks,
            Self::Pauses(_) => Kind::Pauses,
            Self::Schedules(_) => Kind::Schedules,
            Self::Entries(_) => Kind::Entries,
            Self::Versions(_) => Kind::Versions,
            Self::Components(_) => Kind::Components,
            Self::Parts(_) => Kind::Parts,
            Self::Plugins(_) => Kind::Plugins,
            Self::Runs(_) => Kind::Runs,
            Self::Attempts(_) => Kind::Attempts,
        }
    }

    /// Returns the number of the records.
    pub fn len(&self) -> usize {
        with_records!(self, records => records.len())
    }

    /// Returns whether the page has no records.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the key of the last record.
    pub fn last(&self) -> Option<Key> {
        with_records!(self, records => records.last().map(Record::key))
    }

    /// Makes all texts such that every store can hold them.
    pub(crate) fn without_nuls(mut self) -> Self {
        fn clean(records: &mut [impl Record]) {
            records.iter_mut().flat_map(Record::texts).for_each(without_nul);
        }
        with_records!(&mut self, records => clean(records));
        self
    }
}

/// The sum of all records of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    pub records: u64,
    /// SHA-256 over the JSON of all of them, a line each, in hexadecimal digits.
    pub digest: String,
    /// The number of records that are runs under way.
    pub under_way: u64,
}

/// Sums up pages into a [`Sum`].
#[derive(Clone, Debug, Default)]
pub struct Summing {
    sha: Sha256,
    records: u64,
    under_way: u64,
}

impl Summing {
    /// Adds the records of a page. A NUL in a text counts as its replacement, so that the sum does not depend on the
    /// kind of store.
    pub fn add(&mut self, page: Page) {
        self.records += page.len() as u64;
        if let Page::Runs(runs) = &page {
            self.under_way += runs.iter().filter(|run| run.state == RunState::Running).count() as u64;
        }
        with_records!(page.without_nuls(), records => self.hash(&records));
    }

    fn hash(&mut self, records: &[impl Record]) {
        let mut line = Vec::new();
        for record in records {
            line.clear();
            serde_json::to_writer(&mut line, record).expect("a record is fields and texts, and a Vec takes all of it");
            line.push(b'\n');
            self.sha.update(&line);
        }
    }

    /// Returns the sum.
    pub fn sum(self) -> Sum {
        let mut digest = String::with_capacity(64);
        for byte in self.sha.finalize().iter() {
            write!(digest, "{byte:02x}").expect("a String takes all of it");
        }
        Sum { records: self.records, digest, under_way: self.under_way }
    }
}
