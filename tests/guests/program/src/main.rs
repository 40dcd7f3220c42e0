//! An ordinary program: shows its arguments, environment and standard input, and exits with the given code.
//!
//! Arguments: `--exit N`, `--stderr TEXT`; all of them are shown as well.

use std::io::{Read, Write};
use std::process::ExitCode;

fn main() -> std::io::Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let after = |flag: &str| args.iter().position(|arg| arg == flag).and_then(|at| args.get(at + 1));
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input)?;

    let mut out = std::io::stdout().lock();
    for arg in &args {
        writeln!(out, "arg {arg}")?;
    }
    for (name, value) in std::env::vars() {
        writeln!(out, "env {name}={value}")?;
    }
    writeln!(out, "stdin {input}")?;
    if let Some(text) = after("--stderr") {
        eprintln!("{text}");
    }

    Ok(after("--exit").and_then(|code| code.parse::<u8>().ok()).map_or(ExitCode::SUCCESS, ExitCode::from))
}
