//! Guests that behave, and guests that do not, and what becomes of them.

mod closed_store;
mod ending;
mod loading;
mod outcomes;
mod rig;
