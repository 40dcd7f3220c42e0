//! Finds decisions that two parts of the source take in the same words.
//!
//! The two databases each have their own statements, but what follows from the facts that they read must be decided once, in
//! `store/rules`. A decision counts as taken twice if a function of the one part and a function of the other hold the same run
//! of at least `LONG` tokens and that run branches. The contents of string literals are not compared, because they are SQL.

use std::collections::HashMap;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;

use crate::source::{Code, each_function};

/// The number of tokens from which on two equal runs are taken for the same decision: about five lines.
const LONG: usize = 44;

/// The words by which a run of tokens is seen to decide something.
const BRANCHES: [&str; 6] = ["if", "match", "max", "min", "then", "then_some"];

/// The body of a function, as tokens.
struct Body {
    file: String,
    tokens: Vec<(String, usize)>,
}

impl Body {
    fn matches(&self, at: usize, other: &Self, there: usize) -> usize {
        let (here, there) = (&self.tokens[at..], &other.tokens[there..]);
        here.iter().zip(there).take_while(|(a, b)| a.0 == b.0).count()
    }

    fn branches(&self, at: usize, length: usize) -> bool {
        self.tokens[at..at + length].iter().any(|(token, _)| BRANCHES.contains(&token.as_str()))
    }
}

/// Returns a line for each decision that the modules below `one` and those below `other` both take.
#[must_use]
pub fn between(code: &Code, one: &[&str], other: &[&str]) -> Vec<String> {
    let (ones, others) = (bodies(code, one), bodies(code, other));
    let mut starts: HashMap<Vec<&str>, (usize, usize)> = HashMap::new();
    for (number, body) in ones.iter().enumerate() {
        for (at, window) in body.tokens.windows(LONG).enumerate() {
            starts.entry(window.iter().map(|(token, _)| token.as_str()).collect()).or_insert((number, at));
        }
    }
    let mut found = Vec::new();
    for body in &others {
        let mut at = 0;
        while at + LONG <= body.tokens.len() {
            let window: Vec<&str> = body.tokens[at..at + LONG].iter().map(|(token, _)| token.as_str()).collect();
            let Some((twin, there)) = starts.get(&window) else {
                at += 1;
                continue;
            };
            let twin = &ones[*twin];
            let length = body.matches(at, twin, *there);
            if body.branches(at, length) {
                let (line, twins) = (body.tokens[at].1, twin.tokens[*there].1);
                found.push(format!(
                    "{}:{line}: decides the same as {}:{twins} in {length} tokens; move the decision to store/rules",
                    body.file, twin.file
                ));
            }
            at += length;
        }
    }
    found
}

/// Returns a line for each run of at least `least` tokens that two functions have in common, the longest first, wherever they
/// are. A run is listed with the first function that has it. Not all of them are faults.
#[must_use]
pub fn similar(code: &Code, least: usize) -> Vec<String> {
    let bodies = bodies(code, &[]);
    let mut starts: HashMap<Vec<&str>, (usize, usize)> = HashMap::new();
    let mut found = Vec::new();
    for (number, body) in bodies.iter().enumerate() {
        let words: Vec<&str> = body.tokens.iter().map(|(token, _)| token.as_str()).collect();
        let mut at = 0;
        while at + least <= words.len() {
            let twin = starts.get(&words[at..at + least]).filter(|(twin, _)| *twin != number);
            let Some(&(twin, there)) = twin else {
                starts.entry(words[at..at + least].to_vec()).or_insert((number, at));
                at += 1;
                continue;
            };
            let twin = &bodies[twin];
            let length = body.matches(at, twin, there);
            let (line, twins) = (body.tokens[at].1, twin.tokens[there].1);
            found.push((length, format!("{length} tokens: {}:{line} and {}:{twins}", body.file, twin.file)));
            at += length;
        }
    }
    found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    found.into_iter().map(|(_, line)| line).collect()
}

fn bodies(code: &Code, below: &[&str]) -> Vec<Body> {
    let mut found = Vec::new();
    for (path, module) in &code.modules {
        if path.len() >= below.len() && path.iter().zip(below).all(|(part, wanted)| part == wanted) {
            each_function(&module.items, &mut |_, body| {
                let mut tokens = Vec::new();
                flatten(body.to_token_stream(), &mut tokens);
                found.push(Body { file: code.files[module.file].clone(), tokens });
            });
        }
    }
    found
}

fn flatten(stream: TokenStream, tokens: &mut Vec<(String, usize)>) {
    for token in stream {
        let line = token.span().start().line;
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    proc_macro2::Delimiter::Parenthesis => ("(", ")"),
                    proc_macro2::Delimiter::Brace => ("{", "}"),
                    proc_macro2::Delimiter::Bracket => ("[", "]"),
                    proc_macro2::Delimiter::None => ("", ""),
                };
                tokens.push((open.to_owned(), line));
                flatten(group.stream(), tokens);
                tokens.push((close.to_owned(), group.span_close().start().line));
            }
            TokenTree::Literal(literal) if literal.to_string().contains('"') => tokens.push(("\"\"".to_owned(), line)),
            other => tokens.push((other.to_string(), line)),
        }
    }
}
