//! Reads Sexton's source and checks the structure that ARCHITECTURE.md promises: which room may use what, circles of files,
//! the length of files and functions; the links of the documents; the words of comments and pages; and bare numbers in SQL. Prints what breaks a rule,
//! then the figures. With `--edges` also which file of a circle uses which; with `--prose` also every sentence that is hard to read; with `--similar N`
//! also every run of at least N tokens that two functions have in common.
#![expect(clippy::print_stdout, reason = "the report is printed")]

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use guards::house::{AREAS, HOUSE};
use guards::{check, documents, duplicates, prose, source, statements};

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    match run(&root) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(root: &Path) -> Result<bool> {
    let code = source::read(root, HOUSE.crates)?;
    let report = check::all(&code, &HOUSE);
    let prose = prose::check(root, AREAS, prose::PATTERNS)?;
    let (unread, links) = documents::check(root)?;
    let duplicates = duplicates::between(&code, &["sexton_store", "sqlite"], &["sexton_store", "postgres"]);
    let bare = statements::check(root)?;
    let others = [&prose.faults, &unread, &duplicates, &bare];
    let faults = report.faults.len() + others.iter().map(|found| found.len()).sum::<usize>();
    for fault in report.faults.iter().chain(others.into_iter().flatten()) {
        println!("{fault}");
    }
    print!("{}", report.drawing);
    if std::env::args().any(|argument| argument == "--edges") {
        for edge in &report.edges {
            println!("{edge}");
        }
    }
    if std::env::args().any(|argument| argument == "--prose") {
        for place in &prose.places {
            println!("{place}");
        }
        for (area, count) in &prose.counts {
            println!("{area}: {count}");
        }
    }
    if let Some(least) = std::env::args().skip_while(|argument| argument != "--similar").nth(1) {
        for pair in duplicates::similar(&code, least.parse()?) {
            println!("{pair}");
        }
    }
    println!("figure functions_max {} lines", report.longest_function);
    println!("figure file_circle_max {} files", report.largest_circle);
    println!("figure duplicate_rules {} rules", duplicates.len());
    println!("figure prose_places {} places", prose.places.len());
    println!("figure documents_links {links} links");
    println!("figure guards_faults {faults} faults");
    Ok(faults == 0)
}
