//! Collects what the host refused a guest for want of a grant. The guest sees an error code only; people read the
//! words.

use std::sync::{Mutex, PoisonError};

/// The refusals of one attempt. The first of each kind is kept in words, the others are counted, so that a guest cannot
/// flood the list. The kinds are the host's own.
#[derive(Debug, Default)]
pub struct RefusalLog(Mutex<Vec<Kind>>);

#[derive(Debug)]
struct Kind {
    name: &'static str,
    words: String,
    again: u64,
}

impl RefusalLog {
    /// Notes a refusal of this kind, and returns whether it is the first.
    pub fn note(&self, kind: &'static str, words: impl FnOnce() -> String) -> bool {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kinds.iter_mut().find(|known| known.name == kind) {
            known.again = known.again.saturating_add(1);
            return false;
        }
        kinds.push(Kind { name: kind, words: words(), again: 0 });
        true
    }

    /// Returns all refusals in one sentence, or `None` if nothing was refused.
    pub fn words(&self) -> Option<String> {
        let kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let words = |kind: &Kind| match kind.again {
            0 => kind.words.clone(),
            1 => format!("{} (and another {})", kind.words, kind.name),
            more => format!("{} (and {more} more refusals of a {})", kind.words, kind.name),
        };
        let all: Vec<String> = kinds.iter().map(words).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::RefusalLog;

    #[test]
    fn the_first_refusal_of_each_kind_is_shown_and_the_others_are_counted() {
        let refused = RefusalLog::default();
        assert_eq!(refused.words(), None);

        let firsts = [("lock", "a"), ("host", "b"), ("lock", "c"), ("host", "d"), ("host", "e")]
            .map(|(kind, words)| refused.note(kind, || words.to_owned()));

        assert_eq!(firsts, [true, true, false, false, false]);
        assert_eq!(refused.words().unwrap(), "a (and another lock); b (and 2 more refusals of a host)");
    }
}
