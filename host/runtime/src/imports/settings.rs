//! The `settings` import: read-only values from the task's manifest.

use wasmtime::component::Linker;

use crate::imports::bindings::sexton::task::settings::{self, Host};

use super::capability::{Capability, Interface, of_sexton};
use super::{Imports, ImportsCtxView, ImportsView};

/// The capability to read the settings of the task's manifest. It needs no grant.
#[derive(Debug)]
pub struct Settings;

impl<T: ImportsView> Capability<T> for Settings {
    fn interfaces(&self) -> &'static [Interface] {
        const { &[of_sexton("settings")] }
    }

    fn link(&self, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        settings::add_to_linker::<T, Imports>(linker, T::imports)
    }
}

impl Host for ImportsCtxView<'_> {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        Ok(self.ctx.task.settings.get(&key).cloned())
    }

    fn all(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.ctx.task.settings.clone().into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imports::testing::World;

    #[tokio::test]
    async fn settings_are_those_of_the_manifest_in_order() {
        let world = World::new();
        let mut guest = world.guest().await;

        assert_eq!(guest.imports().get("b".to_owned()).unwrap().as_deref(), Some("2"));
        assert_eq!(guest.imports().get("c".to_owned()).unwrap(), None);
        let all = [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())];
        assert_eq!(guest.imports().all().unwrap(), all);
    }
}
