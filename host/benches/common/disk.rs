//! Measures the disk, which every durable figure waits for.

use std::fs;
use std::io::{Seek, Write};
use std::path::Path;
use std::time::Instant;

use super::Spread;

/// Returns how long 200 small durable writes in `place` take.
pub(crate) fn fdatasync(place: &Path) -> Spread {
    let path = place.join("fdatasync");
    let mut file = fs::File::options().write(true).create(true).truncate(true).open(&path).unwrap();
    let times = (0..200).map(|_| {
        file.rewind().unwrap();
        file.write_all(&[7; 8192]).unwrap();
        let start = Instant::now();
        file.sync_data().unwrap();
        start.elapsed().as_secs_f64() * 1e3
    });
    let spread = Spread::of(times.collect());
    fs::remove_file(path).unwrap();
    spread
}
