//! Shares components in use: a file that many plugins have copies of is loaded once.
//!
//! A component is what its bytes are, whichever plugin brought them: its code is read-only, and each run has memories of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::components::Component;

/// The fewest entries at which those of components that are no longer used are removed.
const FEW: usize = 256;

/// The components in use, by digest.
#[derive(Debug, Default)]
pub(super) struct Loaded(Mutex<Known<Component>>);

/// Values that others hold, by digest.
#[derive(Debug)]
struct Known<T> {
    all: HashMap<String, Weak<T>>,
    /// The number of entries at which those without a value are removed.
    most: usize,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { all: HashMap::new(), most: FEW }
    }
}

impl Loaded {
    /// Returns the component with this digest, if it is in use.
    pub(super) fn get(&self, digest: &str) -> Option<Arc<Component>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all.get(digest)?.upgrade()
    }

    /// Shares `component` for as long as it is used.
    pub(super) fn put(&self, component: &Arc<Component>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.put(component.digest().to_owned(), component);
    }
}

impl<T> Known<T> {
    fn put(&mut self, digest: String, value: &Arc<T>) {
        if self.all.len() >= self.most {
            self.all.retain(|_, value| value.strong_count() > 0);
            // Twice as many, so that the cost of going through all is a moment for each that is put.
            self.most = FEW.max(self.all.len() * 2);
        }
        self.all.insert(digest, Arc::downgrade(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_no_longer_used_take_no_room() {
        let mut known = Known::default();
        let used = Arc::new(0);
        known.put("used".to_owned(), &used);

        for n in 0..FEW * 10 {
            known.put(format!("unused-{n}"), &Arc::new(n));
        }

        assert!(known.all.len() <= FEW, "{}", known.all.len());
        assert_eq!(known.all["used"].upgrade(), Some(used));
    }
}
