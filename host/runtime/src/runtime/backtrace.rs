//! Copies a guest's stack from wasmtime into the form that an attempt keeps.

use wasmtime::{FrameInfo, WasmBacktrace};

use crate::attempt::stack::{Frame, LONGEST_NAME, Stack, cut};

/// Returns the guest's stack, as far as wasmtime knows it without looking anything up.
pub(super) fn stack_of(backtrace: &WasmBacktrace) -> Stack {
    let frame = |frame: &FrameInfo| Frame {
        function: match frame.func_name() {
            // Kept whole if possible, because a cut name cannot be demangled.
            Some(name) => cut(name, 4 * LONGEST_NAME).into(),
            None => format!("function {}", frame.func_index()).into(),
        },
        offset: frame.module_offset(),
        ahead: false,
    };
    Stack(backtrace.frames().iter().map(frame).collect())
}
