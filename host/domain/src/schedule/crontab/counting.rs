//! Parses counted days: `L`, `L-3`, `15W`, `LW` and `L-3W` as a day of the month, `friL` and `fri#2` as a day of the
//! week. The letters are capitals; names are in any case.

use super::error::excerpt;
use super::field::{DAYS, FIELDS, Field, WEEKDAYS};
use crate::schedule::counted::Counted;

/// The most days that a day may be before the last of its month: that is the first day of the longest months.
const FURTHEST: u32 = 30;

/// Returns the days that `item` counts in a field; `None` if it counts none.
pub(super) fn read(field: &Field, item: &str) -> Option<Result<Counted, String>> {
    if std::ptr::eq(field, &FIELDS[DAYS]) {
        return of_month(field, item);
    }
    if std::ptr::eq(field, &FIELDS[WEEKDAYS]) {
        return of_week(field, item);
    }
    // In the other fields such items are no values, like any other text.
    None
}

fn of_month(field: &Field, item: &str) -> Option<Result<Counted, String>> {
    let (day, near) = item.strip_suffix('W').map_or((item, false), |day| (day, true));
    if let Some(rest) = day.strip_prefix('L') {
        return Some(before_last(rest, item).map(|before| match near {
            true => Counted { near_before_last: 1 << before, ..Counted::default() },
            false => Counted { before_last: 1 << before, ..Counted::default() },
        }));
    }
    if near {
        let hint = || format!("`{}` is no `15W`, `LW` or `L-3W`", excerpt(item));
        return Some(field.value(day).map(|day| Counted { near: 1 << day, ..Counted::default() }).map_err(|_| hint()));
    }
    None
}

/// Parses the rest of an item after `L`: nothing, or `-3`.
fn before_last(rest: &str, item: &str) -> Result<u32, String> {
    if rest.is_empty() {
        return Ok(0);
    }
    let digits = rest.strip_prefix('-').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let before = digits.and_then(|digits| digits.parse().ok()).filter(|before| (1..=FURTHEST).contains(before));
    before.ok_or_else(|| format!("`{}` is not `L` or `L-n` with n from 1 to {FURTHEST}", excerpt(item)))
}

fn of_week(field: &Field, item: &str) -> Option<Result<Counted, String>> {
    // 7 is Sunday, as 0 is.
    let weekday = |text: &str| field.value(text).map(|day| 1 << (day % 7));
    if let Some((day, nth)) = item.split_once('#') {
        let place = nth.parse::<usize>().ok().filter(|nth| (1..=5).contains(nth)).filter(|_| nth.len() == 1);
        return Some(match (weekday(day), place) {
            (Ok(day), Some(place)) => {
                let mut counted = Counted::default();
                counted.nth[place - 1] = day;
                Ok(counted)
            }
            _ => Err(format!("`{}` is not a weekday and 1 to 5 such as `fri#2`", excerpt(item))),
        });
    }
    let day = item.strip_suffix('L')?;
    if day.is_empty() {
        return Some(Err("`L` alone is Saturday to some and the last day to others; write `6`, or `satL`".into()));
    }
    let hint = |_| format!("`{}` is not the last of a weekday such as `friL`", excerpt(item));
    Some(weekday(day).map(|last| Counted { last, ..Counted::default() }).map_err(hint))
}
