//! Checks the reasons that people give for what they do.

use super::{OpError, Result};

/// The longest reason, in characters.
pub(super) const LONGEST: usize = 200;

/// Returns a reason that can be kept and shown: one line of bounded length that says something.
pub(super) fn checked(reason: Option<String>) -> Result<Option<String>> {
    let is_bad =
        |text: &String| text.is_empty() || text.chars().count() > LONGEST || text.chars().any(char::is_control);
    if reason.as_ref().is_some_and(is_bad) { Err(OpError::BadReason) } else { Ok(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_that_says_something() {
        let is_kept = |text: &str| checked(Some(text.to_owned())).is_ok();

        assert!(is_kept("a") && is_kept(&"ä".repeat(200)));
        for bad in ["", "two\nlines", "\u{1b}[2J", &"a".repeat(201)] {
            assert!(!is_kept(bad), "{bad:?}");
        }
        assert_eq!(checked(None).unwrap(), None);
    }
}
