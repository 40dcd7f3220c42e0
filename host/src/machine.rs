//! The loops that make runs happen. They meet in the store, and know nothing of one another.

pub mod live;
