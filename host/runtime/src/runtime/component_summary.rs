//! Reads what a component says of itself, without compiling it, to check a plugin before a host has it.
//!
//! A host does not do this; it has components parsed in a child process that it can do without.

use wasmparser::{Parser, Payload};

use super::components::{LoadError, kind_of, look};
use super::kinds::Kind;
use super::link::{self, Refusal};
use super::wording;
use sexton_domain::task::Task;

/// The kind and the imports of a component.
#[derive(Clone, Debug)]
pub struct ComponentSummary {
    kind: Kind,
    imports: Vec<String>,
}

impl ComponentSummary {
    /// Reads the outermost imports and exports of `wasm`.
    ///
    /// # Errors
    ///
    /// [`LoadError`], as a host says it, if `wasm` is not a component that can be run, or has more than `limit` bytes.
    pub fn of(wasm: &[u8], limit: u64) -> Result<Self, LoadError> {
        look(wasm, limit)?;
        let (mut imports, mut exports) = (Vec::new(), Vec::new());
        // Core modules and components within the component have imports of their own.
        let mut depth = 0;
        let mut read = |payload: Payload<'_>| -> wasmparser::Result<()> {
            match payload {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        exports.push(export?.name.name.to_owned());
                    }
                }
                _ => {}
            }
            Ok(())
        };
        Parser::new(0)
            .parse_all(wasm)
            .try_for_each(|payload| read(payload?))
            .map_err(|error| LoadError::Invalid(wording::line(error.message())))?;
        let exports: Vec<&str> = exports.iter().map(String::as_str).collect();
        Ok(Self { kind: kind_of(&exports)?, imports })
    }

    /// Returns the component's kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns what a host says if `task` may not have what the component imports.
    pub fn refusal(&self, task: &Task) -> Option<Refusal> {
        link::check(&self.imports, task).err()
    }
}

#[cfg(test)]
mod tests {
    use super::ComponentSummary;
    use crate::runtime::LoadError;

    fn glance(wat: &str) -> Result<ComponentSummary, LoadError> {
        ComponentSummary::of(&wat::parse_str(wat).expect("a component"), 1 << 20)
    }

    #[test]
    fn only_the_outermost_imports_and_exports_count() {
        let component = r#"(component
            (import "wasi:http/outgoing-handler@0.2.0" (instance))
            (component (import "inner:thing/x@1.0.0" (instance)))
            (core module (import "env" "f" (func)))
            (instance $run)
            (export "wasi:cli/run@0.2.0" (instance $run)))"#;

        let seen = glance(component).expect("a program");

        assert_eq!(seen.kind().as_str(), "program");
        assert_eq!(seen.imports, ["wasi:http/outgoing-handler@0.2.0"]);
    }

    #[test]
    fn a_fault_of_a_component_is_reported_in_one_line() {
        let module_without_its_magic_number = b"\0asm\x0d\0\x01\0\x01\x08not wasm";

        let wrong = ComponentSummary::of(module_without_its_magic_number, 1 << 20).expect_err("no module").to_string();

        assert!(wrong.contains("magic") && !wrong.contains(char::is_control), "{wrong:?}");
    }

    #[test]
    fn a_component_that_cannot_be_run_is_refused_as_a_host_refuses_it() {
        assert!(matches!(glance("(module)"), Err(LoadError::CoreModule)));
        assert!(matches!(glance("(component)"), Err(LoadError::NothingToRun(_))));
        let half = &wat::parse_str(r#"(component (import "a" (instance)))"#).expect("a component")[..14];
        assert!(matches!(ComponentSummary::of(half, 1 << 20), Err(LoadError::Invalid(_))));
    }
}
