//! Gives a guest that lives in virtual time its clocks and its randomness.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;

use crate::attempt::Sleeper;

/// Gives the guest of `sleeper` its clocks and its random sources.
pub(super) fn install_clocks(sleeper: &Arc<Sleeper>, wasi: &mut wasmtime_wasi::WasiCtxBuilder) {
    wasi.wall_clock(Clocks(Arc::clone(sleeper))).monotonic_clock(Clocks(Arc::clone(sleeper)));
    wasi.secure_random(sleeper.random(2)).insecure_random(sleeper.random(3));
    wasi.insecure_random_seed(sleeper.random(4).random());
}

/// The clocks that a guest reads.
struct Clocks(Arc<Sleeper>);

impl wasmtime_wasi::HostWallClock for Clocks {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        self.0.wall_clock()
    }
}

impl wasmtime_wasi::HostMonotonicClock for Clocks {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.0.elapsed()
    }
}
