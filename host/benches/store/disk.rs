//! Measures the disk, which every durable figure waits for.

use std::fs;
use std::io::{Seek, Write};
use std::path::Path;
use std::time::Instant;

/// Returns the median of 200 small durable writes in `place`, in milliseconds.
pub(crate) fn fdatasync_p50(place: &Path) -> f64 {
    let path = place.join("fdatasync");
    let mut file = fs::File::options().write(true).create(true).truncate(true).open(&path).unwrap();
    let mut times: Vec<f64> = (0..200)
        .map(|_| {
            file.rewind().unwrap();
            file.write_all(&[7; 8192]).unwrap();
            let start = Instant::now();
            file.sync_data().unwrap();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    fs::remove_file(path).unwrap();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
