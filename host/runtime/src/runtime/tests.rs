//! Tests of guests that behave, guests that do not, and how their attempts end.

mod accounts;
mod any;
mod ending;
mod loading;
mod looking;
mod outcomes;
mod rig;
