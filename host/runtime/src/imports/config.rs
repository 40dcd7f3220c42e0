//! The `wasi:config/store` import: the settings of the task's manifest, for components that know nothing of Sexton.

use wasmtime::component::Linker;

use super::capability::{Capability, Interface};
use super::{Imports, ImportsCtxView, ImportsView};
use bindings::wasi::config::store::{self, Error, Host};

mod bindings {
    //! Holds the interface in Rust, as wasmtime generates it.

    wasmtime::component::bindgen!({
        path: "../../wit/deps/wasi-config.wit",
        inline: "package sexton:config-imports; world imports { import wasi:config/store@0.2.0-rc.1; }",
        world: "sexton:config-imports/imports",
        imports: { default: trappable },
    });
}

/// The capability to read the settings through WASI's interface. It needs no grant.
#[derive(Debug)]
pub struct Config;

impl<T: ImportsView> Capability<T> for Config {
    fn interfaces(&self) -> &'static [Interface] {
        &[Interface { package: "wasi:config", name: "store", version: "0.2.0-rc.1" }]
    }

    fn link(&self, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        store::add_to_linker::<T, Imports>(linker, T::imports)
    }
}

impl Host for ImportsCtxView<'_> {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        Ok(Ok(self.ctx.task.settings.get(&key).cloned()))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, Error>> {
        Ok(Ok(self.ctx.task.settings.clone().into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imports::testing::World;

    #[tokio::test]
    async fn the_values_are_the_settings_of_the_manifest_in_order() {
        let world = World::new();
        let mut guest = world.guest().await;

        assert_eq!(guest.imports().get("b".to_owned()).unwrap().unwrap().as_deref(), Some("2"));
        assert_eq!(guest.imports().get("c".to_owned()).unwrap().unwrap(), None);
        let all = [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())];
        assert_eq!(guest.imports().get_all().unwrap().unwrap(), all);
    }
}
