//! Reads Sexton's source and checks the structure that ARCHITECTURE.md promises: which room may use what, circles of files,
//! and the length of files and functions. Prints what breaks a rule, then the figures. With `--edges` also which file of a circle
//! uses which.
#![expect(clippy::print_stdout, reason = "the report is printed")]

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use guards::house::HOUSE;
use guards::{check, source};

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
    for fault in &report.faults {
        println!("{fault}");
    }
    print!("{}", report.drawing);
    if std::env::args().any(|argument| argument == "--edges") {
        for edge in &report.edges {
            println!("{edge}");
        }
    }
    println!("figure functions_max {} lines", report.longest_function);
    println!("figure file_circle_max {} files", report.largest_circle);
    println!("figure guards_faults {} faults", report.faults.len());
    Ok(report.faults.is_empty())
}
