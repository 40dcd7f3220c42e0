//! Tells PostgreSQL's planner how the statements of this store find their rows: by index and in its order, whatever the
//! planner thinks of a table. A table of live runs may have ten rows now and a million in a minute, long before it is
//! analyzed again. All settings are here, and each has its reason; docs/design/0009 has the measurements.
//!
//! The statements themselves do the rest: `r.id = ANY (ARRAY[n.id])` leaves no way but the index (`archive.rs`), and
//! `state + 0` keeps the planner from taking an index of all waiting runs for the one of the wanted rows.
//!
//! **Scope.** The pool's connections have the settings, as options of their start. The listener's connection, and those
//! that migrate, have none. Narrower is worse: a prepared statement is planned once for each connection, by the settings
//! at its first execution, so a `SET LOCAL` that only some transactions have would make the plan of a statement depend on
//! which transaction of its connection executed it first. Reads have no transaction, which `SET LOCAL` needs; and in a
//! transaction that exists anyway it costs no round trip, but the server as much time as an empty transaction
//! (docs/design/0019).

use std::fmt;

use tokio_postgres::Config;

/// A setting of the planner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    name: &'static str,
    value: &'static str,
}

/// The settings of a connection that executes the store's statements.
pub(super) const SETTINGS: [Setting; 9] = [
    // A plan for a handful of rows, made once. With a plan for each execution, which is the default, a claim of 512 runs
    // out of 12,000 took 885 ms: the statistics knew of no runs, so all of them were read for each. Now it takes 4 ms,
    // with 20 runs or 40,000 (0009).
    Setting { name: "plan_cache_mode", value: "force_generic_plan" },
    // The four ways that read a whole table or a whole index for a few of its rows. They look cheap on a table that was
    // empty when it was analyzed; an end of an attempt took 220 us then, instead of 6 (0009).
    Setting { name: "enable_seqscan", value: "off" },
    Setting { name: "enable_bitmapscan", value: "off" },
    Setting { name: "enable_hashjoin", value: "off" },
    Setting { name: "enable_mergejoin", value: "off" },
    // A step to a row by index is cheap, because live rows are in memory, and a walk through an index is dear, because
    // it may have a million entries where the statistics know of ten (0009).
    Setting { name: "random_page_cost", value: "0.02" },
    Setting { name: "seq_page_cost", value: "0.02" },
    Setting { name: "cpu_index_tuple_cost", value: "0.5" },
    // A plan with a way that is `off` counts as immensely dear, and dear plans are compiled, which takes a hundred times
    // as long as a statement does (0019).
    Setting { name: "jit", value: "off" },
];

/// Prints it as `SET` takes it.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// Statements that undo, for the rest of a transaction, the settings that are wrong where all rows of a day are read. It is
/// sent in one batch with the lock of the day's tables, so it takes no round trip of its own.
pub(super) const READS_ALL_ROWS: &str = "SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on";

/// Adds the settings to the options that a connection starts with.
pub(super) fn set_up(config: &mut Config) {
    let mut options = config.get_options().unwrap_or_default().to_owned();
    for setting in SETTINGS {
        options.push_str(&format!(" -c {setting}"));
    }
    config.options(options.trim_start());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_after_the_options_of_the_url_which_they_overrule() {
        let mut config: Config = "postgres://h/d?options=-cjit%3Don".parse().unwrap();

        set_up(&mut config);

        let options = config.get_options().unwrap();
        assert!(options.starts_with("-cjit=on -c plan_cache_mode=force_generic_plan "), "{options}");
        assert!(options.ends_with(" -c jit=off"), "{options}");
    }
}
