//! The `settings` import: read-only values from the task's manifest.

use wasmtime::component::Linker;

use super::{Imports, ImportsCtxView, ImportsView};
use crate::runtime::bindings::sexton::task::settings::{self, Host};

/// Let a guest of `linker` read its settings.
///
/// # Errors
///
/// If something is linked by that name already.
pub fn add_to_linker<T: ImportsView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    settings::add_to_linker::<T, Imports>(linker, T::imports)
}

impl Host for ImportsCtxView<'_> {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        Ok(self.ctx.task.settings.get(&key).cloned())
    }

    fn all(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.ctx.task.settings.clone().into_iter().collect())
    }
}
