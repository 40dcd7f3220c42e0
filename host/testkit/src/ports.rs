//! Finds free ports for servers that must keep theirs over a restart.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

/// The range in which ports are searched: below those that systems give to outgoing connections (Linux: from 32768), so
/// that none of these takes the port of a stopped server before it starts again.
const PORTS: Range<u16> = 20_000..32_000;

/// Returns a port of 127.0.0.1 that is free now. Another process may take it before the caller does.
///
/// # Panics
///
/// A thousand ports in a row are taken.
#[must_use]
pub fn free() -> u16 {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    // The port is random, so that processes that search at the same time rarely find the same one.
    let by_chance = || PORTS.start + (RandomState::new().hash_one(()) % PORTS.len() as u64) as u16;
    std::iter::repeat_with(by_chance).take(1000).find(free).expect("one of so many ports is free")
}
