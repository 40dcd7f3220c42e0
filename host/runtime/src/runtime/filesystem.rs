//! Gives guests `wasi:filesystem`: that of `wasmtime-wasi`, adapted for a host that guests of several tasks share.
//!
//! - Work with files happens on the threads of the task's own pool (`file_threads`).
//! - Only files and directories are opened, without waiting (`opening`), and they are counted (`files`).
//! - Growth of a granted directory is charged to its quota (`quota`).
//! - Granted directories are opened on those threads, too: a network filesystem that hangs holds up no guest thread.

use std::collections::HashMap;
use std::fs::{File, FileTimes};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use wasmtime::component::{HasData, Resource};
use wasmtime_wasi::filesystem::{Descriptor, Dir, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream, ErrorCode, Filesize,
    Host, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};
use wasmtime_wasi::{FsPerms, OpenMode};

use crate::attempt::{LogLine, Refusals, RunHandle};
use sexton_domain::task::Directory;
use sexton_domain::time::Clock;

use super::file_streams::Pooled;
use super::file_threads::Pool;
use super::files::Files;
use super::opening::{self, OpenError, Wanted};
use super::quota::{ChangeError, Directories, Grant, Output, Place};

/// A granted directory that is open.
#[derive(Clone)]
pub(super) struct Opened {
    directory: Dir,
    /// The guest's name for it.
    name: String,
    /// Its quota, if it has one and the guest may write there.
    grant: Option<Arc<Grant>>,
}

/// The grants that a guest's descriptors are below, by their place in its table.
pub(super) type Below = HashMap<u32, Arc<Grant>>;

/// A guest's files, for the time of a call.
pub(super) struct View<'a> {
    pub(super) wasi: WasiFilesystemCtxView<'a>,
    pub(super) granted: &'a [Opened],
    pub(super) below: &'a mut Below,
    pub(super) files: &'a mut Files,
    pub(super) pool: &'a Arc<Pool>,
    pub(super) handle: &'a RunHandle,
    pub(super) clock: &'a dyn Clock,
}

/// Tells the bindings that the host's side is a [`View`].
pub(super) struct GuestFilesystem;

impl HasData for GuestFilesystem {
    type Data<'a> = View<'a>;
}

/// Opens the directories that a task is granted. The error says which cannot be opened.
pub(super) async fn open_granted(
    pool: &Arc<Pool>,
    granted: &[Directory],
    directories: &Arc<Directories>,
    refusals: Refusals,
) -> Result<Vec<Opened>, String> {
    let (granted, directories) = (granted.to_vec(), Arc::clone(directories));
    pool.run(move || granted.into_iter().map(|granted| open(granted, &directories, &refusals)).collect()).await
}

fn open(granted: Directory, directories: &Directories, refusals: &Refusals) -> Result<Opened, String> {
    use rustix::fs::{Mode, OFlags};
    let (perms, mode) = match granted.write {
        true => (FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE),
        false => (FsPerms::ReadOnly, OpenMode::READ),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let cannot =
        |error: std::io::Error| format!("cannot open the granted directory `{}`: {error}", granted.host.display());
    let directory = rustix::fs::open(&granted.host, flags, Mode::empty()).map_err(|error| cannot(error.into()))?;
    let directory = Dir::new(directory.into(), perms, mode, false);
    let grant = Grant::of(directories, &granted, Arc::clone(&directory.dir), refusals.clone()).map_err(cannot)?;
    Ok(Opened { directory, name: granted.guest, grant })
}

impl View<'_> {
    pub(super) fn directory(&self, at: &Resource<Descriptor>) -> FsResult<Dir> {
        match self.wasi.table.get(at)? {
            Descriptor::Dir(directory) => Ok(directory.clone()),
            Descriptor::File(_) => Err(ErrorCode::NotDirectory.into()),
        }
    }

    fn warns(&self, message: String) {
        self.handle.log(LogLine { at: self.clock.now(), level: "warn".to_owned(), message });
    }

    /// Returns the error for a path that leads to neither a file nor a directory, and logs the first such path.
    fn special(&mut self, path: &str, what: &str) -> FsError {
        if self.files.should_log_special_file() {
            let path: String = path.chars().take(200).collect();
            self.warns(format!("cannot open `{}`: it is {what}, not a file or a directory", path.escape_debug()));
        }
        ErrorCode::Unsupported.into()
    }

    /// Opens a path on a system that cannot open it in one call. The path may name another file after it was checked,
    /// so a guest may make a thread of its task hang.
    pub(super) async fn open_in_steps(
        &mut self,
        at: Resource<Descriptor>,
        path: String,
        wanted: Wanted,
    ) -> FsResult<Descriptor> {
        let follow = path_flags(wanted.follow);
        let there = self.wasi.stat_at(Resource::new_borrow(at.rep()), follow, path.clone());
        match self.pool.within(there).await.map(|stat| stat.type_) {
            Ok(DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink) | Err(_) => {}
            Ok(_) => return Err(self.special(&path, "a pipe, a socket or a device")),
        }
        let opened = self.wasi.open_at(at, follow, path.clone(), wanted.open, wanted.flags);
        let opened = self.pool.within(opened).await?;
        let opened = self.wasi.table.delete(opened)?;
        let special = match &opened {
            Descriptor::File(file) => !file.file.metadata()?.is_file(),
            Descriptor::Dir(_) => false,
        };
        if special { Err(self.special(&path, "a pipe, a socket or a device")) } else { Ok(opened) }
    }
}

fn path_flags(follow: bool) -> PathFlags {
    if follow { PathFlags::SYMLINK_FOLLOW } else { PathFlags::empty() }
}

fn time(wanted: NewTimestamp) -> Result<Option<SystemTime>, ErrorCode> {
    match wanted {
        NewTimestamp::NoChange => Ok(None),
        NewTimestamp::Now => Ok(Some(SystemTime::now())),
        NewTimestamp::Timestamp(at) => {
            let since = Duration::from_secs(at.seconds).checked_add(Duration::from_nanos(at.nanoseconds.into()));
            let at = since.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
            at.map(Some).ok_or(ErrorCode::Overflow)
        }
    }
}

impl preopens::Host for View<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let open = |opened: &Opened| {
            let directory = self.wasi.table.push(Descriptor::Dir(opened.directory.clone()))?;
            if let Some(grant) = &opened.grant {
                self.below.insert(directory.rep(), Arc::clone(grant));
            }
            Ok((directory, opened.name.clone()))
        };
        self.granted.iter().map(open).collect()
    }
}

impl Host for View<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        self.wasi.convert_error_code(error)
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        if let Some(denied) = self.wasi.table.get(&error)?.downcast_ref::<ChangeError>() {
            return Ok(Some(denied.into()));
        }
        self.wasi.filesystem_error_code(error)
    }
}

/// Defines functions that change what is below a granted directory, and are charged if that has a quota.
macro_rules! charged {
    ($(fn $name:ident, $charged:ident($($arg:ident: $of:ty),*) -> $returned:ty;)*) => {
        $(async fn $name(&mut self, at: Resource<Descriptor>, $($arg: $of),*) -> $returned {
            match self.grant_of(&at) {
                Some(grant) => self.$charged(&grant, at, $($arg),*).await,
                None => self.pool.within(self.wasi.$name(at, $($arg),*)).await,
            }
        })*
    };
}

/// Defines functions that run those of `wasmtime-wasi` on the task's threads.
macro_rules! on_its_threads {
    ($(fn $name:ident($($arg:ident: $of:ty),*) -> $returned:ty;)*) => {
        $(async fn $name(&mut self, at: Resource<Descriptor>, $($arg: $of),*) -> $returned {
            self.pool.within(self.wasi.$name(at, $($arg),*)).await
        })*
    };
}

impl HostDescriptor for View<'_> {
    on_its_threads! {
        fn advise(offset: Filesize, length: Filesize, advice: Advice) -> FsResult<()>;
        fn sync_data() -> FsResult<()>;
        fn get_flags() -> FsResult<DescriptorFlags>;
        fn get_type() -> FsResult<DescriptorType>;
        fn set_times(accessed: NewTimestamp, modified: NewTimestamp) -> FsResult<()>;
        fn read(length: Filesize, offset: Filesize) -> FsResult<(Vec<u8>, bool)>;
        fn read_directory() -> FsResult<Resource<DirectoryEntryStream>>;
        fn sync() -> FsResult<()>;
        fn stat() -> FsResult<DescriptorStat>;
        fn stat_at(flags: PathFlags, path: String) -> FsResult<DescriptorStat>;
        fn readlink_at(path: String) -> FsResult<String>;
        fn is_same_object(other: Resource<Descriptor>) -> wasmtime::Result<bool>;
        fn metadata_hash() -> FsResult<MetadataHashValue>;
        fn metadata_hash_at(flags: PathFlags, path: String) -> FsResult<MetadataHashValue>;
    }

    charged! {
        fn set_size, charged_set_size(size: Filesize) -> FsResult<()>;
        fn write, charged_write(bytes: Vec<u8>, offset: Filesize) -> FsResult<Filesize>;
        fn create_directory_at, charged_create_directory_at(path: String) -> FsResult<()>;
        fn remove_directory_at, charged_remove_directory_at(path: String) -> FsResult<()>;
        fn symlink_at, charged_symlink_at(to: String, path: String) -> FsResult<()>;
        fn unlink_file_at, charged_unlink_file_at(path: String) -> FsResult<()>;
        fn link_at, charged_link_at(flags: PathFlags, path: String, to: Resource<Descriptor>, new: String) -> FsResult<()>;
        fn rename_at, charged_rename_at(path: String, to: Resource<Descriptor>, new: String) -> FsResult<()>;
    }

    async fn set_times_at(
        &mut self,
        at: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        if !flags.contains(PathFlags::SYMLINK_FOLLOW) {
            return self.pool.within(self.wasi.set_times_at(at, flags, path, accessed, modified)).await;
        }
        let directory = self.directory(&at)?;
        let mut times = FileTimes::new();
        times = time(accessed)?.map_or(times, |at| times.set_accessed(at));
        times = time(modified)?.map_or(times, |at| times.set_modified(at));
        let asked = path.clone();
        match self.pool.run(move || opening::set_times(&directory, &asked, times)).await {
            Ok(()) => Ok(()),
            Err(OpenError::Code(code)) => Err(code.into()),
            Err(OpenError::Special(what)) => Err(self.special(&path, what)),
            Err(OpenError::NotHere) => {
                self.pool.within(self.wasi.set_times_at(at, flags, path, accessed, modified)).await
            }
        }
    }

    async fn open_at(
        &mut self,
        at: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        if let Some(why) = self.files.refused() {
            // `wasi:filesystem` has no error code for too many open files.
            if self.files.should_log_limit() {
                self.warns(why);
            }
            return Err(ErrorCode::Quota.into());
        }
        let (directory, asked) = (self.directory(&at)?, path.clone());
        let wanted = Wanted { follow: path_flags.contains(PathFlags::SYMLINK_FOLLOW), open, flags, writes: false };
        let grant = self.grant_of(&at);
        let opened = match &grant {
            Some(grant) => self.charged_open(grant, directory, asked, wanted).await,
            None => self.pool.run(move || opening::open(&directory, &asked, wanted)).await,
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(OpenError::Code(code)) => return Err(code.into()),
            Err(OpenError::Special(what)) => return Err(self.special(&path, what)),
            Err(OpenError::NotHere) => match &grant {
                Some(grant) => self.charged_open_in_steps(grant, at, path, wanted).await?,
                None => self.open_in_steps(at, path, wanted).await?,
            },
        };
        self.files.open(match &opened {
            Descriptor::File(file) => &file.file,
            Descriptor::Dir(directory) => &directory.dir,
        });
        let opened = self.wasi.table.push(opened)?;
        if let Some(grant) = grant {
            self.below.insert(opened.rep(), grant);
        }
        Ok(opened)
    }

    fn read_via_stream(&mut self, at: Resource<Descriptor>, from: Filesize) -> FsResult<Resource<DynInputStream>> {
        let stream = self.wasi.read_via_stream(at, from)?;
        let stream = Pooled { stream: self.wasi.table.delete(stream)?, pool: Arc::clone(self.pool) };
        Ok(self.wasi.table.push(Box::new(stream) as DynInputStream)?)
    }

    fn write_via_stream(&mut self, at: Resource<Descriptor>, from: Filesize) -> FsResult<Resource<DynOutputStream>> {
        let (file, grant) = (self.file_of(&at)?, self.grant_of(&at));
        let stream = self.wasi.write_via_stream(at, from)?;
        self.output(stream, file, Place::At(from), grant)
    }

    fn append_via_stream(&mut self, at: Resource<Descriptor>) -> FsResult<Resource<DynOutputStream>> {
        let (file, grant) = (self.file_of(&at)?, self.grant_of(&at));
        let stream = self.wasi.append_via_stream(at)?;
        self.output(stream, file, Place::End, grant)
    }

    fn drop(&mut self, at: Resource<Descriptor>) -> wasmtime::Result<()> {
        self.below.remove(&at.rep());
        HostDescriptor::drop(&mut self.wasi, at)
    }
}

impl View<'_> {
    fn file_of(&self, at: &Resource<Descriptor>) -> FsResult<Option<Arc<File>>> {
        match self.wasi.table.get(at)? {
            Descriptor::File(file) => Ok(Some(Arc::clone(&file.file))),
            Descriptor::Dir(_) => Ok(None),
        }
    }

    /// Makes a stream into `file` that replaces the one of `wasmtime-wasi`, which has checked that there may be one.
    fn output(
        &mut self,
        stream: Resource<DynOutputStream>,
        file: Option<Arc<File>>,
        place: Place,
        grant: Option<Arc<Grant>>,
    ) -> FsResult<Resource<DynOutputStream>> {
        let stream = self.wasi.table.delete(stream)?;
        let stream: DynOutputStream = match (file, grant) {
            (Some(file), Some(grant)) => Box::new(Output::new(&file, place, grant, self.pool)),
            _ => Box::new(Pooled { stream, pool: Arc::clone(self.pool) }),
        };
        Ok(self.wasi.table.push(stream)?)
    }
}

impl HostDirectoryEntryStream for View<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        self.wasi.read_directory_entry(stream).await
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        HostDirectoryEntryStream::drop(&mut self.wasi, stream)
    }
}
