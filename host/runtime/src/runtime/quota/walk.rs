//! Counts what is below a directory by walking all of it.
//!
//! Links are not followed. Only a few files are open at a time, however deep the directory is, because the way back up
//! is by `..`.

use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

/// The bytes and the number of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::runtime) struct Used {
    /// Lengths of files and of the targets of symbolic links, in bytes. Holes of sparse files count as if they were
    /// written.
    pub(in crate::runtime) bytes: u64,
    /// Files, directories and links.
    pub(in crate::runtime) entries: u64,
}

/// The result of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) used: Used,
    /// Whether the walk found everything: not if there are more entries than the limit, or if a directory was moved
    /// during the walk.
    pub(super) whole: bool,
}

/// Identifies a file on this machine: its device and its inode.
pub(super) type Id = (u64, u64);

#[expect(clippy::unnecessary_cast, reason = "what these are differs between systems")]
pub(super) fn id(stat: &Stat) -> Id {
    (stat.st_dev as u64, stat.st_ino as u64)
}

pub(super) fn length(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// A directory on the way to the walk's position, and the directories in it that are not yet walked.
struct Level {
    id: Id,
    folders: Vec<CString>,
}

struct Walk {
    used: Used,
    most: u64,
    /// Files with several names, whose bytes count once.
    seen: HashSet<Id>,
}

/// Counts what is below `root`, up to `most` entries. Blocks for as long as the disk takes; `docs/design/0013` has the
/// measurements.
///
/// # Errors
///
/// If a directory cannot be read. A directory that the host has no permission to read is skipped, because no guest can
/// write there.
pub(super) fn measure(root: OwnedFd, most: u64) -> io::Result<Found> {
    let mut walk = Walk { used: Used::default(), most, seen: HashSet::new() };
    let mut here = root;
    let mut levels = vec![walk.level(&here)?];
    while let Some(level) = levels.last_mut() {
        if walk.used.entries > most {
            return Ok(Found { used: walk.used, whole: false });
        }
        if let Some(folder) = level.folders.pop() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            match openat(&here, &folder, flags, Mode::empty()) {
                Ok(below) => {
                    levels.push(walk.level(&below)?);
                    here = below;
                }
                // The directory is gone, or the host may not read it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
            continue;
        }
        levels.pop();
        if let Some(above) = levels.last() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            here = openat(&here, c"..", flags, Mode::empty())?;
            if id(&fstat(&here)?) != above.id {
                return Ok(Found { used: walk.used, whole: false });
            }
        }
    }
    Ok(Found { used: walk.used, whole: true })
}

impl Walk {
    /// Counts the entries of `directory` itself.
    fn level(&mut self, directory: &OwnedFd) -> io::Result<Level> {
        let mut level = Level { id: id(&fstat(directory)?), folders: Vec::new() };
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            self.used.entries += 1;
            if self.used.entries > self.most {
                break;
            }
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => level.folders.push(name.to_owned()),
                FileType::RegularFile | FileType::Symlink if stat.st_nlink < 2 || self.seen.insert(id(&stat)) => {
                    self.used.bytes = self.used.bytes.saturating_add(length(&stat));
                }
                _ => {}
            }
        }
        Ok(level)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;

    use super::*;

    fn look(path: &Path, most: u64) -> Found {
        measure(File::open(path).unwrap().into(), most).unwrap()
    }

    #[test]
    fn files_links_and_directories_are_counted_and_no_link_is_followed() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir_all(at("a/b/c")).unwrap();
        fs::write(at("a/b/c/deep"), [0; 1000]).unwrap();
        fs::write(at("top"), [0; 24]).unwrap();
        fs::hard_link(at("top"), at("a/again")).unwrap();
        File::create(at("sparse")).unwrap().set_len(1 << 20).unwrap();
        std::os::unix::fs::symlink("/usr", at("out")).unwrap();
        std::os::unix::fs::symlink("..", at("a/up")).unwrap();

        let found = look(place.path(), 100);

        let bytes = 1000 + 24 + (1 << 20) + "/usr".len() as u64 + "..".len() as u64;
        assert_eq!(found, Found { used: Used { bytes, entries: 9 }, whole: true });
        assert!(!look(place.path(), 8).whole);
        assert!(look(place.path(), 9).whole);
    }

    #[test]
    fn a_directory_deeper_than_the_longest_path_is_counted_with_few_files_open() {
        let place = tempfile::tempdir().unwrap();
        let mut here: OwnedFd = File::open(place.path()).unwrap().into();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&here, c"d", Mode::RWXU).unwrap();
            here = openat(&here, c"d", OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        let file = openat(&here, c"f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
        File::from(file).set_len(7).unwrap();

        assert_eq!(look(place.path(), 1 << 20).used, Used { bytes: 7, entries: 3001 });
        // The temporary directory cannot remove itself at this depth.
        for _ in 0..3000 {
            rustix::fs::unlinkat(&here, c"f", AtFlags::empty()).ok();
            here = openat(&here, c"..", OFlags::DIRECTORY, Mode::empty()).unwrap();
            rustix::fs::unlinkat(&here, c"d", AtFlags::REMOVEDIR).unwrap();
        }
    }
}
