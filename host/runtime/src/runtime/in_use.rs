//! Shares values for as long as they are used: a component that many plugins have copies of is loaded once, and linked
//! once for each kind of grants.
//!
//! A component is what its bytes are, whichever plugin brought them: its code is read-only, and each run has memories of
//! its own.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The fewest entries at which those of values that are no longer used are removed.
const FEW: usize = 256;

/// Values that others hold, by key.
pub(super) struct InUse<K, T: ?Sized>(Mutex<Known<K, T>>);

struct Known<K, T: ?Sized> {
    all: HashMap<K, Weak<T>>,
    /// The number of entries at which those without a value are removed.
    most: usize,
}

impl<K, T: ?Sized> Default for InUse<K, T> {
    fn default() -> Self {
        Self(Mutex::new(Known { all: HashMap::new(), most: FEW }))
    }
}

impl<K, T: ?Sized> fmt::Debug for InUse<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InUse").finish_non_exhaustive()
    }
}

impl<K: Eq + Hash, T: ?Sized> InUse<K, T> {
    /// Returns the value with this key, if it is in use.
    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<Arc<T>>
    where
        K: Borrow<Q>,
    {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all.get(key)?.upgrade()
    }

    /// Shares `value` for as long as it is used.
    pub(super) fn put(&self, key: K, value: &Arc<T>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.all.len() >= known.most {
            known.all.retain(|_, value| value.strong_count() > 0);
            // Twice as many, so that going through all costs little for each that is put.
            known.most = FEW.max(known.all.len() * 2);
        }
        known.all.insert(key, Arc::downgrade(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_no_longer_used_take_no_room() {
        let known = InUse::<String, usize>::default();
        let used = Arc::new(7);
        known.put("used".to_owned(), &used);

        for n in 0..FEW * 10 {
            known.put(format!("unused-{n}"), &Arc::new(n));
        }

        let kept = known.0.lock().unwrap().all.len();
        assert!(kept <= FEW, "{kept}");
        assert_eq!((known.get("used"), known.get("unused-3")), (Some(used), None));
    }
}
