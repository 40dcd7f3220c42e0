//! Declares what the fuzz targets use of `libfuzzer-sys`, so that they can be checked without it.

/// The fate of an input.
#[derive(Clone, Copy, Debug)]
pub enum Corpus {
    /// libFuzzer keeps it if it reached something new.
    Keep,
    /// libFuzzer forgets it.
    Reject,
}

/// Defines the function that libFuzzer would call.
#[macro_export]
macro_rules! fuzz_target {
    (|$input:ident: $type:ty| $body:expr) => {
        $crate::fuzz_target!(|$input: $type| -> () { $body });
    };
    (|$input:ident: $type:ty| -> $result:ty $body:block) => {
        /// Handles one input.
        pub fn target($input: $type) -> $result {
            $body
        }
    };
}
