//! Fills its directory in every way that there is, many runs at once (large files, holes, crumbs, files without a name, names alone): it must be refused at the directory's quota, and the disk must never hold more.

use crate::prelude::*;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{
    Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags, filesystem_error_code,
};
use wasip2::io::streams::{OutputStream, StreamError};

/// More bytes and names than the directory may hold.
const TOO_MUCH: usize = 512 << 10;
const TOO_MANY: usize = 200;

const PIECE: usize = 4096;

fn full<T>(done: &Result<T, ErrorCode>) -> bool {
    matches!(done, Err(ErrorCode::Quota))
}

/// Returns whether writing piece by piece is refused before it is too much.
fn ends(mut piece: impl FnMut() -> Result<(), ErrorCode>) -> bool {
    (0..=TOO_MUCH / PIECE).map(|_| piece()).find(Result::is_err).is_some_and(|done| full(&done))
}

fn code(done: Result<u64, StreamError>) -> Result<(), ErrorCode> {
    match done {
        Ok(_) => Ok(()),
        Err(StreamError::LastOperationFailed(error)) => Err(filesystem_error_code(&error).unwrap_or(ErrorCode::Io)),
        Err(StreamError::Closed) => Err(ErrorCode::Io),
    }
}

struct Place {
    directory: Descriptor,
    run: String,
}

impl Place {
    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.run)
    }

    fn open(&self, name: &str) -> Result<Descriptor, ErrorCode> {
        let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
        self.directory.open_at(PathFlags::empty(), &self.name(name), OpenFlags::CREATE, flags)
    }

    /// Returns whether a way to make a file grow is refused; also if there is no room for the file itself. The file is
    /// removed.
    fn grows(&self, way: impl FnOnce(&Descriptor) -> bool) -> bool {
        let refused = match self.open("file") {
            Ok(file) => way(&file),
            Err(error) => error == ErrorCode::Quota,
        };
        let _ = self.directory.unlink_file_at(&self.name("file"));
        refused
    }

    fn stream(file: &Descriptor, mut piece: impl FnMut(&OutputStream) -> Result<u64, StreamError>) -> bool {
        file.append_via_stream().is_ok_and(|stream| ends(|| code(piece(&stream))))
    }

    /// Returns whether a way to make names is refused before there are too many. They are removed.
    fn names(&self, make: impl Fn(&str) -> Result<(), ErrorCode>) -> bool {
        let names: Vec<_> = (0..TOO_MANY).map(|n| self.name(&n.to_string())).collect();
        let mut made = 0;
        let last = names.iter().map(|name| make(name)).inspect(|done| made += usize::from(done.is_ok())).find(Result::is_err);
        for name in &names[..made] {
            if self.directory.unlink_file_at(name).is_err() {
                let _ = self.directory.remove_directory_at(name);
            }
        }
        last.is_some_and(|done| full(&done))
    }
}

pub(crate) fn run(request: &Request) -> Result<Output, Failure> {
    let mut directories = get_directories();
    must(!directories.is_empty(), "was given no directory")?;
    let place = Place { directory: directories.remove(0).0, run: request.run_id.clone() };
    let directory = &place.directory;
    let bytes = [b'x'; PIECE];

    must(place.grows(|file| full(&file.set_size(1 << 40))), "made a hole of a terabyte")?;
    must(place.grows(|file| full(&file.write(&bytes, 1 << 40))), "wrote a terabyte from the beginning")?;
    let mut at = 0;
    let mut write = |file: &Descriptor| ends(|| file.write(&bytes, at).map(|written| at += written));
    must(place.grows(&mut write), "wrote without end")?;
    let append = |stream: &OutputStream| stream.blocking_write_and_flush(&bytes).map(|()| PIECE as u64);
    must(place.grows(|file| Place::stream(file, append)), "appended without end")?;
    let zeroes = |stream: &OutputStream| stream.blocking_write_zeroes_and_flush(PIECE as u64).map(|()| PIECE as u64);
    must(place.grows(|file| Place::stream(file, zeroes)), "appended zeroes without end")?;
    let splice = |file: &Descriptor| {
        let Ok(()) = file.write(&bytes, 0).map(drop) else { return true };
        let Ok(own) = file.read_via_stream(0) else { return false };
        Place::stream(file, |stream| stream.blocking_splice(&own, PIECE as u64))
    };
    must(place.grows(splice), "spliced a file onto its own end without end")?;
    // A file without a name stays on the disk for as long as it is open.
    let nameless = |file: &Descriptor| {
        let _ = directory.unlink_file_at(&place.name("file"));
        ends(|| file.write(&bytes, file.stat()?.size).map(drop))
    };
    must(place.grows(nameless), "wrote without end to a file that has no name")?;

    let create = |name: &str| {
        directory.open_at(PathFlags::empty(), name, OpenFlags::CREATE, DescriptorFlags::WRITE).map(drop)
    };
    must(place.names(create), "made files without end")?;
    must(place.names(|name| directory.create_directory_at(name)), "made directories without end")?;
    must(place.names(|name| directory.symlink_at("a", name)), "made links without end")?;
    must(place.names(|name| directory.link_at(PathFlags::empty(), "a", directory, name)), "gave a file names without end")
}
