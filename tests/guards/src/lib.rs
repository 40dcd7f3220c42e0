//! Checks Sexton's source. [`source`] reads it, `references` resolves names to files, [`check`] applies the rules of
//! [`house`]. [`documents`] checks links and names of files in what people read, [`prose`] the words that `text` takes out of files,
//! [`statements`] the numbers in SQL.

pub mod check;
mod circles;
pub mod documents;
pub mod duplicates;
mod files;
pub mod house;
pub mod markdown;
pub mod prose;
mod references;
pub mod source;
pub mod statements;
mod text;

#[cfg(test)]
mod tests;
