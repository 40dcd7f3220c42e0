//! Reads the modules of a crate as the compiler does: from its root, along `mod` declarations, without test-only items.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use syn::{Attribute, ImplItem, Item, Meta, TraitItem};

/// A crate to read: its name in paths, and its root file below the repository.
#[derive(Debug, Clone, Copy)]
pub struct Crate {
    /// The name that other crates write before `::`.
    pub name: &'static str,
    /// The path of its `src/lib.rs`, relative to the repository.
    pub root: &'static str,
}

/// All files that were read, and the modules that they hold.
#[derive(Debug, Default)]
pub struct Code {
    /// The files, by number; modules and edges refer to them so. Test-only files are left out.
    pub files: Vec<String>,
    /// Every file below the roots' directories, including those of tests.
    pub measured: Vec<Measured>,
    /// The modules, by full path, which begins with the crate's name.
    pub(crate) modules: BTreeMap<Vec<String>, Module>,
}

/// The length of a file, and its functions.
#[derive(Debug)]
pub struct Measured {
    /// The path, relative to the repository.
    pub name: String,
    /// The number of lines, with tests and comments.
    pub lines: usize,
    /// The functions, including those of tests.
    pub functions: Vec<Function>,
}

/// A function as it stands in its file.
#[derive(Debug)]
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

/// A module, with a file of its own or within one.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) file: usize,
    /// The items that are compiled without tests, apart from modules.
    pub(crate) items: Vec<Item>,
}

/// Reads `crates`, whose roots are below `repository`.
///
/// # Errors
///
/// A file cannot be read or is not Rust.
pub fn read(repository: &Path, crates: &[Crate]) -> Result<Code> {
    let mut code = Code::default();
    for each in crates {
        let root = repository.join(each.root);
        let directory = root.parent().context("a root file lies in a directory")?.to_owned();
        measure(&mut code, repository, &directory)?;
        read_file(&mut code, repository, &root, &directory, vec![each.name.to_owned()])?;
    }
    Ok(code)
}

fn read_file(code: &mut Code, repository: &Path, file: &Path, submodules: &Path, path: Vec<String>) -> Result<()> {
    let (_, parsed) = parse(file)?;
    let number = code.files.len();
    code.files.push(name_below(repository, file));
    read_module(code, repository, number, parsed.items, submodules, path)
}

fn parse(file: &Path) -> Result<(String, syn::File)> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let parsed = syn::parse_file(&text).with_context(|| format!("cannot parse `{}`", file.display()))?;
    Ok((text, parsed))
}

fn name_below(repository: &Path, file: &Path) -> String {
    file.strip_prefix(repository).unwrap_or(file).display().to_string()
}

/// Measures every file of Rust in `directory` and below.
fn measure(code: &mut Code, repository: &Path, directory: &Path) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read `{}`", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            measure(code, repository, &path)?;
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let (text, parsed) = parse(&path)?;
            let mut functions = Vec::new();
            each_function(&parsed.items, &mut |signature, body| functions.push(function_of(signature, body)));
            code.measured.push(Measured {
                name: name_below(repository, &path),
                lines: text.lines().count(),
                functions,
            });
        }
    }
    Ok(())
}

fn read_module(
    code: &mut Code,
    repository: &Path,
    file: usize,
    items: Vec<Item>,
    submodules: &Path,
    path: Vec<String>,
) -> Result<()> {
    let mut kept = Vec::new();
    for item in items {
        if is_for_tests(attributes(&item)) {
            continue;
        }
        let Item::Mod(module) = item else {
            kept.push(without_tests(item));
            continue;
        };
        let name = module.ident.to_string();
        let mut inner = path.clone();
        inner.push(name.clone());
        let below = submodules.join(&name);
        match module.content {
            Some((_, items)) => read_module(code, repository, file, items, &below, inner)?,
            None => match stated_path(&module.attrs) {
                // The path is relative to the file that states it, and its modules lie beside it.
                Some(stated) => {
                    let holder = repository.join(&code.files[file]);
                    let at = holder.parent().context("a file lies in a directory")?.join(stated);
                    let beside = at.parent().context("a file lies in a directory")?.to_owned();
                    read_file(code, repository, &at, &beside, inner)?;
                }
                None => read_file(code, repository, &file_of(submodules, &name), &below, inner)?,
            },
        }
    }
    code.modules.insert(path, Module { file, items: kept });
    Ok(())
}

/// Returns the path that `#[path = "..."]` states.
fn stated_path(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(path), .. }) => Some(path.value()),
            _ => None,
        },
        _ => None,
    })
}

/// Returns the file of the module `name` whose parent keeps its modules in `directory`.
fn file_of(directory: &Path, name: &str) -> PathBuf {
    let nested = directory.join(name).join("mod.rs");
    if nested.exists() { nested } else { directory.join(format!("{name}.rs")) }
}

/// Removes test-only methods.
fn without_tests(item: Item) -> Item {
    match item {
        Item::Impl(mut block) => {
            block.items.retain(|item| !matches!(item, ImplItem::Fn(method) if is_for_tests(&method.attrs)));
            Item::Impl(block)
        }
        Item::Trait(mut block) => {
            block.items.retain(|item| !matches!(item, TraitItem::Fn(method) if is_for_tests(&method.attrs)));
            Item::Trait(block)
        }
        other => other,
    }
}

/// Returns whether attributes compile an item for tests only: `#[cfg(test)]`, also within `all(...)`, and `#[test]`.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let Meta::List(list) = &attribute.meta else { return attribute.path().is_ident("test") };
        let condition = list.tokens.to_string();
        list.path.is_ident("cfg") && (condition == "test" || condition.starts_with("all (test"))
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Calls `found` with the signature and the body of each function in `items`, and in modules within.
pub(crate) fn each_function(items: &[Item], found: &mut dyn FnMut(&syn::Signature, &syn::Block)) {
    for item in items {
        match item {
            Item::Fn(function) => found(&function.sig, &function.block),
            Item::Impl(block) => {
                for item in &block.items {
                    if let ImplItem::Fn(method) = item {
                        found(&method.sig, &method.block);
                    }
                }
            }
            Item::Trait(block) => {
                for item in &block.items {
                    if let TraitItem::Fn(method) = item
                        && let Some(body) = &method.default
                    {
                        found(&method.sig, body);
                    }
                }
            }
            Item::Mod(module) => {
                if let Some((_, items)) = &module.content {
                    each_function(items, found);
                }
            }
            _ => {}
        }
    }
}

fn function_of(signature: &syn::Signature, body: &syn::Block) -> Function {
    let line = signature.fn_token.span.start().line;
    let end = body.brace_token.span.close().end().line;
    Function { name: signature.ident.to_string(), line, lines: end - line + 1 }
}
