//! Makes components by code, one file each: those whose exact bytes matter, or of which there are too many to write
//! down.

pub(crate) mod blocks_deep;
pub(crate) mod components_deep;
pub(crate) mod debug_bomb;
pub(crate) mod endless_file;
pub(crate) mod export_words;
pub(crate) mod function_wide;
pub(crate) mod functions_many;
pub(crate) mod import_flood;
pub(crate) mod import_ungranted;
pub(crate) mod instance_hoard;
pub(crate) mod instances_doubling;
pub(crate) mod instances_many;
pub(crate) mod malformed;
pub(crate) mod manifest_huge;
pub(crate) mod manifest_words;
pub(crate) mod name_thief;
pub(crate) mod names_long;
pub(crate) mod pipe;
pub(crate) mod size_huge;
pub(crate) mod types_doubling;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The bytes that every component begins with.
const PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";

/// Makes a component from text, or from the text of a core module as a compiler would.
pub(crate) fn assemble(text: &str) -> Vec<u8> {
    let bytes = wat::parse_str(text).expect("the text of an attack is good");
    if wat_is_component(&bytes) {
        return bytes;
    }
    let mut module = bytes;
    let mut resolve = Resolve::default();
    let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit");
    let (package, _) = resolve.push_dir(wit).expect("the interfaces lie in the repository");
    let world = resolve.select_world(&[package], Some("task")).expect("the package has a world `task`");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("a module takes a section");
    let mut encoder = ComponentEncoder::default().validate(true).module(&module).expect("the module says what it is");
    encoder.encode().expect("the module of an attack fits the world `task`")
}

fn wat_is_component(bytes: &[u8]) -> bool {
    bytes.starts_with(PREAMBLE)
}

/// Returns a program as text: `module` exports `run`, which returns 0 for success.
fn program(before: &str, module: &str) -> String {
    format!(
        "(component {before}
           (core module $m {module})
           (core instance $i (instantiate $m))
           (func $run (result (result)) (canon lift (core func $i \"run\")))
           (instance $export (export \"run\" (func $run)))
           (export \"wasi:cli/run@0.2.0\" (instance $export)))"
    )
}

/// A program that does nothing.
const NOTHING: &str = r#"(func (export "run") (result i32) i32.const 0)"#;

/// Adds a section to `component` that distinguishes it from the others of its kind, so that nothing known of one helps
/// with another.
pub(crate) fn marked(mut component: Vec<u8>, nth: usize) -> Vec<u8> {
    let mut body = vec![4];
    body.extend(b"mark");
    body.extend(nth.to_le_bytes());
    component.extend(section(0, &body));
    component
}

/// Makes a section of a module or a component.
fn section(id: u8, body: &[u8]) -> Vec<u8> {
    let mut section = vec![id];
    section.extend(leb(body.len()));
    section.extend(body);
    section
}

/// Makes a custom section.
fn custom(name: &str, body: &[u8]) -> Vec<u8> {
    let mut whole = leb(name.len());
    whole.extend(name.as_bytes());
    whole.extend(body);
    section(0, &whole)
}

/// Encodes an unsigned LEB128.
fn leb(mut n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (n & 0x7f) as u8;
        n >>= 7;
        if n == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Joins `item(n)` for each `n` below `count`.
fn many(count: usize, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect()
}
