//! Checks Sexton's source. [`source`] reads it, `references` resolves names to files, [`check`] applies the rules of
//! [`house`]. [`prose`] checks the words that `text` takes out of files.

pub mod check;
mod circles;
pub mod house;
pub mod prose;
mod references;
pub mod source;
mod text;

#[cfg(test)]
mod tests;
