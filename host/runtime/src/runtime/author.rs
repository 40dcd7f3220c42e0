//! Tells which frames of a guest's stack are the author's own: those outside the standard library, the SDK, bindings
//! and other crates. Authors can change these frames, and look for them first.

use crate::attempt::stack::Place;

/// Crates, as the first part of a function's name, that come with the language or with the SDK.
const FOREIGN_CRATES: &[&str] = &[
    "std",
    "core",
    "alloc",
    "compiler_builtins",
    "panic_abort",
    "panic_unwind",
    "dlmalloc",
    "hashbrown",
    "wasi",
    "wasip2",
    "wit_bindgen",
    "wit_bindgen_rt",
    "sexton_task",
];

/// Beginnings of names that no author writes: entry points and names that compilers add.
const FOREIGN_NAMES: &[&str] =
    &["__", "_start", "_initialize", "cabi_", "rust_", "abort", "wit-component:", "exit", "memcpy"];

/// Parts of the paths of other people's source.
const FOREIGN_PATHS: &[&str] = &[
    "/rustc/",
    "/rust/deps/",
    "/cargo/registry/",
    ".cargo/registry/",
    ".cargo/git/",
    "/library/std/",
    "/library/core/",
];

/// Path of the SDK's files beside the author's crate, as in the SDK's own repository.
const SDK: &str = "/sdk/src/";

/// Returns whether a frame in words, `function (file:line)`, is the author's.
pub fn is_of_author(frame: &str) -> bool {
    let (function, file) = match frame.rsplit_once(" (").filter(|(_, file)| file.ends_with(')')) {
        Some((function, file)) => (function, Some(file)),
        None => (frame, None),
    };
    is_own(function, file)
}

/// Returns whether `place` is the author's.
pub(super) fn is_authors_place(place: &Place) -> bool {
    is_own(&place.function, place.file.as_deref())
}

fn is_own(function: &str, file: Option<&str>) -> bool {
    if file.is_some_and(|file| file.contains(SDK) || FOREIGN_PATHS.iter().any(|foreign| file.contains(foreign))) {
        return false;
    }
    if FOREIGN_NAMES.iter().any(|foreign| function.starts_with(foreign)) {
        return false;
    }
    // `<probe::Task as sexton_task::Runner>::run` belongs to the crate `probe`.
    let bare = function.trim_start_matches(['<', '&', '*', '(', '[']);
    let bare = ["dyn ", "mut ", "const "].iter().fold(bare, |bare, word| bare.strip_prefix(word).unwrap_or(bare));
    let first = bare.split("::").next().unwrap_or_default();
    // A frame without a file and a path has only the number of a function.
    let nameless = file.is_none() && function.starts_with("function ");
    let of_others = bare.contains("::") && FOREIGN_CRATES.contains(&first);
    !nameless && !of_others
}

#[cfg(test)]
mod tests {
    use super::is_of_author;

    #[test]
    fn frames_of_the_author_are_distinguished_from_others() {
        for own in [
            "greet::run (/home/ada/greet/src/lib.rs:19)",
            "run (/home/ada/greet/src/lib.rs)",
            "<greet::Prices as core::iter::Iterator>::next (/home/ada/greet/src/prices.rs:3)",
            "probe::spin",
            "main (/home/ada/tally/main.c:7)",
        ] {
            assert!(is_of_author(own), "{own}");
        }
        for foreign in [
            "core::panicking::panic_fmt (/rustc/5980/library/core/src/panicking.rs:75:14)",
            "<core::slice::Iter<u8> as core::iter::Iterator>::next",
            "rust_panic (/rustc/5980/library/std/src/panicking.rs:903)",
            "__rust_start_panic (/rustc/5980/library/panic_abort/src/lib.rs:33)",
            "serde_json::de::from_slice (/home/ada/.cargo/registry/src/index/serde_json-1.0/src/de.rs:2)",
            "acquire (/home/ada/sexton/sdk/src/locks.rs:71)",
            "sexton_task::locks::Lock::acquire",
            "cabi_realloc",
            "function 12",
        ] {
            assert!(!is_of_author(foreign), "{foreign}");
        }
    }
}
