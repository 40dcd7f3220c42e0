//! Lists the attacks in the order in which they are made. The file of each says what it does and what must happen.

mod ends;
mod files;
mod floods;
mod reach;
mod space;

use crate::attack::Attack;

/// An attack's name and the text of its file.
macro_rules! of {
    (rust $file:literal) => {
        ($file, include_str!(concat!("../../attacks/", $file, ".rs")), crate::attack::ComponentSource::Rust)
    };
    (text $file:literal) => {
        ($file, include_str!(concat!("../../attacks/", $file, ".wat")), crate::attack::ComponentSource::Text)
    };
    (made $file:ident) => {
        (
            stringify!($file),
            include_str!(concat!("../made/", stringify!($file), ".rs")),
            crate::attack::ComponentSource::Made(crate::made::$file::component),
        )
    };
    (placed $file:ident) => {
        (
            stringify!($file),
            include_str!(concat!("../made/", stringify!($file), ".rs")),
            crate::attack::ComponentSource::Placed(crate::made::$file::place),
        )
    };
}
use of;

/// Returns all attacks.
pub(crate) fn attacks() -> Vec<Attack> {
    [ends::attacks(), space::attacks(), floods::attacks(), reach::attacks(), files::attacks()].concat()
}

/// Returns the list as it stands in `docs/hostile.md`.
pub(crate) fn as_markdown() -> String {
    attacks().iter().map(|attack| format!("| `{}` | {} |\n", attack.name(), attack.sentence())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn here(path: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    }

    #[test]
    fn every_attack_is_in_the_documentation_in_its_own_words() {
        let documented = fs::read_to_string(here("../../docs/hostile.md")).unwrap();
        let rows: String =
            documented.lines().filter(|line| line.starts_with("| `")).map(|line| format!("{line}\n")).collect();
        assert_eq!(rows, as_markdown(), "`cargo run -p hostile -- --list` prints the rows");
    }

    #[test]
    fn every_attack_says_what_it_does_and_what_must_happen() {
        for attack in attacks() {
            let sentence = attack.sentence();
            assert!(sentence.contains(" must ") && sentence.contains(": "), "{}: {sentence}", attack.name());
            assert!(sentence.ends_with('.'), "{}: {sentence}", attack.name());
        }
    }

    #[test]
    fn every_file_is_an_attack_that_is_made() {
        let made: BTreeSet<String> = attacks().iter().map(|attack| attack.file.to_owned()).collect();
        let mut there = BTreeSet::new();
        for folder in ["attacks", "src/made"] {
            for entry in fs::read_dir(here(folder)).unwrap() {
                let name = entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
                if !["lib", "prelude"].contains(&name.as_str()) {
                    assert!(there.insert(name.clone()), "two files are called {name}");
                }
            }
        }
        assert_eq!(made, there);
        assert_eq!(made.len(), attacks().len(), "an attack is made twice");
    }
}
