//! Charges a guest's changes below a granted directory that has a quota.
//!
//! Names are changed by `wasmtime-wasi`, on a table of its own, so that the change goes on apart from the guest and
//! does not need the guest's table.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::filesystem::{Descriptor, Dir, File as WasiFile, WasiFilesystemCtx, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::filesystem::types::{ErrorCode, Filesize, HostDescriptor as _, OpenFlags, PathFlags};
use wasmtime_wasi::p2::{FsError, FsResult};

use super::Grant;
use super::room::{ChangeError, DirectoryLock, Named, Place};
use super::walk::Used;
use crate::runtime::file_threads::Pool;
use crate::runtime::filesystem::View;
use crate::runtime::opening::{OpenError, Wanted};

type At = Resource<Descriptor>;

/// One more name.
const ENTRY: Used = Used { bytes: 0, entries: 1 };

impl From<ChangeError> for FsError {
    fn from(denied: ChangeError) -> Self {
        ErrorCode::from(&denied).into()
    }
}

/// A table with the directories of one change.
#[derive(Default)]
struct DirectoryTable {
    table: ResourceTable,
    ctx: WasiFilesystemCtx,
}

impl DirectoryTable {
    fn add<const N: usize>(&mut self, directories: [Dir; N]) -> FsResult<[At; N]> {
        let added = directories.into_iter().map(|directory| self.table.push(Descriptor::Dir(directory)));
        let added = added.collect::<Result<Vec<At>, _>>()?;
        Ok(added.try_into().expect("one for each directory"))
    }

    fn wasi(&mut self) -> WasiFilesystemCtxView<'_> {
        WasiFilesystemCtxView { ctx: &mut self.ctx, table: &mut self.table }
    }
}

/// A call that changes names.
type NameChange<'a> = BoxFuture<'a, FsResult<()>>;

/// Makes a change of names in `directories` by `call`, on a table of its own.
async fn change_names<const N: usize>(
    pool: &Pool,
    directories: [Dir; N],
    call: impl for<'a> FnOnce(WasiFilesystemCtxView<'a>, [At; N]) -> NameChange<'a>,
) -> FsResult<()> {
    let mut table = DirectoryTable::default();
    let at = table.add(directories)?;
    pool.within(call(table.wasi(), at)).await
}

/// Charges `more`. The caller must give it back unless it is used.
async fn charged(pool: &Pool, mut room: DirectoryLock, more: Used) -> Result<DirectoryLock, ChangeError> {
    pool.run(move || room.charge(more).map(|()| room)).await
}

/// Opens the file that may lose the name `path`.
async fn named(pool: &Pool, room: DirectoryLock, directory: Dir, path: String) -> (DirectoryLock, Option<Named>) {
    pool.run(move || {
        let named = room.named(&directory, &path);
        (room, named)
    })
    .await
}

async fn lost_name(pool: &Pool, mut room: DirectoryLock, named: Option<Named>) {
    if let Some(named) = named {
        pool.run(move || room.lost_name(&named)).await;
    }
}

impl View<'_> {
    /// Returns the grant of the directory that a descriptor is below, if that has a quota.
    pub(in crate::runtime) fn grant_of(&self, at: &At) -> Option<Arc<Grant>> {
        self.below.get(&at.rep()).cloned()
    }

    fn writable(&self, at: &At) -> FsResult<WasiFile> {
        let Descriptor::File(file) = self.wasi.table.get(at)? else { return Err(ErrorCode::BadDescriptor.into()) };
        if file.perms.write_not_permitted() {
            return Err(ErrorCode::NotPermitted.into());
        }
        Ok(file.clone())
    }

    /// Does `work` on the task's threads, with the directory to itself.
    async fn alone<T: Send + 'static>(
        &mut self,
        grant: &Arc<Grant>,
        work: impl FnOnce(&mut DirectoryLock) -> T + Send + 'static,
    ) -> T {
        let pool = Arc::clone(self.pool);
        grant.alone(move |mut room| async move { pool.run(move || work(&mut room)).await }).await
    }

    pub(in crate::runtime) async fn charged_write(
        &mut self,
        grant: &Arc<Grant>,
        at: At,
        bytes: Vec<u8>,
        offset: Filesize,
    ) -> FsResult<Filesize> {
        let file = self.writable(&at)?.file;
        let written = self.alone(grant, move |room| room.write(&file, &bytes, Place::At(offset))).await?;
        Ok(written as Filesize)
    }

    pub(in crate::runtime) async fn charged_set_size(&mut self, grant: &Arc<Grant>, at: At, size: u64) -> FsResult<()> {
        let file = self.writable(&at)?.file;
        Ok(self.alone(grant, move |room| room.set_size(&file, size)).await?)
    }

    pub(in crate::runtime) async fn charged_open(
        &mut self,
        grant: &Arc<Grant>,
        directory: Dir,
        path: String,
        wanted: Wanted,
    ) -> Result<Descriptor, OpenError> {
        self.alone(grant, move |room| room.open(&directory, &path, wanted)).await
    }

    /// Opens a path where that takes several calls. With `CREATE` an entry is charged even if the file exists, so too
    /// much may be charged until the directory is measured again.
    pub(in crate::runtime) async fn charged_open_in_steps(
        &mut self,
        grant: &Arc<Grant>,
        at: At,
        path: String,
        wanted: Wanted,
    ) -> FsResult<Descriptor> {
        let more = if wanted.open.contains(OpenFlags::CREATE) { ENTRY } else { Used::default() };
        self.alone(grant, move |room| room.charge(more)).await?;
        let opened = self.open_in_steps(at, path, wanted).await;
        match &opened {
            Ok(Descriptor::File(file)) => {
                let file = Arc::clone(&file.file);
                self.alone(grant, move |room| room.opened(&file)).await;
            }
            Ok(Descriptor::Dir(_)) => {}
            Err(_) => self.alone(grant, move |room| room.give_back(more)).await,
        }
        opened
    }

    /// Makes a change of names in `directories` by `call`, and charges `more` for it unless it fails.
    async fn charged_change<const N: usize>(
        &mut self,
        grant: &Arc<Grant>,
        directories: [Dir; N],
        more: Used,
        call: impl for<'a> FnOnce(WasiFilesystemCtxView<'a>, [At; N]) -> NameChange<'a> + Send + 'static,
    ) -> FsResult<()> {
        let pool = Arc::clone(self.pool);
        let work = move |room| async move {
            let mut room = charged(&pool, room, more).await?;
            change_names(&pool, directories, call).await.inspect_err(|_| room.give_back(more))
        };
        grant.alone(work).await
    }

    pub(in crate::runtime) async fn charged_create_directory_at(
        &mut self,
        grant: &Arc<Grant>,
        at: At,
        path: String,
    ) -> FsResult<()> {
        let directory = self.directory(&at)?;
        self.charged_change(grant, [directory], ENTRY, |mut wasi, [at]| {
            Box::pin(async move { wasi.create_directory_at(at, path).await })
        })
        .await
    }

    pub(in crate::runtime) async fn charged_symlink_at(
        &mut self,
        grant: &Arc<Grant>,
        at: At,
        to: String,
        path: String,
    ) -> FsResult<()> {
        let directory = self.directory(&at)?;
        let link = Used { bytes: to.len() as u64, entries: 1 };
        self.charged_change(grant, [directory], link, |mut wasi, [at]| {
            Box::pin(async move { wasi.symlink_at(at, to, path).await })
        })
        .await
    }

    pub(in crate::runtime) async fn charged_link_at(
        &mut self,
        grant: &Arc<Grant>,
        at: At,
        flags: PathFlags,
        path: String,
        to: At,
        new: String,
    ) -> FsResult<()> {
        let between = self.directories(&at, &to)?;
        self.charged_change(grant, between, ENTRY, move |mut wasi, [from, into]| {
            Box::pin(async move { wasi.link_at(from, flags, path, into, new).await })
        })
        .await
    }

    /// Returns the directories between which a file gets another name. Bytes cannot move between two accounts, just as
    /// they cannot between filesystems.
    fn directories(&self, at: &At, to: &At) -> FsResult<[Dir; 2]> {
        match (self.grant_of(at), self.grant_of(to)) {
            (Some(from), Some(to)) if !from.shares_account(&to) => return Err(ErrorCode::CrossDevice.into()),
            // A read-only directory refuses the change itself.
            _ => {}
        }
        Ok([self.directory(at)?, self.directory(to)?])
    }

    pub(in crate::runtime) async fn charged_unlink_file_at(
        &mut self,
        grant: &Arc<Grant>,
        at: At,
        path: String,
    ) -> FsResult<()> {
        let (directory, pool) = (self.directory(&at)?, Arc::clone(self.pool));
        let work = move |room| async move {
            let (room, named) = named(&pool, room, directory.clone(), path.clone()).await;
            change_names(&pool, [directory], |mut wasi, [at]| {
                Box::pin(async move { wasi.unlink_file_at(at, path).await })
            })
            .await?;
            lost_name(&pool, room, named).await;
            Ok(())
        };
        grant.alone(work).await
    }

    pub(in crate::runtime) async fn charged_remove_directory_at(
        &mut self,
        grant: &Arc<Grant>,
        at: At,
        path: String,
    ) -> FsResult<()> {
        let (directory, pool) = (self.directory(&at)?, Arc::clone(self.pool));
        let work = move |mut room: DirectoryLock| async move {
            change_names(&pool, [directory], |mut wasi, [at]| {
                Box::pin(async move { wasi.remove_directory_at(at, path).await })
            })
            .await?;
            room.give_back(ENTRY);
            Ok(())
        };
        grant.alone(work).await
    }

    pub(in crate::runtime) async fn charged_rename_at(
        &mut self,
        grant: &Arc<Grant>,
        at: At,
        path: String,
        to: At,
        new: String,
    ) -> FsResult<()> {
        let [from, into] = self.directories(&at, &to)?;
        let pool = Arc::clone(self.pool);
        let work = move |room| async move {
            let (room, moved) = named(&pool, room, from.clone(), path.clone()).await;
            let (room, replaced) = named(&pool, room, into.clone(), new.clone()).await;
            // Two names of one file: renaming one to the other changes nothing.
            let same = matches!((&moved, &replaced), (Some(moved), Some(replaced)) if moved.is(replaced));
            change_names(&pool, [from, into], |mut wasi, [from, into]| {
                Box::pin(async move { wasi.rename_at(from, path, into, new).await })
            })
            .await?;
            lost_name(&pool, room, replaced.filter(|_| !same)).await;
            Ok(())
        };
        grant.alone(work).await
    }
}
