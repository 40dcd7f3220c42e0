//! From a field's text to the set of its values, by way of the `cron` crate.
//!
//! The fields are checked here, with messages for people, and rewritten in the plainer dialect of that crate, which
//! expands them. It counts Sunday as 1, wants seconds, takes both day fields together, and takes `5/15` for a range:
//! nothing of that is ever shown to it, nor is any instant of a zone.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::{LazyLock, Mutex, PoisonError};

use cron::{Schedule, TimeUnitSpec};

use super::error::{BadCrontab, excerpt};
use super::field::{FIELDS, Field};
use super::spread;

/// What the crate was asked before, field by field: it takes some microseconds, and a million crontabs that are read at
/// a start are made of a few hundred fields.
static KNOWN: LazyLock<Mutex<[HashMap<String, u64>; 6]>> = LazyLock::new(Mutex::default);

/// So many texts of a field are remembered, no longer than that: half a megabyte in all, whatever is added.
const REMEMBERED: usize = 512;
const LONGEST_REMEMBERED: usize = 64;

/// The values of one field, bit n for the value n; Sunday is 0. `at` is its place in [`FIELDS`], `name` whose it is.
pub(super) fn expand(at: usize, text: &str, name: &str) -> Result<u64, BadCrontab> {
    let foreign = translate(&FIELDS[at], text, name)?;
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bits) = known[at].get(&foreign) {
        return Ok(*bits);
    }
    let bits = ask(at, &foreign).map_err(|problem| BadCrontab::Field {
        field: FIELDS[at].name,
        text: excerpt(text),
        problem: excerpt(&problem),
        allowed: "what crontab(5) allows",
    })?;
    if foreign.len() <= LONGEST_REMEMBERED {
        if known[at].len() >= REMEMBERED {
            known[at].clear();
        }
        known[at].insert(foreign, bits);
    }
    Ok(bits)
}

/// Have the `cron` crate expand one field, the others being what they like.
fn ask(at: usize, foreign: &str) -> Result<u64, String> {
    let mut fields = ["0", "0", "0", "1", "1", "*"];
    fields[at] = foreign;
    let schedule = Schedule::from_str(&fields.join(" ")).map_err(|e| e.to_string())?;
    Ok(match at {
        0 => bits(schedule.seconds()),
        1 => bits(schedule.minutes()),
        2 => bits(schedule.hours()),
        3 => bits(schedule.days_of_month()),
        4 => bits(schedule.months()),
        _ => bits(schedule.days_of_week()) >> 1, // there, Sunday is 1
    })
}

fn bits(values: &impl TimeUnitSpec) -> u64 {
    values.iter().fold(0, |bits, value| bits | (1 << value))
}

/// A field in the `cron` crate's dialect: no names, no `H`, no steps beyond a range, Sunday is 1.
pub(super) fn translate(field: &Field, text: &str, name: &str) -> Result<String, BadCrontab> {
    let mut foreign = String::with_capacity(16);
    for item in field.items(text) {
        let item = item?;
        let phase = if item.spread { spread::phase(name, field.name, item.phases()) } else { 0 };
        let (values, step) = item.starting_at(phase);
        let (first, last) = (*values.start(), *values.end());
        let mut point = |value| {
            let separator = if foreign.is_empty() { "" } else { "," };
            write!(foreign, "{separator}{}", (field.foreign)(value)).expect("a String takes all that is written");
        };
        // Value by value where the dialects' numbers do not run side by side: a step beyond the end, Sunday as 7.
        if (field.foreign)(first) + (last - first) != (field.foreign)(last) || step > last - first {
            values.step_by(step as usize).for_each(point);
        } else {
            point(first);
            write!(foreign, "-{}/{step}", (field.foreign)(last)).expect("a String takes all that is written");
        }
    }
    Ok(foreign)
}
