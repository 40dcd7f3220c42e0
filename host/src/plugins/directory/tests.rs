//! Tests a directory with a plugin whose load panics.

use super::*;
use crate::ops::Ops;
use sexton_domain::tenant::Tenants;
use sexton_runtime::imports::Services;
use sexton_runtime::runtime::{Compiler, RuntimeConfig};
use sexton_store::sqlite::{SqliteOptions, SqliteStore};
use sexton_system::clock::SystemClock;

fn runtime(place: &Path) -> Arc<Runtime> {
    let store = SqliteStore::open(place.join("store.db"), &SqliteOptions::default()).unwrap();
    let (tenants, clock) = (Arc::new(Tenants::only_default(1 << 20)), Arc::new(SystemClock));
    let ops = Ops::new("one".to_owned(), store.clone(), Arc::default(), Arc::clone(&tenants), clock.clone());
    let services = Services {
        store,
        clock,
        run_requests: Arc::new(ops.clone()),
        schedule_requests: Arc::new(ops),
        tenants,
        lock_waits: Arc::default(),
        virtual_time: None,
    };
    let config = RuntimeConfig {
        code_cache: place.join("code"),
        guest_threads: 1,
        slots: 1,
        max_memory: 64 << 20,
        tick: Duration::from_millis(5),
        max_component: 1 << 20,
        compiler: Compiler::InProcess,
    };
    Runtime::new(config, Arc::new(services)).unwrap()
}

#[tokio::test]
async fn a_plugin_whose_load_panics_is_quarantined_for_now_and_loaded_again() {
    let place = tempfile::tempdir().unwrap();
    let (registry, clock) = (Arc::new(Registry::new(Arc::default())), Arc::new(SystemClock));
    let tenant = Name::default_tenant();
    let path = place.path().join("plugins");
    let mut directory =
        Directory::open(tenant, &path, Arc::clone(&registry), runtime(place.path()), clock, 1 << 20).unwrap();
    directory.loading.add("bad".into(), 1);
    let Next::Turn(name, turn) = directory.loading.next().await else { panic!("nothing is loaded yet") };
    directory.loading.begin(name, turn, async { panic!("a fault of the host") });

    let over = async {
        while registry.list().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    directory.load_until(over).await;

    let reason = registry.list().remove(0).quarantine.unwrap();
    assert!(reason.starts_with("the host panicked while it loaded it: a fault of the host ("), "{reason}");
    assert!(reason.ends_with("; the cause may be temporary, so the plugin is loaded again in 5s"), "{reason}");
    assert!(directory.rest() < POLL, "it is looked at again when its next try is due");
    let faults = Supervisor::of_process().faults();
    assert!(faults.iter().any(|fault| fault.part == "loading a plugin" && !fault.down), "{faults:?}");
}
