//! Checks the statements in the store's code: states, causes and the like have names there (`store/codes.rs`), because a bare
//! number says nothing and is wrong without a trace. The files of migrations are exempt: they are never changed.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use proc_macro2::{TokenStream, TokenTree};
use regex_lite::Regex;

use crate::files;

/// The code that has statements.
const STORES: &str = "host/store/src";

/// Comparisons of a column that holds an enumeration with a number, either way round.
const BARE: [&str; 3] = [
    r"(?i)\b(?:state|cause|outcome|kind|mode)\b(?:\s*\+\s*0)?\s*(?:=|<>|!=|<=?|>=?|IS(?: NOT)?|(?:NOT )?IN\s*\(|(?:NOT )?BETWEEN)\s*[0-9]",
    r"(?i)(?:^|[\s(,])[0-9]+\s*(?:=|<>|!=|<=?|>=?)\s*(?:[a-z]+\.)?(?:state|cause|outcome|kind|mode)\b",
    r"(?i)\bCASE\s+(?:[a-z]+\.)?(?:state|cause|outcome|kind|mode)\s+WHEN\s+[0-9]",
];

/// Returns one line for each bare number in a statement below `repository`.
///
/// # Errors
///
/// A file cannot be read or is not Rust.
pub fn check(repository: &Path) -> Result<Vec<String>> {
    let bare = BARE.iter().map(|expression| Regex::new(expression)).collect::<Result<Vec<_>, _>>()?;
    let mut faults = Vec::new();
    for file in files::below(repository)?.iter().filter(|file| file.starts_with(STORES) && file.ends_with(".rs")) {
        let text = fs::read_to_string(repository.join(file)).with_context(|| format!("cannot read `{file}`"))?;
        let tokens: TokenStream = text.parse().map_err(|error| anyhow::anyhow!("`{file}` is not Rust: {error}"))?;
        let mut literals = Vec::new();
        collect(tokens, &mut literals);
        for (line, text) in literals {
            for found in bare.iter().filter_map(|expression| expression.find(&text)) {
                let found = found.as_str().trim_matches([' ', '(', ',']);
                faults.push(format!("{file}:{line}: `{found}`: name the value, as `store/codes.rs` does"));
            }
        }
    }
    Ok(faults)
}

/// Collects the string literals of code with the lines on which they begin; attributes, and so doc comments, have none.
fn collect(tokens: TokenStream, found: &mut Vec<(usize, String)>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(sign) if sign.as_char() == '#' => {
                tokens.next_if(|next| matches!(next, TokenTree::Punct(sign) if sign.as_char() == '!'));
                tokens.next_if(|next| matches!(next, TokenTree::Group(_)));
            }
            TokenTree::Group(group) => collect(group.stream(), found),
            TokenTree::Literal(literal) => {
                let line = literal.span().start().line;
                if let syn::Lit::Str(text) = syn::Lit::new(literal) {
                    found.push((line, text.value()));
                }
            }
            TokenTree::Punct(_) | TokenTree::Ident(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a repository whose store has this file.
    fn faults(text: &str) -> Vec<String> {
        let place = tempfile::tempdir().expect("a directory");
        for (name, text) in [("host/store/src/a.rs", text), ("host/src/http.rs", "const A: &str = \"state = 1\";\n")] {
            let path = place.path().join(name);
            fs::create_dir_all(path.parent().expect("it lies in a directory")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        check(place.path()).expect("it is Rust")
    }

    #[test]
    fn a_bare_number_in_a_statement_is_found_in_every_form() {
        for planted in [
            "UPDATE runs SET state = 4 WHERE id = ?1",
            "SELECT id FROM runs r WHERE r.state + 0 = 0",
            "DELETE FROM runs WHERE state > 1",
            "SELECT 1 FROM runs WHERE NOT (cause IN (2, 3))",
            "SELECT 1 FROM runs WHERE outcome BETWEEN 1 AND 3",
            "SELECT 1 FROM locks l WHERE 1 = l.mode",
            "SELECT CASE r.state WHEN 0 THEN 1 END FROM runs r",
            "SELECT 1 FROM locks WHERE kind IS NOT 0",
        ] {
            let found = faults(&format!("fn f() {{\n    g(format!(\"{planted}\"));\n}}\n"));
            assert!(found.len() == 1 && found[0].starts_with("host/store/src/a.rs:2: `"), "{planted}: {found:?}");
        }
    }

    #[test]
    fn a_statement_over_several_lines_is_read_as_one_text() {
        assert_eq!(faults("const A: &str = \"SELECT 1 FROM runs WHERE state = \\\n     1\";\n").len(), 1);
    }

    #[test]
    fn names_parameters_comments_and_other_columns_are_no_faults() {
        let text = "/// Of runs with `state = 1`.\n// state = 1\n#[doc = \"state = 1\"]\n\
                    const A: &str = formatcp!(\"state = {RUNNING} AND cause = ?1 AND attempt = 0 AND mode = $2\");\n\
                    const B: &str = \"SELECT id, state, 0 FROM runs ORDER BY state LIMIT 1\";\n";
        assert_eq!(faults(text), Vec::<String>::new());
    }
}
