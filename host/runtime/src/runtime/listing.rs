//! Lists the entries of a directory within a guest's memory.
//!
//! `wasmtime-wasi` reads a whole directory before the guest gets its first entry, and a guest that may write there can
//! make it as large as it likes. This module does the same within the task's memory.

use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, statat};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorType, DirectoryEntry, ErrorCode};

use crate::attempt::{Charge, Ledger};

use super::guest::Guest;

/// The interface as `wasmtime-wasi` links it: another version would be added beside its functions instead of replacing
/// them.
const INTERFACE: &str = "wasi:filesystem/types@0.2.12";

/// Bytes that an entry takes besides its name, including the reserve of a list that grows.
const ENTRY: usize = 128;

/// Memory is charged in steps of this many bytes.
const STEP: usize = 16 << 10;

type Entry = Result<DirectoryEntry, ErrorCode>;

/// The rest of a directory that is being read.
struct Listing {
    entries: std::vec::IntoIter<Entry>,
    _charge: Charge,
}

/// Reads directories within the memory of a task. It must be called after WASI is linked.
pub(super) fn count(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(INTERFACE)?;
    types.resource("directory-entry-stream", ResourceType::host::<Listing>(), |mut guest, listing| {
        guest.data_mut().filesystem().table.delete(Resource::<Listing>::new_own(listing))?;
        Ok(())
    })?;
    types.func_wrap_async(
        "[method]descriptor.read-directory",
        |mut guest: StoreContextMut<'_, Guest>, (descriptor,): (Resource<Descriptor>,)| {
            Box::new(async move {
                let guest = guest.data_mut();
                let directory = match guest.filesystem().table.get(&descriptor)? {
                    Descriptor::Dir(directory) => Arc::clone(&directory.dir),
                    Descriptor::File(_) => return Ok((Err(ErrorCode::NotDirectory),)),
                };
                let (ledger, threads) = (guest.ledger(), guest.file_threads());
                // A read that is given up ends by itself, because the task's memory bounds it.
                match threads.run(move || read(&directory, &ledger)).await {
                    Ok(listing) => Ok((Ok(guest.filesystem().table.push(listing)?),)),
                    Err(error) => Ok((Err(error),)),
                }
            })
        },
    )?;
    types.func_wrap_async(
        "[method]directory-entry-stream.read-directory-entry",
        |mut guest: StoreContextMut<'_, Guest>, (listing,): (Resource<Listing>,)| {
            Box::new(async move {
                let next = guest.data_mut().filesystem().table.get_mut(&listing)?.entries.next();
                Ok((next.transpose(),))
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn read(directory: &File, ledger: &Arc<Ledger>) -> Result<Listing, ErrorCode> {
    let out_of_memory = |_| ErrorCode::InsufficientMemory;
    let mut charge = ledger.charge(STEP).map_err(out_of_memory)?;
    let (mut entries, mut room) = (Vec::new(), STEP);
    for entry in Dir::read_from(directory).map_err(code)? {
        let entry = entry.map_err(code)?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let size = ENTRY + name.len();
        if size > room {
            charge.grow(STEP).map_err(out_of_memory)?;
            room += STEP;
        }
        room -= size;
        entries.push(match std::str::from_utf8(name) {
            Ok(name) => {
                let kind = match entry.file_type() {
                    FileType::Unknown => kind_of(directory, name)?,
                    kind => kind,
                };
                Ok(DirectoryEntry { type_: descriptor_type(kind), name: name.to_owned() })
            }
            Err(_) => Err(ErrorCode::IllegalByteSequence),
        });
    }
    Ok(Listing { entries: entries.into_iter(), _charge: charge })
}

/// Returns the kind of a file, because not every filesystem gives it with the name.
fn kind_of(directory: &File, name: &str) -> Result<FileType, ErrorCode> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode)),
        // The file is gone by now.
        Err(rustix::io::Errno::NOENT) => Ok(FileType::Unknown),
        Err(error) => Err(code(error)),
    }
}

fn code(error: rustix::io::Errno) -> ErrorCode {
    ErrorCode::from(&io::Error::from(error))
}

fn descriptor_type(kind: FileType) -> DescriptorType {
    match kind {
        FileType::RegularFile => DescriptorType::RegularFile,
        FileType::Directory => DescriptorType::Directory,
        FileType::Symlink => DescriptorType::SymbolicLink,
        FileType::Fifo => DescriptorType::Fifo,
        FileType::Socket => DescriptorType::Socket,
        FileType::CharacterDevice => DescriptorType::CharacterDevice,
        FileType::BlockDevice => DescriptorType::BlockDevice,
        _ => DescriptorType::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::AllMemory;

    fn listing(memory: u64, files: usize) -> (Result<Listing, ErrorCode>, Arc<Ledger>) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("folder")).unwrap();
        for n in 0..files {
            std::fs::write(directory.path().join(format!("{n}-{}", "x".repeat(200))), "").unwrap();
        }
        let ledger = Ledger::new(memory, &Arc::new(AllMemory::of(u64::MAX)));
        (read(&File::open(directory.path()).unwrap(), &ledger), ledger)
    }

    #[test]
    fn all_entries_are_listed_with_their_kinds() {
        let (listing, ledger) = listing(1 << 20, 3);

        let mut entries: Vec<_> = listing.unwrap().entries.map(Result::unwrap).collect();

        entries.sort_by_key(|entry| entry.name.len());
        assert_eq!(entries.len(), 4);
        assert!(matches!(entries[0].type_, DescriptorType::Directory), "{entries:?}");
        assert!(entries[1..].iter().all(|entry| matches!(entry.type_, DescriptorType::RegularFile)), "{entries:?}");
        assert_eq!(ledger.held(), 0, "it is charged for as long as it is there");
    }

    #[test]
    fn a_directory_too_large_for_a_tasks_memory_is_not_read_to_its_end() {
        let (listing, ledger) = listing(64 << 10, 300);

        assert!(matches!(listing, Err(ErrorCode::InsufficientMemory)));
        assert_eq!(ledger.held(), 0);
    }
}
