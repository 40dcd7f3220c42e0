//! Time zones by the names that people write.

use std::str::FromStr;

use chrono_tz::Tz;

/// No name of the IANA database is as long as this: what is longer is not compared with them.
const LONGEST: usize = 64;

/// The zone of that name, or what to write instead: `did you mean "Europe/Berlin"?`.
pub(crate) fn zone_named(text: &str) -> Result<Tz, String> {
    Tz::from_str(text).map_err(|_| match meant(text) {
        Some(zone) => format!("did you mean \"{zone}\"?"),
        None => "write one of the IANA database, such as \"Europe/Berlin\"".to_owned(),
    })
}

/// The zone that somebody meant: the city alone, another case, a slip of the finger.
fn meant(text: &str) -> Option<&'static str> {
    if text.is_empty() || text.len() > LONGEST {
        return None;
    }
    let plain = text.replace(' ', "_");
    let names: Vec<&'static str> = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()).collect();
    let city = |name: &&'static str| name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(&plain));
    names
        .iter()
        .find(|name| name.eq_ignore_ascii_case(&plain))
        .copied()
        .or_else(|| names.iter().copied().find(city))
        .or_else(|| nearest(&plain.to_lowercase(), &names))
}

/// The name that is most alike, if it is alike at all.
fn nearest(text: &str, names: &[&'static str]) -> Option<&'static str> {
    // Below this, Jaro-Winkler finds words alike that nobody would mistake for one another.
    const ALIKE: f64 = 0.8;
    let near = |name: &&'static str| (strsim::jaro_winkler(text, &name.to_lowercase()), *name);
    let best = names.iter().map(near).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= ALIKE).then_some(best.1)
}
