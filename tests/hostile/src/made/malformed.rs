//! Is damaged, in one of a dozen ways from a wrong length to random bytes: it must be quarantined, for a reason of one line.

use super::{NOTHING, PREAMBLE, leb, program, section};

pub(crate) fn component(nth: usize) -> Vec<u8> {
    let good = super::assemble(&program("", NOTHING));
    let body = |bytes: &[u8]| [PREAMBLE, bytes].concat();
    match nth % 12 {
        0 => body(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f]), // a module of 4 GiB
        1 => body(&[1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]), // a length that never ends
        2 => body(&section(200, b"what is this")),
        3 => good[..good.len() / 2].to_vec(),
        4 => [&b"\0asm\xff\xff\x01\0"[..], &good[8..]].concat(), // a version to come
        5 => body(&section(7, &leb(u32::MAX as usize))),         // four billion types, none of which is there
        6 => body(&section(11, &[1, 0, 255])),                   // an export without a name
        7 => body(&section(2, &[1, 0, 77, 0])),                  // an instance of a module that is not there
        8 => body(&section(10, &[1, 0, 4, 0xff, 0xfe, 0xfd, 0xfc, 1, 0])), // an import whose name is not UTF-8
        9 => noise(nth, 64 << 10),
        10 => flipped(good, nth),
        _ => body(&section(1, b"\0asm\x01\0\0\0\x01\x05\xff\xff\xff\xff\x0f")), // a module with four billion types
    }
}

/// Makes noise after a good beginning.
fn noise(nth: usize, bytes: usize) -> Vec<u8> {
    let mut state = nth as u64 + 0x9e37_79b9_7f4a_7c15;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    PREAMBLE.iter().copied().chain([1]).chain(noise.take(bytes)).collect()
}

/// Breaks the code of a good component.
fn flipped(mut good: Vec<u8>, nth: usize) -> Vec<u8> {
    let at = PREAMBLE.len() + 10 + nth % 3;
    good[at] = !good[at];
    good
}
