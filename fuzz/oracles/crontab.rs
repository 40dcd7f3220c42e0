//! Reads crontabs a second time, from the manual and without the code under test: sets of values instead of bits, a
//! walk from day to day instead of leaps, and cron's own main loop for changes of the clock.

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;
use sha2::{Digest, Sha256};

const DAY: i64 = 86_400;

/// A crontab as the manual describes it. Lists have a place for each value from 0 on.
pub struct Manual {
    seconds: Vec<bool>,
    minutes: Vec<bool>,
    hours: Vec<bool>,
    dates: Vec<Date>,
    months: Vec<bool>,
    weekdays: Vec<Weekday>,
    either: bool,
    /// The zone that its text names.
    pub zone: Option<Tz>,
    /// Whether it follows the clock when the clock is set.
    pub wild: bool,
    /// Whether some of its values depend on a name.
    pub spread: bool,
}

/// An item of the day-of-month field.
#[derive(Clone, Copy)]
enum Date {
    On(usize),
    BeforeLast(usize),
    Near(usize),
    NearBeforeLast(usize),
}

/// An item of the day-of-week field; Sunday is 0.
#[derive(Clone, Copy)]
enum Weekday {
    Every(usize),
    Nth(usize, usize),
    Last(usize),
}

struct Field {
    name: &'static str,
    low: usize,
    high: usize,
    /// The last value of a bare `H`.
    spread: usize,
    names: &'static str,
}

const FIELDS: [Field; 6] = [
    Field { name: "second", low: 0, high: 59, spread: 59, names: "" },
    Field { name: "minute", low: 0, high: 59, spread: 59, names: "" },
    Field { name: "hour", low: 0, high: 23, spread: 23, names: "" },
    Field { name: "day-of-month", low: 1, high: 31, spread: 28, names: "" },
    Field { name: "month", low: 1, high: 12, spread: 12, names: "jan feb mar apr may jun jul aug sep oct nov dec" },
    Field { name: "day-of-week", low: 0, high: 7, spread: 6, names: "sun mon tue wed thu fri sat" },
];

impl Manual {
    /// Reads five fields or six; `None` if the manual does not allow the text. The crontab may never come.
    pub fn read(text: &str, has_seconds: bool, name: &str) -> Option<Self> {
        if text.len() > 1000 {
            return None;
        }
        let blank = |c| c == ' ' || c == '\t';
        let mut plain = text.trim_matches(blank);
        let mut zone = None;
        if let Some(named) = plain.strip_prefix("CRON_TZ=").or_else(|| plain.strip_prefix("TZ=")) {
            let end = named.find(blank).unwrap_or(named.len());
            zone = Some(named[..end].parse().ok()?);
            plain = named[end..].trim_start_matches(blank);
        }
        let word = expand_macro(plain);
        let mut fields: Vec<&str> = word.unwrap_or(plain).split(blank).filter(|field| !field.is_empty()).collect();
        if word.is_some() || !has_seconds {
            fields.insert(0, "0");
        }
        let [seconds, minutes, hours, days, months, weekdays] = <[&str; 6]>::try_from(fields).ok()?;
        let star = |field: &str| field.starts_with('*');
        let mut spread = false;
        let mut values = |at: usize, text: &str| values(&FIELDS[at], text, name, &mut spread);
        let set = |numbers: Vec<usize>| {
            let mut set = vec![false; 60];
            numbers.into_iter().for_each(|number| set[number] = true);
            set
        };
        let (second_set, minute_set) = (set(values(0, seconds)?), set(values(1, minutes)?));
        let (hour_set, month_set) = (set(values(2, hours)?), set(values(4, months)?));
        let mut dates = Vec::new();
        for item in days.split(',') {
            match date(item)? {
                Some(counted) => dates.push(counted),
                None => dates.extend(values(3, item)?.into_iter().map(Date::On)),
            }
        }
        let mut weekday_items = Vec::new();
        for item in weekdays.split(',') {
            match weekday(item)? {
                Some(counted) => weekday_items.push(counted),
                None => weekday_items.extend(values(5, item)?.into_iter().map(|day| Weekday::Every(day % 7))),
            }
        }
        Some(Self {
            seconds: second_set,
            minutes: minute_set,
            hours: hour_set,
            dates,
            months: month_set,
            weekdays: weekday_items,
            either: !star(days) && !star(weekdays),
            zone,
            wild: [seconds, minutes, hours].into_iter().any(star),
            spread,
        })
    }

    /// Returns whether the second `shown`, counted from 1970-01-01 00:00 on a clock, matches.
    pub fn means(&self, shown: i64) -> bool {
        let time = usize::try_from(shown.rem_euclid(DAY)).expect("less than a day");
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        self.hours[hour] && self.minutes[minute] && self.seconds[second] && self.matches_day(shown.div_euclid(DAY))
    }

    /// Returns the first second after `shown` on a clock that is never set; `None` if it does not come within `days`
    /// days.
    pub fn next_after(&self, shown: i64, days: i64) -> Option<i64> {
        let today = (shown + 1).div_euclid(DAY);
        let first_of = |day: i64| {
            let mut hours = (0..24).filter(|hour| self.hours[*hour]);
            hours.find_map(|hour| {
                let mut minutes = (0..60).filter(|minute| self.minutes[*minute]);
                minutes.find_map(|minute| {
                    let seconds = (0..60).filter(|second| self.seconds[*second]);
                    let mut found = seconds.map(|second| day * DAY + (hour * 3600 + minute * 60 + second) as i64);
                    found.find(|found| *found > shown)
                })
            })
        };
        (today..today + days).filter(|day| self.matches_day(*day)).find_map(first_of)
    }

    /// Returns whether any day of the calendar, which repeats after 400 years, matches.
    pub fn ever_comes(&self) -> bool {
        (0..146_097).any(|day| self.matches_day(day))
    }

    /// Returns whether a day, counted from 1970-01-01, matches.
    fn matches_day(&self, day: i64) -> bool {
        let (year, month, date) = civil(day);
        if !self.months[month] {
            return false;
        }
        let length = length(year, month);
        // 1970 began on a Thursday.
        let weekday = (day + 4).rem_euclid(7);
        let is_date = self.dates.iter().any(|wanted| match *wanted {
            Date::On(wanted) => wanted as i64 == date,
            Date::BeforeLast(before) => length - before as i64 == date,
            Date::Near(wanted) => near(wanted as i64, date, weekday, length),
            Date::NearBeforeLast(before) => near(length - before as i64, date, weekday, length),
        });
        let is_weekday = self.weekdays.iter().any(|wanted| match *wanted {
            Weekday::Every(wanted) => wanted as i64 == weekday,
            Weekday::Nth(wanted, nth) => wanted as i64 == weekday && (date - 1) / 7 + 1 == nth as i64,
            Weekday::Last(wanted) => wanted as i64 == weekday && date + 7 > length,
        });
        if self.either { is_date || is_weekday } else { is_date && is_weekday }
    }

    /// Returns when cron runs it in `(from, to]` on a machine in `zone`. cron wakes up whenever the clock's minute
    /// changes.
    pub fn fires(&self, zone: Tz, from: i64, to: i64) -> Vec<i64> {
        let offset = |second: i64| offset(zone, second);
        let means = |minute: i64| self.means(minute * 60);
        let minute = |second: i64, offset: i64| (second + offset).div_euclid(60);
        let mut fires = Vec::new();
        let (mut second, mut here) = (from, offset(from));
        let mut running = minute(second, here);
        let mut virtually = running;
        loop {
            let asleep = second;
            second += 60 - (second + here).rem_euclid(60);
            if offset(second) != here {
                second = (asleep..).find(|second| minute(*second, offset(*second)) != running).expect("clocks go on");
                here = offset(second);
            }
            if second > to {
                return fires;
            }
            running = minute(second, here);
            let ahead = running - virtually;
            let mut runs = false;
            if !(-180..=180).contains(&ahead) {
                virtually = running;
                runs = means(running);
            } else if ahead <= 0 {
                runs = self.wild && means(running);
            } else if ahead <= 5 {
                while virtually < running {
                    virtually += 1;
                    runs |= means(virtually);
                }
            } else {
                runs |= self.wild && means(running);
                while virtually < running {
                    virtually += 1;
                    runs |= !self.wild && means(virtually);
                }
            }
            if runs {
                fires.push(second);
            }
        }
    }
}

/// Returns the first change of a zone's clocks after `from`, in seconds, within `days` days.
pub fn next_change(zone: Tz, from: i64, days: i64) -> Option<i64> {
    let before = offset(zone, from);
    let mut low = (from..from + days * DAY).step_by(6 * 3600).find(|at| offset(zone, *at + 6 * 3600) != before)?;
    let mut high = low + 6 * 3600;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if offset(zone, middle) == before { low = middle } else { high = middle }
    }
    Some(high)
}

fn offset(zone: Tz, second: i64) -> i64 {
    let utc = DateTime::from_timestamp(second, 0).expect("within the calendar").naive_utc();
    zone.offset_from_utc_datetime(&utc).fix().local_minus_utc().into()
}

/// Returns the fields of macros as they stand in the manual, and of systemd's words in any case.
fn expand_macro(text: &str) -> Option<&'static str> {
    let known = match text.to_ascii_lowercase().as_str() {
        "minutely" => "* * * * *",
        "hourly" | "@hourly" => "0 * * * *",
        "daily" | "@daily" | "@midnight" => "0 0 * * *",
        "weekly" => "0 0 * * 1",
        "@weekly" => "0 0 * * 0",
        "monthly" | "@monthly" => "0 0 1 * *",
        "quarterly" => "0 0 1 1,4,7,10 *",
        "semiannually" => "0 0 1 1,7 *",
        "yearly" | "annually" | "@yearly" | "@annually" => "0 0 1 1 *",
        _ => return None,
    };
    (!text.starts_with('@') || text.bytes().all(|byte| !byte.is_ascii_uppercase())).then_some(known)
}

/// Returns the values of a field that has no counted days.
fn values(field: &Field, text: &str, name: &str, spread: &mut bool) -> Option<Vec<usize>> {
    let mut all = Vec::new();
    for item in text.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(number(step).filter(|step| *step > 0)?)),
            None => (item, None),
        };
        let (first, last, step) = if let Some(bounds) = range.strip_prefix('H') {
            *spread = true;
            let (first, last) = match bounds {
                "" => (field.low, field.spread),
                _ => {
                    let (first, last) = bounds.strip_prefix('(')?.strip_suffix(')')?.split_once('-')?;
                    let (first, last) = (value(field, first)?, value(field, last)?);
                    let last = Some(last).filter(|last| !field.names.is_empty() || *last <= field.spread)?;
                    (first, last)
                }
            };
            if first > last {
                return None;
            }
            placed(field, name, first, last, step)
        } else if let Some((first, last)) = range.split_once('~') {
            *spread = true;
            let first = if first.is_empty() { field.low } else { value(field, first)? };
            let last = if last.is_empty() { field.high } else { value(field, last)? };
            if step.is_some() || first > last {
                return None;
            }
            placed(field, name, first, last, None)
        } else if range == "*" {
            (field.low, field.high, step.unwrap_or(1))
        } else if let Some((first, last)) = range.split_once('-') {
            let (first, last) = (value(field, first)?, value(field, last)?);
            let to_sunday = field.name == "day-of-week" && last == 0 && first > 0;
            if (to_sunday && step.is_some()) || (first > last && !to_sunday) {
                return None;
            }
            (first, if to_sunday { 7 } else { last }, step.unwrap_or(1))
        } else {
            if step.is_some() {
                return None;
            }
            let value = value(field, range)?;
            (value, value, 1)
        };
        all.extend((first..=last).step_by(step));
    }
    Some(all)
}

/// Returns where `H` and `~` fall for a name: the first value, the last possible one, and the step.
fn placed(field: &Field, name: &str, first: usize, last: usize, step: Option<usize>) -> (usize, usize, usize) {
    let all = last - first + 1;
    let step = step.unwrap_or(all);
    let digest = Sha256::digest(format!("{name}\0{}", field.name));
    let hash = u64::from_be_bytes(digest[..8].try_into().expect("eight bytes"));
    let places = step.min(all) as u64;
    (first + usize::try_from(hash % places).expect("less than sixty"), last, step)
}

/// Parses `L`, `L-3`, `15W`, `LW` or `L-3W`; the inner `None` is another item, the outer is an error.
fn date(item: &str) -> Option<Option<Date>> {
    let field = &FIELDS[3];
    let (day, is_near) = item.strip_suffix('W').map_or((item, false), |day| (day, true));
    if let Some(rest) = day.strip_prefix('L') {
        let before =
            if rest.is_empty() { 0 } else { number(rest.strip_prefix('-')?).filter(|n| (1..=30).contains(n))? };
        return Some(Some(if is_near { Date::NearBeforeLast(before) } else { Date::BeforeLast(before) }));
    }
    if is_near { value(field, day).map(|day| Some(Date::Near(day))) } else { Some(None) }
}

/// Parses `friL` or `fri#2`.
fn weekday(item: &str) -> Option<Option<Weekday>> {
    let day = |text: &str| value(&FIELDS[5], text).map(|day| day % 7);
    if let Some((weekday, nth)) = item.split_once('#') {
        let nth = number(nth).filter(|n| (1..=5).contains(n) && nth.len() == 1)?;
        return Some(Some(Weekday::Nth(day(weekday)?, nth)));
    }
    match item.strip_suffix('L') {
        Some(weekday) => Some(Some(Weekday::Last(day(weekday)?))),
        None => Some(None),
    }
}

fn value(field: &Field, text: &str) -> Option<usize> {
    if let Some(number) = number(text) {
        return (field.low..=field.high).contains(&number).then_some(number);
    }
    let named = field.names.split_whitespace().position(|name| name.eq_ignore_ascii_case(text));
    named.map(|place| place + field.low)
}

/// Parses digits only; a number beyond all fields counts as a thousand.
fn number(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.bytes().fold(0, |number, byte| (number * 10 + usize::from(byte - b'0')).min(1000)))
}

/// Returns whether `date`, a `weekday`, is the day from Monday to Friday that is nearest to `wanted`, in the same
/// month.
fn near(wanted: i64, date: i64, weekday: i64, length: i64) -> bool {
    if !(1..=length).contains(&wanted) || weekday == 0 || weekday == 6 {
        return false;
    }
    // The distance to a date outside weekends. The nearest one counts, which is Friday rather than Monday for a
    // Saturday.
    let is_workday =
        |other: i64| (1..=length).contains(&other) && (1..=5).contains(&(weekday + other - date).rem_euclid(7));
    let order = [0, -1, 1, -2, 2];
    order.into_iter().map(|away| wanted + away).find(|other| is_workday(*other)) == Some(date)
}

/// Returns year, month and date of a day since 1970-01-01, by Howard Hinnant's `civil_from_days`.
fn civil(day: i64) -> (i64, usize, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, usize::try_from(month).expect("1 to 12"), date)
}

fn length(year: i64, month: usize) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
