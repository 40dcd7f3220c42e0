//! Makes values that show whether they are whole: the writer and the number, then one repeated byte up to the length.

use serde_json::{Value, json};
use sexton_task::{Failure, cache};

const HEAD: usize = 24;

/// Returns value number `seq` of `writer`, `bytes` long (at least its head).
fn patterned(writer: u64, seq: u64, bytes: usize) -> Vec<u8> {
    let bytes = bytes.max(HEAD);
    let mut value = Vec::with_capacity(bytes);
    value.extend(writer.to_le_bytes());
    value.extend(seq.to_le_bytes());
    value.extend((bytes as u64).to_le_bytes());
    value.resize(bytes, fill(writer, seq));
    value
}

/// Returns the byte that the rest of a value consists of.
fn fill(writer: u64, seq: u64) -> u8 {
    (writer.wrapping_mul(31).wrapping_add(seq) % 251) as u8
}

/// Returns the writer and the number of `value`, if it is whole.
fn check(value: &[u8]) -> Option<(u64, u64)> {
    let word = |n: usize| Some(u64::from_le_bytes(value.get(n * 8..n * 8 + 8)?.try_into().ok()?));
    let (writer, seq, bytes) = (word(0)?, word(1)?, word(2)?);
    let whole = bytes == value.len() as u64 && value[HEAD..].iter().all(|&b| b == fill(writer, seq));
    whole.then_some((writer, seq))
}

pub(crate) fn write_loop(key: &str, writer: u64, count: u64, bytes: usize, swap: bool) -> Result<Value, Failure> {
    let mut conflicts = 0_u64;
    for seq in 0..count {
        let value = patterned(writer, seq, bytes);
        if !swap {
            cache::set(key, &value, None)?;
            continue;
        }
        loop {
            let version = cache::get(key)?.map(|entry| entry.version);
            match cache::swap(key, version, &value, None) {
                Ok(_) => break,
                Err(cache::Error::Conflict) => conflicts += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(json!({ "written": count, "conflicts": conflicts }))
}

pub(crate) fn read_check(key: &str, count: u64) -> Result<Value, Failure> {
    let (mut last, mut changes, mut absent) = (0, 0_u64, 0_u64);
    for _ in 0..count {
        let Some(entry) = cache::get(key)? else {
            absent += 1;
            continue;
        };
        if check(&entry.value).is_none() {
            return Err(Failure::permanent(format_args!("version {} of `{key}` is torn", entry.version)));
        }
        if entry.version < last {
            return Err(Failure::permanent(format_args!("`{key}` went from version {last} back to {}", entry.version)));
        }
        changes += u64::from(entry.version != last);
        last = entry.version;
    }
    Ok(json!({ "reads": count, "changes": changes, "absent": absent, "version": last }))
}
