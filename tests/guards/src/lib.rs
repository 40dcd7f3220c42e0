//! Checks of Sexton's source. [`source`] reads it, `references` resolves names to files, [`check`] applies the rules of
//! [`house`].

pub mod check;
mod circles;
pub mod house;
mod references;
pub mod source;

#[cfg(test)]
mod tests;
