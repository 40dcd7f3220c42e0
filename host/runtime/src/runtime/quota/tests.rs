use std::fs;

use proptest::prelude::*;
use wasmtime_wasi::filesystem::{Descriptor, Dir};
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorFlags, OpenFlags};
use wasmtime_wasi::{FsPerms, OpenMode};

use super::*;
use crate::imports::testing;
use crate::runtime::opening::Wanted;

fn grant(directories: &Directories, path: &Path, bytes: u64, entries: u64) -> Arc<Grant> {
    let quota = Some(Quota { bytes, entries });
    let granted = Directory { host: path.to_owned(), guest: "/data".into(), write: true, quota };
    let refusals = testing::refusals(&testing::until(Duration::from_secs(60)));
    Grant::of(directories, &granted, Arc::new(File::open(path).unwrap()), refusals).unwrap().unwrap()
}

fn wanted(open: OpenFlags) -> Wanted {
    let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
    Wanted { follow: true, open, flags, writes: false }
}

fn dir(grant: &Grant) -> Dir {
    Dir::new(grant.directory.try_clone().unwrap(), FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE, false)
}

fn open(room: &mut DirectoryLock, dir: &Dir, path: &str, flags: OpenFlags) -> Option<Arc<File>> {
    match room.open(dir, path, wanted(flags)).ok()? {
        Descriptor::File(file) => Some(file.file),
        Descriptor::Dir(_) => panic!("{path} is a directory"),
    }
}

fn found(path: &Path) -> Used {
    walk::measure(File::open(path).unwrap().into(), u64::MAX).unwrap().used
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_never_exceed_the_quota_together() {
    let place = tempfile::tempdir().unwrap();
    let accounts = Arc::new(Directories::default());
    let (most, piece) = (100_000, [1; 700]);

    let writers = (0..8).map(|n| {
        // Each writer has a grant of its own, like runs of several tasks.
        let grant = grant(&accounts, place.path(), most, 5);
        let path = place.path().to_owned();
        tokio::spawn(async move {
            let name = format!("{}", n % 6);
            let (dir, mut refused) = (dir(&grant), 0);
            while refused < 20 {
                let mut room = grant.room().await;
                let (dir, name, path) = (dir.clone(), name.clone(), path.clone());
                let done = tokio::task::spawn_blocking(move || {
                    let file = open(&mut room, &dir, &name, OpenFlags::CREATE)?;
                    let written = room.write(&file, &piece, Place::End).ok();
                    let there = found(&path);
                    assert!(there.bytes <= most && there.entries <= 5, "{there:?}");
                    written
                });
                refused += u32::from(done.await.unwrap().is_none());
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }

    let there = found(place.path());
    assert!(there.bytes > most - piece.len() as u64 && there.entries == 5, "{there:?}");
}

#[tokio::test]
async fn nested_directories_share_the_outer_ones_account() {
    let place = tempfile::tempdir().unwrap();
    let inner = place.path().join("a/inner");
    fs::create_dir_all(&inner).unwrap();
    fs::create_dir(place.path().join("beside")).unwrap();
    std::os::unix::fs::symlink(&inner, place.path().join("link")).unwrap();
    let accounts = Directories::default();
    let of = |path: &str| grant(&accounts, &place.path().join(path), 1000, 100);

    let [first, linked, beside] = ["a/inner", "link", "beside"].map(of);
    assert!(first.shares_account(&linked) && !first.shares_account(&beside));
    let outer = of("a");
    assert!(first.shares_account(&outer) && linked.shares_account(&outer) && !outer.shares_account(&beside));
    assert!(of("a/inner").shares_account(&outer));

    fs::write(place.path().join("a/full"), [0; 990]).unwrap();
    let dir = dir(&first);
    let mut room = first.room().await;
    let file = open(&mut room, &dir, "file", OpenFlags::CREATE).unwrap();
    assert!(matches!(room.write(&file, &[0; 11], Place::At(0)), Err(ChangeError::Full)));
    assert_eq!(room.write(&file, &[0; 10], Place::At(0)).unwrap(), 10);
}

/// A guest's change to one of a few names.
#[derive(Clone, Copy, Debug)]
enum Change {
    Open(OpenFlags),
    Write(Place, usize),
    SetSize(u64),
    Close,
    Remove,
    /// Gives its file the next name, too, if that is free.
    Link,
    Rename,
}

fn change() -> impl Strategy<Value = Change> {
    let flags = prop::sample::select(vec![
        OpenFlags::CREATE,
        OpenFlags::empty(),
        OpenFlags::TRUNCATE,
        OpenFlags::CREATE | OpenFlags::TRUNCATE,
        OpenFlags::CREATE | OpenFlags::EXCLUSIVE,
    ]);
    prop_oneof![
        3 => flags.prop_map(Change::Open),
        3 => (0_u64..3000, 0_usize..2000).prop_map(|(at, bytes)| Change::Write(Place::At(at), bytes)),
        2 => (0_usize..2000).prop_map(|bytes| Change::Write(Place::End, bytes)),
        1 => (0_u64..5000).prop_map(Change::SetSize),
        1 => Just(Change::Close),
        2 => Just(Change::Remove),
        1 => Just(Change::Link),
        1 => Just(Change::Rename),
    ]
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Applies `change` like `changes` does, but with the host's own calls for names.
fn apply(
    room: &mut DirectoryLock,
    dir: &Dir,
    place: &Path,
    files: &mut [Option<Arc<File>>; 4],
    at: usize,
    change: Change,
) {
    let (name, next) = (NAMES[at], NAMES[(at + 1) % NAMES.len()]);
    match change {
        Change::Open(flags) => files[at] = open(room, dir, name, flags),
        Change::Write(where_, bytes) => {
            let _ = files[at].clone().map(|file| room.write(&file, &vec![1; bytes], where_));
        }
        Change::SetSize(size) => {
            let _ = files[at].clone().map(|file| room.set_size(&file, size));
        }
        Change::Close => files[at] = None,
        Change::Remove => {
            let named = room.named(dir, name);
            if fs::remove_file(place.join(name)).is_ok() {
                room.lost_name(&named.unwrap());
            }
        }
        Change::Link => {
            let more = Used { bytes: 0, entries: 1 };
            if room.charge(more).is_ok() && fs::hard_link(place.join(name), place.join(next)).is_err() {
                room.give_back(more);
            }
        }
        Change::Rename => {
            let (moved, replaced) = (room.named(dir, name), room.named(dir, next));
            let same = matches!((&moved, &replaced), (Some(moved), Some(replaced)) if moved.is(replaced));
            if fs::rename(place.join(name), place.join(next)).is_ok()
                && let Some(replaced) = replaced.filter(|_| !same)
            {
                room.lost_name(&replaced);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Compares the charge with a walk, plus the open files that have no name.
    #[test]
    fn the_charge_equals_the_contents_whatever_a_guest_does(
        changes in prop::collection::vec((0_usize..4, change()), 1..80),
    ) {
        let place = tempfile::tempdir().unwrap();
        let grant = grant(&Directories::default(), place.path(), 8000, 3);
        let dir = dir(&grant);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut room = runtime.block_on(grant.room());
        let mut files: [Option<Arc<File>>; 4] = Default::default();
        // Measures now and never again, so that the charge is what was counted since.
        room.charge(Used { bytes: 0, entries: 1 }).unwrap();
        room.give_back(Used { bytes: 0, entries: 1 });
        room.keep_measurement();

        for (at, change) in changes {
            apply(&mut room, &dir, place.path(), &mut files, at, change);

            let mut there = found(place.path());
            let mut nameless: Vec<_> = files.iter().flatten().map(|file| rustix::fs::fstat(file).unwrap()).collect();
            nameless.retain(|stat| stat.st_nlink == 0);
            nameless.sort_by_key(walk::id);
            nameless.dedup_by_key(|stat| walk::id(stat));
            there.bytes += nameless.iter().map(walk::length).sum::<u64>();
            prop_assert_eq!(room.used(), there, "after {:?} of {}", change, NAMES[at]);
            prop_assert!(there.bytes <= 8000 && there.entries <= 3, "{:?}", there);
        }
    }
}

#[test]
#[ignore = "measures: what docs/design/0013 says of the walk"]
fn the_cost_of_a_walk_is_measured() {
    let place = tempfile::tempdir().unwrap();
    for folder in 0..100 {
        let folder = place.path().join(folder.to_string());
        fs::create_dir(&folder).unwrap();
        (0..1000).for_each(|n| fs::write(folder.join(n.to_string()), "x").unwrap());
    }
    for _ in 0..3 {
        let began = Instant::now();
        let used = found(place.path());
        eprintln!("{used:?} {:?}", began.elapsed());
    }
}
