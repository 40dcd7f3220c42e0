//! Finds out how much memory a component's core instances take beside their linear memories and tables, and keeps the
//! figure behind the compiled code.
//!
//! Each run allocates this memory anew: references to functions, globals, and passive element segments, which cost the
//! host sixteen bytes for each byte of the component, in each of its core instances. wasmtime bounds the first two, but
//! not the segments, and tells none of the figures.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use wasmparser::{Validator, WasmFeatures};
use wasmtime::Engine;
use wasmtime_environ::component::{
    Component, ComponentTypesBuilder, GlobalInitializer, InstantiateModule, Translator, VMComponentOffsets,
};
use wasmtime_environ::{HostPtr, Module, ScopeVec, Tunables, VMOffsets};

/// Stands between the compiled code and the figure at the end of its file.
const MARK: [u8; 8] = *b"instance";

/// The bytes that wasmtime keeps for an instance, a table or a memory beside the parts that are counted: a few hundred.
const EACH: u64 = 512;

/// A passive element segment of an instance, and one of its elements, in wasmtime.
const SEGMENT: u64 = 32;
const ELEMENT: u64 = 16;

/// A component that is loaded, and the figure that was kept with it.
#[derive(Debug)]
pub(in crate::runtime) struct Compiled {
    pub(in crate::runtime) component: wasmtime::component::Component,
    /// Bytes that its core instances need in each run.
    pub(in crate::runtime) instances: u64,
}

/// Compiles `wasm`, and appends the figure to its code. Programs that read the code as an object file ignore what is
/// behind its sections.
///
/// # Errors
///
/// wasmtime's error if `wasm` is not a component.
pub(in crate::runtime) fn precompile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let mut code = engine.precompile_component(wasm)?;
    code.extend(MARK);
    code.extend(needed(wasm)?.to_le_bytes());
    Ok(code)
}

/// Reads the figure at the end of `code`.
///
/// # Errors
///
/// If there is none.
pub(in crate::runtime) fn kept(code: &File) -> io::Result<u64> {
    let mut end = [0; 16];
    let start = code.metadata()?.len().checked_sub(end.len() as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
    code.read_exact_at(&mut end, start)?;
    let [mark, figure] = [0, 8].map(|at| <[u8; 8]>::try_from(&end[at..at + 8]).expect("eight bytes"));
    match mark == MARK {
        true => Ok(u64::from_le_bytes(figure)),
        false => Err(io::Error::other("it does not say what its instances need")),
    }
}

/// Returns the bytes that the core instances of `wasm` need.
fn needed(wasm: &[u8]) -> wasmtime::Result<u64> {
    let mut tunables = Tunables::default_host();
    tunables.parse_wasm_debuginfo = false;
    // All features, because the engine has compiled it, and so decided which of them it may use.
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut types = ComponentTypesBuilder::new(&validator);
    let scope = ScopeVec::new();
    let translator = Translator::new(&tunables, &mut validator, &mut types, &scope);
    let (translation, modules) = translator.translate(wasm)?;
    let component: &Component = &translation.component;
    let all = component.initializers.iter().filter_map(|initializer| match initializer {
        GlobalInitializer::InstantiateModule(InstantiateModule::Static(module, _), _) => {
            Some(of_instance(&modules[*module].module))
        }
        // Modules that are imported do not link, because the host offers none. The rest makes no instances.
        _ => None,
    });
    let own = EACH + u64::from(VMComponentOffsets::new(HostPtr, component).size_of_vmctx());
    Ok(all.fold(own, u64::saturating_add))
}

/// Returns the bytes that an instance of `module` needs.
fn of_instance(module: &Module) -> u64 {
    let segments = module.passive_elements.iter().map(|(_, (_, elements))| {
        // The elements may be more than a number has room for only in a module that does not compile.
        SEGMENT.saturating_add(elements.saturating_mul(ELEMENT))
    });
    let parts = 1 + module.num_defined_tables() + module.num_defined_memories();
    let own = EACH * parts as u64 + u64::from(VMOffsets::new(HostPtr, module).size_of_vmctx());
    segments.fold(own, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn needs(wat: &str) -> u64 {
        needed(&wat::parse_str(wat).unwrap()).unwrap()
    }

    #[test]
    fn each_instance_of_a_module_counts_with_its_globals_functions_and_segments() {
        let module = |fields: &str| format!("(core module $m (func $f) (elem func {}) {fields})", "$f ".repeat(1000));
        let none = needs(&format!("(component {})", module("")));
        let of =
            |fields: &str| needs(&format!("(component {} (core instance (instantiate $m)))", module(fields))) - none;
        let twice = "(core instance (instantiate $m))".repeat(2);

        let one = of("");

        assert!((16_000..18_000).contains(&one), "{one}");
        assert_eq!(needs(&format!("(component {} {twice})", module(""))) - none, 2 * one);
        assert_eq!(of(&"(global i64 (i64.const 1))".repeat(1000)) - one, 16_000);
        let functions: String = (0..1000).map(|n| format!("(func (export \"{n}\"))")).collect();
        let exported = of(&functions) - one;
        assert!((24_000..=64_000).contains(&exported), "{exported}");
    }

    #[test]
    fn a_nested_component_counts_as_often_as_it_is_instantiated() {
        let inner = "(component $c (core module $m (global i64 (i64.const 1))) (core instance (instantiate $m)))";
        let none = needs(&format!("(component {inner})"));

        let one = needs(&format!("(component {inner} (instance (instantiate $c)))")) - none;
        let three = needs(&format!("(component {inner} {})", "(instance (instantiate $c))".repeat(3))) - none;

        assert!(one >= EACH + 16, "{one}");
        assert!(three >= 3 * (EACH + 16), "{three}");
    }

    #[test]
    fn the_figure_is_kept_behind_the_code() {
        let engine = crate::runtime::engine::CodeSettings { reservation: 1 << 20 }.compiling().unwrap();
        let wasm = wat::parse_str("(component (core module $m) (core instance (instantiate $m)))").unwrap();
        let mut file = tempfile::tempfile().unwrap();

        file.write_all(&precompile(&engine, &wasm).unwrap()).unwrap();

        assert_eq!(kept(&file).unwrap(), needed(&wasm).unwrap());
        file.set_len(100).unwrap();
        assert!(kept(&file).is_err());
        file.set_len(1).unwrap();
        assert!(kept(&file).is_err());
    }
}
