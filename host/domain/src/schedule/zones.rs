//! Finds zones by their names, as people write them.

use chrono_tz::{TZ_VARIANTS, Tz};

/// The release of the IANA time zone database that is compiled in, whose rules set the clocks here.
pub const TZDATA: &str = chrono_tz::IANA_TZDB_VERSION;

/// The longest text for which a similar zone is searched. The longest name has 32 letters.
const LONGEST: usize = 64;

/// Returns the zone of the IANA database with this name, in any case; `Z` is UTC.
pub(super) fn named(text: &str) -> Option<Tz> {
    if text.eq_ignore_ascii_case("z") {
        return Some(Tz::UTC);
    }
    text.parse().ok().or_else(|| TZ_VARIANTS.into_iter().find(|zone| zone.name().eq_ignore_ascii_case(text)))
}

/// Returns the zone that a person names.
///
/// # Errors
///
/// One line that says what to write, with the name that was probably meant.
pub fn zone(text: &str) -> Result<Tz, String> {
    named(text).ok_or_else(|| {
        let shown = super::instant_parser::excerpt(text);
        match suggestion(text) {
            Some(meant) => format!("there is no zone `{shown}`; did you mean `{meant}`?"),
            None => format!("there is no zone `{shown}`; write one of the IANA database, such as `Europe/Berlin`"),
        }
    })
}

/// Returns the zone of exactly that name, or a hint at what to write instead: `did you mean "Europe/Berlin"?`.
pub fn zone_named(text: &str) -> Result<Tz, String> {
    text.parse().map_err(|_| match suggestion(text) {
        Some(zone) => format!("did you mean \"{zone}\"?"),
        None => "write one of the IANA database, such as \"Europe/Berlin\"".to_owned(),
    })
}

/// Returns the zone that was probably meant: a name in another case, the city alone, or a typing mistake.
fn suggestion(text: &str) -> Option<&'static str> {
    /// Below this value Jaro-Winkler finds words alike that differ clearly.
    const ALIKE: f64 = 0.8;
    if text.is_empty() || text.len() > LONGEST {
        return None;
    }
    let plain = text.trim().replace(' ', "_").to_ascii_lowercase();
    let names = || TZ_VARIANTS.into_iter().map(|zone| zone.name());
    let city = |name: &&str| name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(&plain));
    let near = |name: &'static str| (strsim::jaro_winkler(&plain, &name.to_ascii_lowercase()), name);
    names().find(|name| name.eq_ignore_ascii_case(&plain)).or_else(|| names().find(city)).or_else(|| {
        names().map(near).filter(|(likeness, _)| *likeness >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, n)| n)
    })
}

#[cfg(test)]
mod tests {
    use chrono_tz::{Europe::Berlin, Tz};

    use super::zone;

    #[test]
    fn a_zone_is_found_in_any_case_and_a_mistyped_one_has_a_suggestion() {
        for (text, meant) in [("Europe/Berlin", Berlin), ("europe/berlin", Berlin), ("utc", Tz::UTC), ("Z", Tz::UTC)] {
            assert_eq!(zone(text), Ok(meant), "{text}");
        }
        for (text, words) in [
            ("Berlin", "did you mean `Europe/Berlin`?"),
            ("Europe/Belrin", "did you mean `Europe/Berlin`?"),
            ("new york", "did you mean `America/New_York`?"),
            ("qqqq", "IANA"),
            ("", "IANA"),
            (&format!("{:>64}", "Europe/Belrin"), "did you mean `Europe/Berlin`?"),
            (&format!("{:>65}", "Europe/Belrin"), "IANA"),
            (&"x".repeat(5000), "IANA"),
            ("a\nb", "`a b`"),
        ] {
            let wrong = zone(text).expect_err("no zone");
            assert!(wrong.contains(words) && wrong.len() < 250 && !wrong.contains('\n'), "{text:?}: {wrong}");
        }
    }
}
