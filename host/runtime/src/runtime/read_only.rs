//! Notes refused changes below read-only directories: the guest gets an error code, and its run's log names the path
//! and the grant that would allow the change.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::FsPerms;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, ErrorCode, Host, HostDescriptor, NewTimestamp, OpenFlags, PathFlags,
};

use crate::attempt::Refusal;
use crate::imports::ImportsView;

use super::guest::Guest;

/// The interface as `wasmtime-wasi` links it: another version would be added beside its functions instead of replacing
/// them.
const INTERFACE: &str = "wasi:filesystem/types@0.2.12";

/// Returns the path that a change is about, if it is below a read-only directory.
fn path_of(guest: &mut Guest, at: &Resource<Descriptor>, path: &str) -> Option<String> {
    let Ok(Descriptor::Dir(directory)) = guest.filesystem_view().wasi.table.get(at) else { return None };
    matches!(directory.perms, FsPerms::ReadOnly).then(|| path.chars().take(200).collect())
}

/// Notes that a change was refused, if a read-only directory was the reason.
fn note<T>(guest: &mut Guest, path: Option<String>, done: &Result<T, ErrorCode>) {
    if let (Some(path), Err(ErrorCode::NotPermitted)) = (path, done) {
        guest.imports().ctx.refuses(Refusal::Write(&path));
    }
}

/// Shadows a function that changes a path with one that does the same and notes a refusal.
macro_rules! noted {
    ($types:ident, $name:literal, $method:ident, ($($arg:ident: $kind:ty),*), $path:ident) => {
        $types.func_wrap_async(
            concat!("[method]descriptor.", $name),
            |mut guest: StoreContextMut<'_, Guest>, (at, $($arg,)*): (Resource<Descriptor>, $($kind,)*)| {
                Box::new(async move {
                    let guest = guest.data_mut();
                    let path = path_of(guest, &at, &$path);
                    let done = match guest.filesystem_view().$method(at, $($arg),*).await {
                        Ok(done) => Ok(done),
                        Err(error) => Err(guest.filesystem_view().convert_error_code(error)?),
                    };
                    note(guest, path, &done);
                    Ok((done,))
                })
            },
        )?
    };
}

/// Notes what is refused because of read-only directories. It must be called after `filesystem` is linked.
pub(super) fn note_changes(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type At = Resource<Descriptor>;
    linker.allow_shadowing(true);
    let mut types = linker.instance(INTERFACE)?;
    noted!(
        types,
        "open-at",
        open_at,
        (path_flags: PathFlags, path: String, open: OpenFlags, flags: DescriptorFlags),
        path
    );
    noted!(types, "create-directory-at", create_directory_at, (path: String), path);
    noted!(types, "remove-directory-at", remove_directory_at, (path: String), path);
    noted!(types, "unlink-file-at", unlink_file_at, (path: String), path);
    noted!(types, "symlink-at", symlink_at, (target: String, path: String), path);
    noted!(types, "rename-at", rename_at, (path: String, to: At, new_path: String), path);
    noted!(types, "link-at", link_at, (flags: PathFlags, path: String, to: At, new_path: String), path);
    noted!(
        types,
        "set-times-at",
        set_times_at,
        (flags: PathFlags, path: String, accessed: NewTimestamp, changed: NewTimestamp),
        path
    );
    linker.allow_shadowing(false);
    Ok(())
}
