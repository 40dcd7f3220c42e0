//! Describes an attack: the files in the plugin directory, and the result that it must have.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use crate::ground::Environment;
use crate::host::Host;

/// The deadline of an attack that ends at its deadline, in milliseconds, which is long enough for the checks.
const SOON: u64 = 400;

/// The deadline of an attack that ends at its deadline in a certain place, which fifty at once must all reach.
pub(crate) const REACHED: u64 = 3000;

/// The deadline of an attack that must end before it. Fifty at once on a busy machine take seconds.
const AMPLE: u64 = 60_000;

/// One attack.
#[derive(Clone, Copy)]
pub(crate) struct Attack {
    /// The name of its file, without the extension.
    pub(crate) file: &'static str,
    /// The text of its file, which begins with what it does and what must happen.
    pub(crate) source: &'static str,
    /// The files for the plugin directory.
    pub(crate) weapon: ComponentSource,
    /// The result that it must have.
    pub(crate) end: End,
    /// The task's `limits.deadline`.
    pub(crate) deadline_ms: u64,
    /// The task's `limits.memory`, in MiB.
    pub(crate) memory_mib: u64,
    /// The task's `limits.fuel`.
    pub(crate) fuel: u64,
    /// Its settings and grants besides those that all attacks have.
    pub(crate) gear: fn(&Environment) -> Gear,
    /// Further conditions that must hold once all of its runs are over. Gets the host's answer about each run.
    pub(crate) check: Check,
    /// Runs before each condition.
    pub(crate) before: fn(&Host) -> Result<()>,
    /// The most that run at once, for attacks that take the whole machine for a while.
    pub(crate) most_at_once: usize,
    /// Whether it needs a host that was started for it.
    pub(crate) own_host: bool,
    /// Whether its runs go on for ever unless they are ended.
    pub(crate) endless: bool,
}

/// The name of an attack's file, its text, and the component.
pub(crate) type Of = (&'static str, &'static str, ComponentSource);

/// A condition that must hold once the runs of an attack are over.
pub(crate) type Check = fn(&Host, &Attack, &[Value]) -> Result<()>;

/// The source of the component in the plugin directory.
#[derive(Clone, Copy)]
pub(crate) enum ComponentSource {
    /// The guest in Rust, whose setting `attack` chooses the attack.
    Rust,
    /// WebAssembly text: a component, or a core module that is turned into one as a compiler would.
    Text,
    /// A component made by code; each of several is different.
    Made(fn(usize) -> Vec<u8>),
    /// Files that this function puts beside `NAME.toml`.
    Placed(fn(&Host, &Path, &str) -> Result<()>),
}

/// The result that an attack must have.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// It is loaded, and its runs end with one of these outcomes, with these words in the message (if there are any).
    Runs { outcomes: &'static [&'static str], words: &'static str, stack: &'static str },
    /// It is not used, for a reason with these words.
    Quarantined { words: &'static str },
    /// It is either not used, or its runs end with one of these outcomes.
    Either { outcomes: &'static [&'static str] },
}

/// The settings and grants of a task.
#[derive(Default)]
pub(crate) struct Gear {
    pub(crate) settings: Vec<(&'static str, String)>,
    pub(crate) http: Vec<String>,
    /// Other lines of its grants.
    pub(crate) grants: String,
}

impl Attack {
    fn new((file, source, weapon): Of, end: End) -> Self {
        let ends_at_its_deadline = match end {
            End::Runs { outcomes, .. } | End::Either { outcomes } => outcomes.contains(&"timed-out"),
            End::Quarantined { .. } => false,
        };
        Self {
            file,
            source,
            weapon,
            end,
            deadline_ms: if ends_at_its_deadline { SOON } else { AMPLE },
            memory_mib: 32,
            fuel: 1_000_000_000_000,
            gear: |_| Gear::default(),
            check: |_, _, _| Ok(()),
            before: |_| Ok(()),
            most_at_once: usize::MAX,
            own_host: false,
            endless: false,
        }
    }

    /// Creates an attack whose runs end with one of these `outcomes`.
    pub(crate) fn runs(of: Of, outcomes: &'static [&'static str]) -> Self {
        Self::new(of, End::Runs { outcomes, words: "", stack: "" })
    }

    /// Creates an attack that is not let in, for a reason with these `words`.
    pub(crate) fn quarantined(of: Of, words: &'static str) -> Self {
        Self::new(of, End::Quarantined { words })
    }

    /// Creates an attack that is not let in, or whose runs end with one of these `outcomes`.
    pub(crate) fn either(of: Of, outcomes: &'static [&'static str]) -> Self {
        Self::new(of, End::Either { outcomes })
    }

    /// Requires these words in the message of each run.
    pub(crate) fn says(mut self, said: &'static str) -> Self {
        if let End::Runs { words, .. } = &mut self.end {
            *words = said;
        }
        self
    }

    /// Requires this in the stack of each run, which gets time to come there.
    pub(crate) fn hung_in(mut self, place: &'static str) -> Self {
        self.deadline_ms = self.deadline_ms.max(REACHED);
        if let End::Runs { stack, .. } = &mut self.end {
            *stack = place;
        }
        self
    }

    pub(crate) fn fuel(self, fuel: u64) -> Self {
        Self { fuel, ..self }
    }

    pub(crate) fn memory_mib(self, memory_mib: u64) -> Self {
        Self { memory_mib, ..self }
    }

    pub(crate) fn deadline_ms(self, deadline_ms: u64) -> Self {
        Self { deadline_ms, ..self }
    }

    pub(crate) fn gear(self, gear: fn(&Environment) -> Gear) -> Self {
        Self { gear, ..self }
    }

    pub(crate) fn check(self, check: Check) -> Self {
        Self { check, ..self }
    }

    pub(crate) fn before(self, before: fn(&Host) -> Result<()>) -> Self {
        Self { before, ..self }
    }

    pub(crate) fn most_at_once(self, most_at_once: usize) -> Self {
        Self { most_at_once, ..self }
    }

    pub(crate) fn on_own_host(self) -> Self {
        Self { own_host: true, ..self }
    }

    pub(crate) fn endless(self) -> Self {
        Self { endless: true, ..self }
    }

    /// Returns its name: that of its file, with dashes.
    pub(crate) fn name(&self) -> String {
        self.file.replace('_', "-")
    }

    /// Returns what it does and what must happen: the sentence that its file begins with.
    pub(crate) fn sentence(&self) -> String {
        let lines = self.source.lines().map_while(|line| {
            let text = line.strip_prefix("//!").or_else(|| line.strip_prefix(";;"))?.trim();
            (!text.is_empty()).then_some(text)
        });
        lines.collect::<Vec<_>>().join(" ")
    }

    /// Returns the name of its task and plugin.
    pub(crate) fn task(&self) -> String {
        format!("hostile-{}", self.name())
    }

    /// Returns the manifest with which it is put into the plugin directory as `task`.
    pub(crate) fn manifest(&self, task: &str, ground: &Environment) -> String {
        let mut gear = (self.gear)(ground);
        gear.settings.push(("attack", self.name()));
        // There is no brake: an attempt that is lost for lack of memory is repeated, and must not wait for minutes. The
        // guest in Rust imports HTTP whatever it does, so it is granted a host that does not exist.
        gear.http.push("127.0.0.1:1".to_owned());
        let settings: String = gear.settings.iter().map(|(key, value)| format!("{key} = {value:?}\n")).collect();
        format!(
            "[tasks.{task}]\noverlap = \"allow(64)\"\nbrake = \"off\"\n\
             [tasks.{task}.retry]\nattempts = 1\n\
             [tasks.{task}.limits]\ndeadline = \"{}ms\"\nfuel = {}\nmemory = \"{} MiB\"\n\
             [tasks.{task}.settings]\n{settings}\
             [tasks.{task}.grants]\nlocks = [\"hostile/*\"]\ncache = [\"hostile/*\"]\nschedule = [{task:?}]\nhttp = {:?}\n{}\n",
            self.deadline_ms, self.fuel, self.memory_mib, gear.http, gear.grants,
        )
    }
}
