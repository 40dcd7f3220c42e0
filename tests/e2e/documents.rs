//! Tests that messages in the documents are those of the program, because people search for them when something goes
//! wrong.

use std::fs;
use std::path::{Path, PathBuf};

/// The page with a table whose first column has messages as they are found in logs and answers.
const SYMPTOMS: &str = "docs/guides/troubleshooting.md";

/// Words with which commands begin that people type, and messages do not.
const COMMANDS: &[&str] =
    &["sexton", "cargo", "make", "rustup", "cp", "mv", "apt-get", "pg_dump", "sqlite3", "systemctl", "temporal"];

#[test]
fn messages_that_the_documents_quote_are_messages_of_the_program() {
    let sources = sources();
    let mut missing = Vec::new();

    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for quote in quotes(&text).into_iter().filter(|quote| is_message(quote)) {
            for fragment in fragments(&quote).into_iter().filter(|fragment| !is_said(fragment, &sources)) {
                missing.push(format!("{}: `{quote}`: no source has `{fragment}`", document.display()));
            }
        }
    }

    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn symptoms_in_the_operators_guide_are_searched_for_as_they_are_written_there() {
    let sources = sources();
    let guide = fs::read_to_string(root().join(SYMPTOMS)).unwrap();
    let table = guide.split("\n## ").next().unwrap_or_default();
    let mut seen = 0;

    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let symptom = row.split(" | ").next().unwrap_or_default();
        for quote in quotes(symptom).into_iter().filter(|quote| !COMMANDS.iter().any(|word| quote.starts_with(word))) {
            for fragment in fragments(&quote) {
                assert!(sources.iter().any(|text| text.contains(&fragment)), "no source has `{fragment}` of `{quote}`");
                seen += 1;
            }
        }
    }

    assert!(seen >= 10, "only {seen} texts are looked for: has the table another form?");
}

#[test]
fn program_and_documents_agree_on_how_other_machines_reach_a_host() {
    let refused = std::process::Command::new(crate::harness::SEXTON)
        .args(["run", "--listen", "0.0.0.0:7070"])
        .current_dir(tempfile::tempdir().unwrap().path())
        .output()
        .unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    let security = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let sentences = |text: &str| -> Vec<String> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        text.split(". ").map(str::to_owned).collect()
    };

    let hint = said.lines().find(|line| line.starts_with("hint:")).expect("a hint of what to do");
    let words = sentences(&security);

    assert!(hint.contains("`ssh -L`") && !hint.contains("proxy"), "{hint}");
    assert!(words.iter().any(|sentence| sentence.contains("Other machines reach it through `ssh -L`")), "{security}");
    let of_proxies = |text: &str| -> Vec<String> {
        // Those in guests' requests are others.
        let others = ["HTTP_PROXY", "proxy-authorization"];
        let about =
            sentences(text).into_iter().filter(|sentence| sentence.contains("proxy") || sentence.contains("proxies"));
        about.filter(|sentence| !others.iter().any(|other| sentence.contains(other))).collect()
    };
    assert_eq!(
        of_proxies(&security)[0],
        "Do not put a proxy in front of it, because any client that the proxy admits may do everything"
    );
    for document in documents() {
        for sentence in of_proxies(&fs::read_to_string(&document).unwrap()) {
            let advises = ["behind a proxy", "use a proxy", "through a proxy", "reverse proxy"];
            assert!(!advises.iter().any(|words| sentence.contains(words)), "{}: {sentence}", document.display());
        }
    }
}

#[test]
fn the_fixed_words_of_a_message_are_distinguished_from_its_values() {
    assert_eq!(fragments("took longer than 1m to compile"), ["took longer than", "to compile"]);
    assert_eq!(fragments("spins in `f` (src/lib.rs:7)"), ["spins in"]);
    assert_eq!(fragments("the disk ... is full"), ["the disk", "is full"]);
    assert!(is_message("took longer than 1m to compile") && !is_message("fuel-per-minute"));
    assert!(
        !is_message("cp x.wasm plugins/.x") && !is_message("tomorrow 4am + 2 hours") && !is_message("trigger T --wait")
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Returns the documents about the program. The design records are left out, because they describe the past.
fn documents() -> Vec<PathBuf> {
    let mut documents = vec![root().join("README.md"), root().join("SECURITY.md")];
    let mut next = vec![root().join("docs")];
    while let Some(directory) = next.pop() {
        for path in fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path()) {
            if path.is_dir() && !path.ends_with("design") {
                next.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                documents.push(path);
            }
        }
    }
    documents
}

/// Returns the texts between backticks, without blocks of code.
fn quotes(text: &str) -> Vec<String> {
    let prose: String = text.split("```").step_by(2).collect();
    // A text with backticks in it stands between double ones.
    let mut quotes: Vec<String> = prose.split("``").skip(1).step_by(2).map(tidy).collect();
    let single: String = prose.split("``").step_by(2).collect::<Vec<_>>().join(" ");
    quotes.extend(single.split('`').skip(1).step_by(2).map(tidy));
    quotes
}

fn tidy(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns whether a quote is a sentence of the program, rather than a command, a key, or a value.
fn is_message(quote: &str) -> bool {
    let code = ["--", "::", " + ", " - ", "&&", "=", "{", "}", "[", "]", "<", ">", "|", "*", "$", "\"", "×"];
    let is_word = |word: &str| word.len() > 1 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'\'');
    let first = quote.split(' ').next().unwrap_or_default();
    !code.iter().any(|sign| quote.contains(sign))
        && !COMMANDS.contains(&first)
        && quote.split([' ', ',', ';', ':']).filter(|word| is_word(word)).count() >= 3
}

/// Returns the constant parts of a message: two words or more, between names, numbers and gaps.
fn fragments(quote: &str) -> Vec<String> {
    let outside: String = quote.split('`').step_by(2).collect::<Vec<_>>().join("\u{0}");
    let varies = |word: &str| {
        word.bytes().any(|b| b.is_ascii_digit())
            || word.bytes().all(|b| b.is_ascii_uppercase())
            || word.contains(['/', '(', '…'])
    };
    let mut fragments = vec![String::new()];
    for word in outside.replace('\u{0}', " … ").split_whitespace() {
        let (bare, ends) = (word.trim_end_matches([',', ';', ':', '.']), word.ends_with([',', ';', ':', '.']));
        let last = fragments.last_mut().expect("there is one");
        match bare {
            varying if varies(varying) => fragments.push(String::new()),
            bare => {
                if !last.is_empty() {
                    last.push(' ');
                }
                last.push_str(bare);
                if ends {
                    fragments.push(String::new());
                }
            }
        }
    }
    fragments.retain(|fragment| fragment.contains(' '));
    fragments.iter().map(|fragment| fragment.to_lowercase()).collect()
}

/// Returns whether a source has the fragment: whole, or composed of two of its texts, or of three words and a text of
/// another source.
fn is_said(fragment: &str, sources: &[String]) -> bool {
    let has = |part: &str| sources.iter().any(|text| text.contains(part));
    let is_long = |part: &str| part.split(' ').count() >= 3;
    let mut halves = fragment.match_indices(' ').map(|(at, _)| (&fragment[..at], &fragment[at + 1..]));
    has(fragment)
        || halves.any(|(left, right)| {
            sources.iter().any(|text| text.contains(left) && text.contains(right))
                || ((is_long(left) || is_long(right)) && has(left) && has(right))
        })
}

/// Returns the code of the program without comments and tests: a text for each file, in lower case and with single
/// spaces.
fn sources() -> Vec<String> {
    let crates = ["host/src", "host/domain/src", "host/runtime/src", "host/store/src", "host/system/src"];
    let mut next = crates.map(|directory| root().join(directory)).to_vec();
    let mut texts = Vec::new();
    while let Some(path) = next.pop() {
        if path.is_dir() {
            next.extend(fs::read_dir(path).unwrap().flatten().map(|entry| entry.path()));
            continue;
        }
        let is_test = path
            .components()
            .any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs" | "conformance")));
        if !is_test && path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(path).unwrap();
            let code = crate::rooms::without_tests(&text).into_iter();
            let lines = code.filter(|line| !line.trim_start().starts_with("//")).map(str::trim);
            // A line that ends in a backslash continues in the next.
            texts.push(lines.collect::<Vec<_>>().join(" ").replace("\\ ", "").to_lowercase());
        }
    }
    texts
}
