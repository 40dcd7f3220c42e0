//! Opens files and directories for guests, and nothing else, so that opening never waits for another process.
//!
//! Opening a pipe blocks the thread until another process opens its other end, which may never happen; a device may do
//! anything. The check looks at the opened file instead of the path, because the path may name another file a moment
//! later.

use std::fs::{File, FileTimes};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use wasmtime_wasi::filesystem::{Descriptor, Dir, File as WasiFile};
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorFlags, ErrorCode, OpenFlags};
use wasmtime_wasi::{FsPerms, OpenMode};

/// Attempts to open a path when a rename elsewhere interferes, as many as `wasmtime-wasi` makes.
const TRIES: usize = 4;

/// The way in which a guest asks for a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) follow: bool,
    pub(super) open: OpenFlags,
    pub(super) flags: DescriptorFlags,
    /// Whether the file must be open for writing although neither `open` nor `flags` says so, because the flag that
    /// said so was carried out separately before.
    pub(super) writes: bool,
}

/// The reason that there is no descriptor.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The error code for the guest.
    Code(ErrorCode),
    /// The path leads to neither a file nor a directory, but to this.
    Special(&'static str),
    /// This system cannot open a path below a directory in one call; `wasmtime-wasi` has another way.
    NotHere,
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Code(ErrorCode::from(error))
    }
}

impl Wanted {
    /// Removes `flags` from the opening flags, but keeps the mode that they asked for.
    pub(super) fn without(self, flags: OpenFlags) -> Self {
        Self { open: self.open & !flags, writes: self.mode().contains(OpenMode::WRITE), ..self }
    }

    fn mode(self) -> OpenMode {
        let writes = self.writes
            || self.open.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE)
            || self.flags.contains(DescriptorFlags::WRITE);
        // A file that is not opened for writing is opened for reading, because the system has no mode for neither.
        let reads = self.flags.contains(DescriptorFlags::READ) || !self.flags.contains(DescriptorFlags::WRITE);
        let mut mode = OpenMode::empty();
        mode.set(OpenMode::WRITE, writes);
        mode.set(OpenMode::READ, reads);
        mode
    }

    /// Checks what needs no look at the disk.
    fn check(self, perms: FsPerms) -> Result<(), ErrorCode> {
        let sync = DescriptorFlags::FILE_INTEGRITY_SYNC
            | DescriptorFlags::DATA_INTEGRITY_SYNC
            | DescriptorFlags::REQUESTED_WRITE_SYNC;
        let makes = OpenFlags::CREATE | OpenFlags::EXCLUSIVE | OpenFlags::TRUNCATE;
        if self.flags.intersects(sync) {
            return Err(ErrorCode::Unsupported);
        }
        if self.open.contains(OpenFlags::DIRECTORY) && self.open.intersects(makes) {
            return Err(ErrorCode::Invalid);
        }
        if perms.write_not_permitted() && self.mode().contains(OpenMode::WRITE) {
            return Err(ErrorCode::NotPermitted);
        }
        Ok(())
    }

    fn system_flags(self) -> OFlags {
        let mode = self.mode();
        let mut flags = match (mode.contains(OpenMode::READ), mode.contains(OpenMode::WRITE)) {
            (true, true) => OFlags::RDWR,
            (false, true) => OFlags::WRONLY,
            _ => OFlags::RDONLY,
        };
        let create = self.open.contains(OpenFlags::CREATE);
        let exclusive = create && self.open.contains(OpenFlags::EXCLUSIVE);
        flags.set(OFlags::CREATE, create);
        flags.set(OFlags::EXCL, exclusive);
        flags.set(OFlags::TRUNC, self.open.contains(OpenFlags::TRUNCATE) && !exclusive);
        flags.set(OFlags::DIRECTORY, self.open.contains(OpenFlags::DIRECTORY));
        flags.set(OFlags::NOFOLLOW, !self.follow);
        flags
    }
}

/// Opens `path` below `directory`. This blocks no longer than the disk takes.
pub(super) fn open(directory: &Dir, path: &str, wanted: Wanted) -> Result<Descriptor, OpenError> {
    wanted.check(directory.perms).map_err(OpenError::Code)?;
    let file = open_below(&directory.dir, path, wanted.system_flags())?;
    descriptor(file, directory.perms, wanted)
}

/// Opens what is at `path` below `directory`, without following a link, so that it can be examined after it has lost
/// that name. Returns `None` if the path does not exist or this system cannot tell.
pub(super) fn look(directory: &Dir, path: &str) -> Option<OwnedFd> {
    let path = path.trim_end_matches('/');
    let (flags, resolve) =
        (OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS);
    openat2(&directory.dir, path, flags, Mode::empty(), resolve).ok()
}

/// Sets the times of the file that a path below `directory` leads to; links are followed.
pub(super) fn set_times(directory: &Dir, path: &str, times: FileTimes) -> Result<(), OpenError> {
    if directory.perms.write_not_permitted() {
        return Err(OpenError::Code(ErrorCode::NotPermitted));
    }
    // Either mode will do, because the owner of a read-only file may set its times, too.
    let opened = match open_below(&directory.dir, path, OFlags::WRONLY) {
        Err(OpenError::Code(ErrorCode::Access | ErrorCode::IsDirectory)) => {
            open_below(&directory.dir, path, OFlags::RDONLY)
        }
        opened => opened,
    };
    let file = opened?;
    plain(&file)?;
    Ok(file.set_times(times)?)
}

/// Makes the guest's descriptor of an opened file.
pub(super) fn descriptor(file: File, perms: FsPerms, wanted: Wanted) -> Result<Descriptor, OpenError> {
    match plain(&file)? {
        Plain::Directory => Ok(Descriptor::Dir(Dir::new(file, perms, wanted.mode(), false))),
        Plain::File if wanted.open.contains(OpenFlags::DIRECTORY) => Err(OpenError::Code(ErrorCode::NotDirectory)),
        Plain::File => Ok(Descriptor::File(WasiFile::new(file, perms, wanted.mode(), false))),
    }
}

/// A kind of file that a guest may have open.
enum Plain {
    File,
    Directory,
}

fn plain(file: &File) -> Result<Plain, OpenError> {
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Ok(Plain::Directory);
    }
    if kind.is_file() {
        return Ok(Plain::File);
    }
    Err(OpenError::Special(match () {
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }))
}

fn open_below(directory: &File, path: &str, flags: OFlags) -> Result<File, OpenError> {
    // NOCTTY keeps an opened terminal from becoming the host's.
    let all = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o666) } else { Mode::empty() };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let opened = (0..TRIES)
        .map(|_| openat2(directory, path, all, mode, resolve))
        .find(|opened| !matches!(opened, Err(Errno::AGAIN)));
    match opened {
        Some(Ok(file)) => {
            let file = File::from(file);
            // NONBLOCK was for opening only; some filesystems heed it when they read.
            rustix::fs::fcntl_setfl(&file, OFlags::empty()).map_err(io::Error::from)?;
            Ok(file)
        }
        // The path leads out of the directory.
        Some(Err(Errno::XDEV)) => Err(OpenError::Code(ErrorCode::NotPermitted)),
        // Sandboxes that do not know the call say that it is not permitted.
        None | Some(Err(Errno::NOSYS | Errno::PERM)) => Err(OpenError::NotHere),
        // The path names a pipe without a reader, or a socket.
        Some(Err(Errno::NXIO)) => Err(OpenError::Special("a pipe, a socket or a device")),
        Some(Err(error)) => Err(io::Error::from(error).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(open: OpenFlags, flags: DescriptorFlags) -> Wanted {
        Wanted { follow: true, open, flags, writes: false }
    }

    fn directory(path: &std::path::Path, perms: FsPerms) -> Dir {
        Dir::new(File::open(path).unwrap(), perms, OpenMode::READ | OpenMode::WRITE, false)
    }

    fn make(path: &std::path::Path, kind: rustix::fs::FileType) {
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, Mode::from_raw_mode(0o600), 0).unwrap();
    }

    #[test]
    fn special_files_are_refused_at_once_however_they_are_opened() {
        let place = tempfile::tempdir().unwrap();
        make(&place.path().join("pipe"), rustix::fs::FileType::Fifo);
        make(&place.path().join("socket"), rustix::fs::FileType::Socket);
        std::os::unix::fs::symlink("pipe", place.path().join("link")).unwrap();
        let box_ = directory(place.path(), FsPerms::ReadWrite);
        let (read, write) = (DescriptorFlags::READ, DescriptorFlags::WRITE);

        for path in ["pipe", "socket", "link", "./pipe"] {
            for flags in [read, write, read | write, DescriptorFlags::empty()] {
                for open in [OpenFlags::empty(), OpenFlags::CREATE, OpenFlags::TRUNCATE] {
                    let opened = super::open(&box_, path, wanted(open, flags));
                    assert!(
                        matches!(opened, Err(OpenError::Special(_))),
                        "{path} {flags:?} {open:?}: {:?}",
                        opened.err()
                    );
                }
            }
            let touched = set_times(&box_, path, FileTimes::new());
            assert!(matches!(touched, Err(OpenError::Special(_))), "{path}: {touched:?}");
            let opened = super::open(&box_, path, wanted(OpenFlags::DIRECTORY, read));
            assert!(matches!(opened, Err(OpenError::Code(ErrorCode::NotDirectory))), "{path}: {:?}", opened.err());
        }
    }

    #[test]
    fn files_and_directories_open_within_permissions_and_below_the_directory() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("file"), "text").unwrap();
        std::fs::create_dir(place.path().join("folder")).unwrap();
        std::os::unix::fs::symlink("file", place.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", place.path().join("out")).unwrap();
        let (read, write, none) = (DescriptorFlags::READ, DescriptorFlags::WRITE, OpenFlags::empty());
        let open = |perms, path: &str, wanted: Wanted| match super::open(&directory(place.path(), perms), path, wanted)
        {
            Ok(Descriptor::File(file)) => {
                let flags = rustix::fs::fcntl_getfl(&file.file).unwrap();
                assert!(!flags.contains(OFlags::NONBLOCK), "{path}: {flags:?}");
                Ok("file")
            }
            Ok(Descriptor::Dir(_)) => Ok("directory"),
            Err(OpenError::Code(code)) => Err(code),
            Err(other) => panic!("{path}: {other:?}"),
        };
        let (both, only) = (FsPerms::ReadWrite, FsPerms::ReadOnly);

        assert_eq!(open(only, "file", wanted(none, read)), Ok("file"));
        assert_eq!(open(only, "folder", wanted(OpenFlags::DIRECTORY, read)), Ok("directory"));
        assert_eq!(open(only, "folder/", wanted(none, read)), Ok("directory"));
        assert_eq!(open(only, "link", wanted(none, read)), Ok("file"));
        assert_eq!(open(only, "link", Wanted { follow: false, ..wanted(none, read) }), Err(ErrorCode::Loop));
        assert_eq!(open(only, "file", wanted(none, write)), Err(ErrorCode::NotPermitted));
        assert_eq!(open(only, "new", wanted(OpenFlags::CREATE, read)), Err(ErrorCode::NotPermitted));
        assert_eq!(open(both, "new", wanted(OpenFlags::CREATE, write)), Ok("file"));
        assert_eq!(open(both, "new", wanted(OpenFlags::CREATE | OpenFlags::EXCLUSIVE, write)), Err(ErrorCode::Exist));
        assert_eq!(open(both, "folder", wanted(none, write)), Err(ErrorCode::IsDirectory));
        assert_eq!(open(both, "file", wanted(OpenFlags::DIRECTORY, read)), Err(ErrorCode::NotDirectory));
        assert_eq!(open(both, "missing", wanted(none, read)), Err(ErrorCode::NoEntry));
        for path in ["../etc/passwd", "/etc/passwd", "out/passwd"] {
            assert_eq!(open(both, path, wanted(none, read)), Err(ErrorCode::NotPermitted), "{path}");
        }
        assert_eq!(open(both, "file", wanted(none, DescriptorFlags::FILE_INTEGRITY_SYNC)), Err(ErrorCode::Unsupported));
    }
}
