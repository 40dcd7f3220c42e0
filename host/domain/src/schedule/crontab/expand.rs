//! Expands the text of a field to the set of its values, with the help of the `cron` crate.
//!
//! The fields are checked here, with messages for people, and rewritten in the plainer dialect of that crate, which
//! expands them. That crate counts Sunday as 1, requires seconds, requires a day to be in both day fields, and reads
//! `5/15` as a range. It is never shown any of these, nor any instant of a zone.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::{LazyLock, Mutex, PoisonError};

use cron::{Schedule, TimeUnitSpec};

use super::error::{BadCrontab, excerpt};
use super::field::{FIELDS, Field, is_spread};
use super::spread;

/// Caches expanded fields. The crate takes some microseconds for each, and a million crontabs that are read at a start
/// consist of a few hundred different fields. The key of a field with an `H` or a `~` is `H` and the text that the
/// crate was asked for.
static KNOWN: LazyLock<Mutex<[HashMap<String, u64>; 6]>> = LazyLock::new(Mutex::default);

/// The most texts that are remembered for a field, and the longest of them. That is half a megabyte in all, whatever is
/// added.
const REMEMBERED: usize = 512;
const LONGEST_REMEMBERED: usize = 64;

/// Returns the values of one field, bit n for the value n; Sunday is 0. `at` is the field's place in [`FIELDS`], and
/// `name` is the name that places its `H`.
pub(super) fn expand(at: usize, text: &str, name: &str) -> Result<u64, BadCrontab> {
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if !is_spread(text) {
        if let Some(bits) = known()[at].get(text) {
            return Ok(*bits);
        }
        let foreign = translate(&FIELDS[at], text, name)?;
        let bits = ask(at, text, &foreign)?;
        remember(&mut known()[at], text.to_owned(), bits);
        return Ok(bits);
    }
    let mut key = translate(&FIELDS[at], text, name)?;
    key.insert(0, 'H');
    if let Some(bits) = known()[at].get(&key) {
        return Ok(*bits);
    }
    let bits = ask(at, text, &key[1..])?;
    remember(&mut known()[at], key, bits);
    Ok(bits)
}

fn remember(known: &mut HashMap<String, u64>, key: String, bits: u64) {
    if key.len() > LONGEST_REMEMBERED {
        return;
    }
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.insert(key, bits);
}

/// Has the `cron` crate expand one field. The other fields are any value.
fn ask(at: usize, text: &str, foreign: &str) -> Result<u64, BadCrontab> {
    if foreign.is_empty() {
        return Ok(0); // all of it is counted
    }
    let mut fields = ["0", "0", "0", "1", "1", "*"];
    fields[at] = foreign;
    let schedule = Schedule::from_str(&fields.join(" ")).map_err(|e| BadCrontab::Field {
        field: FIELDS[at].name,
        text: excerpt(text),
        problem: excerpt(&e.to_string()),
        allowed: "what crontab(5) allows",
    })?;
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

/// Writes a field in the dialect of the `cron` crate: no names, no `H`, no `~`, no steps beyond a range, and Sunday is
/// 1. Counted days are left out, because that crate does not know them.
pub(super) fn translate(field: &Field, text: &str, name: &str) -> Result<String, BadCrontab> {
    let mut foreign = String::with_capacity(16);
    for item in field.values(text) {
        let item = item?;
        let phase = if item.spread { spread::phase(name, field.name, item.phases()) } else { 0 };
        let (values, step) = item.starting_at(phase);
        let (first, last) = (*values.start(), *values.end());
        let mut point = |value| {
            let separator = if foreign.is_empty() { "" } else { "," };
            write!(foreign, "{separator}{}", (field.foreign)(value)).expect("a String takes all that is written");
        };
        // The values are listed one by one if the numbers of the two dialects do not run in parallel: a step beyond the
        // end, or Sunday as 7.
        if (field.foreign)(first) + (last - first) != (field.foreign)(last) || step > last - first {
            values.step_by(step as usize).for_each(point);
        } else {
            point(first);
            write!(foreign, "-{}/{step}", (field.foreign)(last)).expect("a String takes all that is written");
        }
    }
    Ok(foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_hundred_short_fields_are_remembered() {
        let mut known = HashMap::new();
        for n in 0..REMEMBERED {
            remember(&mut known, n.to_string(), n as u64);
        }
        assert_eq!((known.len(), known["0"], known["511"]), (512, 0, 511));

        remember(&mut known, "one more".into(), 7);
        assert_eq!(known, HashMap::from([("one more".to_owned(), 7)]), "room is made for what is read now");

        let [longest, longer] = [64, 65].map(|length| "1".repeat(length));
        remember(&mut known, longest.clone(), 1);
        remember(&mut known, longer.clone(), 1);
        assert!(known.contains_key(&longest) && !known.contains_key(&longer));
    }
}
