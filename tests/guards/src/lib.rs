//! Checks of Sexton's source. [`source`] reads it, `references` resolves names to files, [`check`] applies the rules of
//! [`house`]. [`documents`] checks what people read.

pub mod check;
mod circles;
pub mod documents;
pub mod house;
pub mod markdown;
mod references;
pub mod source;

#[cfg(test)]
mod tests;
