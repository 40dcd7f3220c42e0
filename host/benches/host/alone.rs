//! Compiles components with the settings of a host and nothing beside: the least that a cold start can take.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sexton::ops::Ops;
use sexton_domain::tenant::Tenants;
use sexton_runtime::imports::Services;
use sexton_runtime::runtime::{Compiler, Runtime, RuntimeConfig};
use sexton_store::sqlite::{SqliteOptions, SqliteStore};
use sexton_system::clock::SystemClock;

/// Returns how long it takes to compile `components`, as many at once as a host compiles.
pub(crate) fn compile(components: &[Vec<u8>], place: &Path) -> Duration {
    let runtime = runtime(place);
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..runtime.loads_at_once() {
            scope.spawn(|| {
                while let Some(component) = components.get(next.fetch_add(1, Ordering::Relaxed)) {
                    assert!(!runtime.engine().precompile_component(component).unwrap().is_empty());
                }
            });
        }
    });
    began.elapsed()
}

fn runtime(place: &Path) -> Arc<Runtime> {
    std::fs::create_dir_all(place).unwrap();
    let store = SqliteStore::open(place.join("store.db"), &SqliteOptions::default()).unwrap();
    let (tenants, clock) = (Arc::new(Tenants::only_default(1 << 20)), Arc::new(SystemClock));
    let ops = Ops::new("bench".to_owned(), store.clone(), Arc::default(), Arc::clone(&tenants), clock.clone());
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
        slots: 1024,
        max_memory: 512 << 20,
        tick: Duration::from_millis(5),
        max_component: 32 << 20,
        compiler: Compiler::InProcess,
    };
    Runtime::new(config, Arc::new(services)).unwrap()
}
