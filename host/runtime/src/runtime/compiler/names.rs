//! Hides names of functions that are too long to be worth their price.
//!
//! The names of a component's functions are part of its compiled code. Wasmtime copies the name of each frame when it
//! takes a stack, twenty frames at most, on the thread that the guest runs on. A name of megabytes, which no compiler
//! makes but an attacker may, would keep that thread from all other guests for a tenth of a second at each trap and
//! each sample.

use std::borrow::Cow;

use wasmparser::{CustomSectionReader, KnownCustom, Name, Parser, Payload};

/// The longest name that is kept, in bytes. Names of generic functions have some thousands. Twenty of this length are
/// copied in less time than a guest computes in one turn.
const LONGEST: usize = 16 << 10;

/// The section that holds the names, and the meaningless name that it gets instead.
const SECTION: &[u8; 4] = b"name";
const HIDDEN: &[u8; 4] = b"long";

/// Returns `wasm` without the name sections that have a name of more than [`LONGEST`] bytes. The functions of their
/// modules are shown by number. Nothing moves: positions in the component's file, by which lines are found, stay the
/// same.
pub(in crate::runtime) fn without_endless(wasm: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let sections = Parser::new(0).parse_all(&wasm).map_while(Result::ok).filter_map(|payload| match payload {
        Payload::CustomSection(section) if has_endless(&section) => section.data_offset().checked_sub(SECTION.len()),
        _ => None,
    });
    let sections: Vec<usize> = sections.collect();
    if sections.is_empty() {
        return wasm;
    }
    let mut wasm = wasm.into_owned();
    for at in sections {
        if let Some(name) = wasm.get_mut(at..at + SECTION.len()).filter(|name| *name == SECTION) {
            name.copy_from_slice(HIDDEN);
        }
    }
    Cow::Owned(wasm)
}

fn has_endless(section: &CustomSectionReader<'_>) -> bool {
    let KnownCustom::Name(names) = section.as_known() else { return false };
    names.into_iter().map_while(Result::ok).any(|names| match names {
        Name::Function(functions) => {
            functions.into_iter().map_while(Result::ok).any(|function| function.name.len() > LONGEST)
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(function: &str) -> Vec<u8> {
        let module = |name: &str| format!("(core module (func ${name} unreachable) (func $short))");
        wat::parse_str(format!("(component {} {})", module(function), module("other"))).unwrap()
    }

    fn count(wasm: &[u8], what: &[u8]) -> usize {
        wasm.windows(what.len()).filter(|window| *window == what).count()
    }

    #[test]
    fn names_longer_than_any_compiler_makes_are_hidden_and_nothing_moves() {
        let wasm = component(&"x".repeat(LONGEST + 1));

        let hidden = without_endless(Cow::Borrowed(&wasm));

        assert_eq!(hidden.len(), wasm.len());
        let changed: Vec<_> = hidden.iter().zip(&wasm).filter(|(new, old)| new != old).collect();
        assert!((1..=4).contains(&changed.len()), "{changed:?}");
        assert_eq!(
            (count(&wasm, b"\x04name"), count(&hidden, b"\x04name")),
            (2, 1),
            "the other module keeps its names"
        );
        wasmparser::validate(&hidden).unwrap();
    }

    #[test]
    fn names_of_a_usual_length_stay() {
        for name in ["spin", &"x".repeat(LONGEST)] {
            let wasm = component(name);

            assert!(matches!(without_endless(Cow::Borrowed(&wasm)), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn a_file_that_is_no_component_is_left_to_the_compiler() {
        let whole = component(&"x".repeat(LONGEST + 1));
        for wasm in [&b""[..], b"\0asm", b"not wasm", &whole[..whole.len() / 2]] {
            assert_eq!(without_endless(Cow::Borrowed(wasm)).len(), wasm.len());
        }
    }
}
