//! An ordinary program as a task: it knows nothing of Sexton.
//!
//! Reads `name,amount` lines from standard input and prints each name's total, the largest first. The run's input is
//! standard input, the manifest's `args` are the arguments, standard output is the result, and the exit code decides
//! the outcome: 0 is success, anything else a failure.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::ExitCode;

fn main() -> ExitCode {
    let title = std::env::args().nth(1).unwrap_or_else(|| "Report".to_owned());
    let mut input = String::new();
    if let Err(error) = std::io::stdin().read_to_string(&mut input) {
        eprintln!("cannot read standard input: {error}");
        return ExitCode::from(2);
    }
    match report(&title, &input) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the report on `input`, or what is wrong with it.
fn report(title: &str, input: &str) -> Result<String, String> {
    let mut totals = BTreeMap::<&str, i64>::new();
    for (n, line) in input.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = || format!("line {}: expected `name,amount`, found `{line}`", n + 1);
        let (name, amount) = line.split_once(',').ok_or_else(wrong)?;
        let amount: i64 = amount.trim().parse().map_err(|_| wrong())?;
        let total = totals.entry(name.trim()).or_default();
        *total = total.checked_add(amount).ok_or_else(|| format!("line {}: the total is too large", n + 1))?;
    }

    let mut totals: Vec<_> = totals.into_iter().collect();
    totals.sort_by_key(|&(_, total)| std::cmp::Reverse(total));
    let rows = totals.iter().map(|(name, total)| format!("{name:<20}{total:>12}\n"));
    Ok(format!("{title}\n{}\n{}", "=".repeat(title.chars().count()), rows.collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::report;

    #[test]
    fn names_are_totalled_and_ordered_by_total() {
        let report = report("Sales", "ann, 3\nbob,10\n\nann,4\n").expect("the input is good");

        let rows: Vec<Vec<&str>> = report.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows, [vec!["Sales"], vec!["====="], vec!["bob", "10"], vec!["ann", "7"]]);
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = report("Sales", "ann,3\nbob").expect_err("the second line has no amount");

        assert_eq!(error, "line 2: expected `name,amount`, found `bob`");
    }
}
