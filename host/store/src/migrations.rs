//! Reads migrations from files: `migrations/NNNN_name.sql` beside the schema of each store.
//!
//! A file that was released is never changed in meaning; a further one is added, and listed in the store's `schema.rs`.

/// A migration, as its file has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Migration {
    /// The name of the file.
    pub(super) name: &'static str,
    /// The version of the schema that it leads to.
    pub(super) number: u16,
    /// The statements.
    pub(super) text: &'static str,
}

/// The migration in the file `migrations/$name` beside the file that names it.
macro_rules! migration {
    ($name:literal) => {
        $crate::migrations::Migration {
            name: $name,
            number: $crate::migrations::number_of($name),
            text: include_str!(concat!("migrations/", $name)),
        }
    };
}
pub(super) use migration;

/// Returns the number that a file's name begins with, so that the number and the name cannot differ.
///
/// # Panics
///
/// The name does not begin with four digits and `_`; the compiler reports that, as it evaluates the list.
pub(super) const fn number_of(name: &str) -> u16 {
    let name = name.as_bytes();
    assert!(name.len() > 5 && name[4] == b'_', "a migration's file is named `NNNN_name.sql`");
    let (mut number, mut at) = (0, 0);
    while at < 4 {
        assert!(name[at].is_ascii_digit(), "a migration's file is named `NNNN_name.sql`");
        number = number * 10 + (name[at] - b'0') as u16;
        at += 1;
    }
    number
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::path::Path;

    use super::Migration;

    /// Checks that `listed` are the files of the store `store`, each once and in the order of their numbers.
    pub(crate) fn are_all_listed(store: &str, listed: &[Migration]) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(store).join("migrations");
        let names = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<String> = names.collect();
        files.sort_unstable();

        assert_eq!(listed.iter().map(|migration| migration.name).collect::<Vec<_>>(), files);
        assert!(listed.windows(2).all(|two| two[0].number < two[1].number), "two files have one number");
        assert!(listed.iter().all(|migration| migration.name.ends_with(".sql")));
    }

    #[test]
    fn a_file_has_the_number_that_its_name_begins_with() {
        assert_eq!(["0001_first.sql", "0120_x.sql"].map(super::number_of), [1, 120]);
    }

    #[test]
    #[should_panic(expected = "NNNN_name.sql")]
    fn a_file_without_a_number_is_refused() {
        super::number_of("first.sql");
    }
}
