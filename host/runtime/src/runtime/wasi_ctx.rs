//! Makes the WASI context of a guest when the guest first needs it: many short guests never do, and making it takes
//! longer than they compute.

use std::sync::Arc;

use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;

use crate::attempt::Order;
use sexton_domain::time::Clock;

use super::kinds::Kind;
use super::stdio::{Capture, Input};
use super::virtual_clocks;

/// Random bytes that one call may ask for: they are made one by one in a call that nothing interrupts.
const MOST_RANDOM: u64 = 256 << 10;

/// The WASI context of one guest, with what the guest prints.
pub(super) struct LazyWasi {
    order: Order,
    kind: Kind,
    clock: Arc<dyn Clock>,
    made: Option<Made>,
}

struct Made {
    ctx: WasiCtx,
    stdout: Capture,
    stderr: Capture,
}

/// The bytes that a guest printed to a stream, and whether there were more.
pub(super) type Printed = (Vec<u8>, bool);

impl LazyWasi {
    pub(super) fn new(order: &Order, kind: Kind, clock: &Arc<dyn Clock>) -> Self {
        Self { order: order.clone(), kind, clock: Arc::clone(clock), made: None }
    }

    /// Returns the context.
    pub(super) fn ctx(&mut self) -> &mut WasiCtx {
        if self.made.is_none() {
            self.made = Some(self.make());
        }
        &mut self.made.as_mut().expect("it was made just now").ctx
    }

    /// Takes what the guest printed to stdout and to stderr.
    pub(super) fn printed(&self) -> (Printed, Printed) {
        self.made.as_ref().map_or_else(Default::default, |made| (made.stdout.take(), made.stderr.take()))
    }

    fn capture(&self, limit: u64, level: &'static str) -> Capture {
        Capture::new(limit, level, Arc::clone(&self.order.handle), Arc::clone(&self.clock))
    }

    fn make(&self) -> Made {
        let (task, handle, limits) = (&self.order.task, &self.order.handle, &self.order.task.limits);
        // The output of a program is what it prints.
        let is_program = self.kind.is_program();
        let printed = if is_program { limits.stdio.max(limits.output.saturating_add(1)) } else { limits.stdio };
        let (stdout, stderr) = (self.capture(printed, "stdout"), self.capture(limits.stdio, "stderr"));
        let mut wasi = WasiCtx::builder();
        wasi.stdout(stdout.clone()).stderr(stderr.clone()).arg(task.key.task.as_str()).args(&task.args);
        wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false).max_random_size(MOST_RANDOM);
        for (name, value) in &task.env {
            wasi.env(name, value);
        }
        if is_program {
            wasi.stdin(Input(MemoryInputPipe::new(self.order.claim.input.clone())));
        }
        if let Some(sleeper) = handle.sleeper() {
            virtual_clocks::install_clocks(sleeper, &mut wasi);
        }
        Made { ctx: wasi.build(), stdout, stderr }
    }
}
