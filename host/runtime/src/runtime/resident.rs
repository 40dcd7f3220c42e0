//! Gives back the memory that loading a component has made resident.
//!
//! Compiled code is mapped from its file. Loading reads parts of it, and the system maps the pages around them, so that
//! all of it counts as this host's memory although most components run seldom. Pages that a run needs come back by
//! themselves.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use rustix::mm::{Advice, madvise};
use wasmtime::component::Component;

/// Bits of an entry of `/proc/self/pagemap`, as the kernel's admin-guide has them.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const OF_A_FILE: u64 = 1 << 61;

/// Unmaps the pages of `component`'s compiled code, if all of them are unchanged from its file. If the system cannot
/// tell, they stay.
#[expect(unsafe_code, reason = "unmapping cannot be checked by the compiler; see the proof")]
pub(super) fn release(component: &Component) {
    let image = component.image_range();
    let page = rustix::param::page_size();
    let (start, end) = (image.start as usize, image.end as usize);
    // Whole pages only, because others may share the first and the last.
    let (first, last) = (start.next_multiple_of(page), end / page * page);
    if first >= last || !unchanged(first / page, (last - first) / page) {
        return;
    }
    // SAFETY: all pages in the range are a private mapping of a file, and none was written to (that would have made it
    // a page of its own, which was looked for). The next access maps the same bytes again: the file is never changed in
    // place (see `code_cache`), and nothing writes to code once it is loaded.
    let released =
        unsafe { madvise(std::ptr::with_exposed_provenance_mut(first), last - first, Advice::LinuxDontNeed) };
    if let Err(error) = released {
        tracing::debug!(%error, "Could not give back the memory of compiled code");
    }
}

/// Returns whether each of `count` pages from the `first` on is either absent or the file's.
fn unchanged(first: usize, count: usize) -> bool {
    let mut entries = vec![0; count * 8];
    let read = File::open("/proc/self/pagemap").and_then(|map| map.read_exact_at(&mut entries, first as u64 * 8));
    read.is_ok()
        && entries.as_chunks().0.iter().all(|entry| {
            let entry = u64::from_ne_bytes(*entry);
            entry & (PRESENT | SWAPPED) == 0 || entry & OF_A_FILE != 0
        })
}

#[cfg(test)]
mod tests {
    use super::{release, unchanged};

    #[test]
    fn own_memory_is_not_mistaken_for_pages_of_a_file() {
        let page = rustix::param::page_size();
        let own = vec![1_u8; 3 * page];
        let first = (own.as_ptr() as usize).div_ceil(page);

        assert!(!unchanged(first, 1));
    }

    #[test]
    fn code_that_was_released_still_runs() {
        let engine = wasmtime::Engine::default();
        let wat = r#"(component (core module $m (func (export "f") (result i32) i32.const 42)) (core instance $i (instantiate $m))
            (func (export "f") (result u32) (canon lift (core func $i "f"))))"#;
        let component = wasmtime::component::Component::new(&engine, wat::parse_str(wat).unwrap()).unwrap();

        release(&component);

        let mut store = wasmtime::Store::new(&engine, ());
        let linker = wasmtime::component::Linker::new(&engine);
        let instance = linker.instantiate(&mut store, &component).unwrap();
        let f = instance.get_typed_func::<(), (u32,)>(&mut store, "f").unwrap();
        assert_eq!(f.call(&mut store, ()).unwrap(), (42,));
    }
}
