//! Resolves the paths in a module to the files that define what they name.

use std::collections::BTreeSet;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Item, ItemUse, UseTree, Visibility};

use crate::source::{Code, Module};

/// The most times that a name may be passed on by `pub use` before it is given up.
const MOST_RE_EXPORTS: usize = 16;

/// A path as it is written: the line, and its names.
#[derive(Debug)]
pub(crate) struct Mention {
    pub(crate) line: usize,
    pub(crate) path: Vec<String>,
    /// Whether the module passes it on under its own name, and does not use it.
    pub(crate) is_re_export: bool,
}

/// Returns every path in `module` of which at least two names are written, or one that is imported.
pub(crate) fn mentions(module: &Module) -> Vec<Mention> {
    let mut found = Vec::new();
    for item in &module.items {
        match item {
            Item::Use(item) => found.extend(imports(item)),
            other => scan(other.to_token_stream(), &mut found),
        }
    }
    found
}

/// Returns the paths of a `use`, of which there are several if it is grouped. A glob ends in `*`.
fn imports(item: &ItemUse) -> Vec<Mention> {
    let is_re_export = !matches!(item.vis, Visibility::Inherited);
    let line = item.use_token.span.start().line;
    let mut paths = Vec::new();
    flatten(&item.tree, &mut Vec::new(), &mut paths);
    paths.into_iter().map(|(path, _)| Mention { line, path, is_re_export }).collect()
}

/// Lists the paths of a tree with the names that they get.
fn flatten(tree: &UseTree, prefix: &mut Vec<String>, found: &mut Vec<(Vec<String>, String)>) {
    let whole = |prefix: &[String], last: String| {
        let mut path = prefix.to_vec();
        if last != "self" {
            path.push(last);
        }
        path
    };
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix, found);
            prefix.pop();
        }
        UseTree::Name(name) => {
            let path = whole(prefix, name.ident.to_string());
            let name = path.last().cloned().unwrap_or_default();
            found.push((path, name));
        }
        UseTree::Rename(rename) => found.push((whole(prefix, rename.ident.to_string()), rename.rename.to_string())),
        UseTree::Glob(_) => found.push((whole(prefix, "*".to_owned()), "*".to_owned())),
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, prefix, found);
            }
        }
    }
}

/// Finds `a::b` in tokens, including those of macros.
fn scan(tokens: TokenStream, found: &mut Vec<Mention>) {
    let mut path: Vec<String> = Vec::new();
    let mut began: Option<Span> = None;
    let mut colons = 0;
    let mut end = |path: &mut Vec<String>, began: &mut Option<Span>| {
        if let (Some(span), true) = (began.take(), path.len() > 1) {
            found.push(Mention { line: span.start().line, path: path.clone(), is_re_export: false });
        }
        path.clear();
    };
    let mut groups = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                if colons != 2 {
                    end(&mut path, &mut began);
                    began = Some(ident.span());
                }
                path.push(ident.to_string());
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => colons += 1,
            other => {
                end(&mut path, &mut began);
                colons = 0;
                if let TokenTree::Group(group) = other
                    && !is_visibility(&group.stream())
                {
                    groups.push(group.stream());
                }
            }
        }
    }
    end(&mut path, &mut began);
    for group in groups {
        scan(group, found);
    }
}

/// Returns whether tokens are the content of the brackets of `pub(in crate::runtime)`, which uses nothing of the module
/// that it names.
fn is_visibility(tokens: &TokenStream) -> bool {
    matches!(tokens.clone().into_iter().next(), Some(TokenTree::Ident(first)) if first == "in")
}

/// The target of a path.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// Something of the crates that were read: its file, and its full path.
    Own { file: usize, path: Vec<String> },
    /// Something of another crate: the path from the crate's name on.
    Foreign(Vec<String>),
}

/// Resolves `path` as it is written in the module `from`.
pub(crate) fn resolve(code: &Code, from: &[String], path: &[String]) -> BTreeSet<Target> {
    let mut found = BTreeSet::new();
    follow(code, from, path, MOST_RE_EXPORTS, &mut found);
    found
}

fn follow(code: &Code, from: &[String], path: &[String], depth: usize, found: &mut BTreeSet<Target>) {
    let (Some(first), Some(left)) = (path.first(), depth.checked_sub(1)) else { return };
    let (mut at, mut rest) = match first.as_str() {
        "crate" => (from[..1].to_vec(), &path[1..]),
        "self" => (from.to_vec(), &path[1..]),
        "super" => (from[..from.len().saturating_sub(1).max(1)].to_vec(), &path[1..]),
        _ => (from.to_vec(), path),
    };
    while rest.first().is_some_and(|name| name == "super") {
        at.pop();
        rest = &rest[1..];
    }
    let relative = rest.len() == path.len();
    if relative && code.modules.contains_key(&path[..1]) {
        (at, rest) = (path[..1].to_vec(), &path[1..]);
    } else if relative && !is_known(code, from, &path[0]) {
        found.insert(Target::Foreign(path.to_vec()));
        return;
    }
    descend(code, at, rest, left, found);
}

/// Walks from the module `at` along `rest`.
fn descend(code: &Code, mut at: Vec<String>, mut rest: &[String], depth: usize, found: &mut BTreeSet<Target>) {
    while let Some(name) = rest.first() {
        at.push(name.clone());
        if code.modules.contains_key(&at) {
            rest = &rest[1..];
            continue;
        }
        at.pop();
        let Some(module) = code.modules.get(&at) else { return };
        let passed_on: Vec<Vec<String>> = bindings(module)
            .filter(|(_, bound)| bound == name)
            .map(|(path, _)| path.into_iter().chain(rest[1..].iter().cloned()).collect())
            .collect();
        for path in &passed_on {
            follow(code, &at, path, depth, found);
        }
        if passed_on.is_empty() {
            for (mut path, _) in bindings(module).filter(|(_, bound)| bound == "*") {
                path.pop();
                let inner = resolve_module(code, &at, &path);
                if let Some(inner) = inner.filter(|inner| defines(code, inner, name)) {
                    descend(code, inner, rest, depth, found);
                    return;
                }
            }
            let whole = at.iter().chain(rest).cloned().collect();
            found.insert(Target::Own { file: module.file, path: whole });
        }
        return;
    }
    if let Some(module) = code.modules.get(&at) {
        found.insert(Target::Own { file: module.file, path: at });
    }
}

fn bindings(module: &Module) -> impl Iterator<Item = (Vec<String>, String)> {
    let mut found = Vec::new();
    for item in &module.items {
        if let Item::Use(item) = item {
            flatten(&item.tree, &mut Vec::new(), &mut found);
        }
    }
    found.into_iter()
}

/// Returns whether `name` is a module, an import or an item of the module `from`.
fn is_known(code: &Code, from: &[String], name: &str) -> bool {
    let mut inner = from.to_vec();
    inner.push(name.to_owned());
    code.modules.contains_key(&inner) || defines(code, from, name)
}

fn defines(code: &Code, path: &[String], name: &str) -> bool {
    let Some(module) = code.modules.get(path) else { return false };
    bindings(module).any(|(_, bound)| bound == name)
        || module.items.iter().any(|item| name_of(item).is_some_and(|own| own == name))
}

fn name_of(item: &Item) -> Option<&syn::Ident> {
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Macro(item) => item.ident.as_ref(),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        _ => None,
    }
}

/// Resolves `path` to a module, if it is one.
fn resolve_module(code: &Code, from: &[String], path: &[String]) -> Option<Vec<String>> {
    resolve(code, from, path).into_iter().find_map(|target| match target {
        Target::Own { path, .. } if code.modules.contains_key(&path) => Some(path),
        _ => None,
    })
}

/// Returns the line of the first `async` in `module`.
pub(crate) fn first_async(module: &Module) -> Option<usize> {
    fn find(tokens: TokenStream) -> Option<usize> {
        tokens.into_iter().find_map(|token| match token {
            TokenTree::Ident(ident) if ident == "async" => Some(ident.span().start().line),
            TokenTree::Group(group) => find(group.stream()),
            _ => None,
        })
    }
    module.items.iter().find_map(|item| find(item.to_token_stream()))
}
