//! Replaces the resolver of the host under attack (by `LD_PRELOAD`). The look-up of names below `hangs.invalid` takes
//! as long as with servers that are all silent, names below `inside.invalid` have the address 127.0.0.1, and every
//! other name is looked up as usual.
//!
//! A name server that never answers would be more real, but the machine's administrator decides which one a process
//! asks. The host's own code is the same down to its call of `getaddrinfo`.
#![expect(unsafe_code, reason = "a function of libc is stood in for, by its C name and with its C types")]

use std::ffi::{CStr, c_char, c_int};
use std::time::Duration;

/// The time for which the common resolver asks two silent servers, twice each.
const SILENCE: Duration = Duration::from_secs(20);

type GetAddrInfo =
    unsafe extern "C" fn(*const c_char, *const c_char, *const libc::addrinfo, *mut *mut libc::addrinfo) -> c_int;

/// Replaces getaddrinfo(3).
///
/// # Safety
///
/// The same as there: `node` and `service` are null or C strings, and `found` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const libc::addrinfo,
    found: *mut *mut libc::addrinfo,
) -> c_int {
    // SAFETY: the caller's promise.
    let name = if node.is_null() { c"" } else { unsafe { CStr::from_ptr(node) } };
    if name.to_bytes().ends_with(b".hangs.invalid") {
        std::thread::sleep(SILENCE);
        return libc::EAI_AGAIN;
    }
    let node = if name.to_bytes().ends_with(b".inside.invalid") { c"127.0.0.1".as_ptr() } else { node };
    // SAFETY: the name is a C string; `RTLD_NEXT` is a handle that needs no opening.
    let next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"getaddrinfo".as_ptr()) };
    if next.is_null() {
        return libc::EAI_FAIL;
    }
    // SAFETY: the symbol `getaddrinfo` of libc has that type, and gets what the caller promised.
    unsafe { std::mem::transmute::<*mut libc::c_void, GetAddrInfo>(next)(node, service, hints, found) }
}
