//! A library that tests preload (`LD_PRELOAD`) into a host to give it a wrong clock. The time of day is off by the
//! seconds in the variable `SKEWED_CLOCK_SECONDS`, or in the file that `SKEWED_CLOCK_FILE` names, which a test may
//! change while the host runs. All other clocks are right.
//!
//! A test must not set the system's clock, because other programs use it.
#![expect(unsafe_code, reason = "a function of libc is stood in for, by its C name and with its C types")]

use std::ffi::c_int;
use std::sync::OnceLock;

static OFF_BY: OnceLock<libc::time_t> = OnceLock::new();
static FILE: OnceLock<Option<std::ffi::OsString>> = OnceLock::new();

fn off_by() -> libc::time_t {
    if let Some(file) = FILE.get_or_init(|| std::env::var_os("SKEWED_CLOCK_FILE")) {
        // The file is read each time, because tests set the clock while the host runs. Reading a file does not read the
        // time of day.
        return std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    }
    *OFF_BY.get_or_init(|| std::env::var("SKEWED_CLOCK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Replaces clock_gettime(2).
///
/// # Safety
///
/// The same as there: `time` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    // The kernel itself is asked, as libc's own function is the one that this stands in for.
    // SAFETY: the caller's promise; the kernel checks the number of the clock.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, libc::c_long::from(clock), time) };
    if result == 0 && matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE) {
        // SAFETY: the kernel has just written there.
        unsafe { (*time).tv_sec += off_by() };
    }
    // The result is 0, or -1 with the reason in `errno`, as there.
    if result == 0 { 0 } else { -1 }
}
