//! Guests that behave, and guests that do not, and what becomes of them.

mod accounts;
mod any;
mod ending;
mod loading;
mod looking;
mod outcomes;
mod rig;
