//! Brings debug information that says 28 million lines of its code, and traps: it must end as trapped, and the host must not grow by what it reads there.

use super::{PREAMBLE, custom, section};

/// The bytes of the line program; each makes a row of two dozen bytes in the reader's memory.
const ROWS: usize = 28 << 20;

pub(crate) fn component(_: usize) -> Vec<u8> {
    let whole = super::assemble(&super::program("", r#"(func (export "run") (result i32) unreachable)"#));
    // The core module is the first section of that component, because sections are added at its end.
    let mut sections = whole[PREAMBLE.len()..].to_vec();
    assert_eq!(sections[0], 1, "a core module comes first");
    let (size, digits) = size(&sections[1..]);
    let mut module: Vec<u8> = sections.drain(..1 + digits + size).skip(1 + digits).collect();
    module.extend(custom(".debug_abbrev", &[1, 0x11, 0, 0x10, 0x17, 0x11, 0x01, 0x12, 0x06, 0, 0, 0]));
    module.extend(custom(".debug_info", &info()));
    module.extend(custom(".debug_line", &lines()));
    [PREAMBLE, &section(1, &module), &sections].concat()
}

/// Decodes a LEB128. Returns it, and the number of its bytes.
fn size(bytes: &[u8]) -> (usize, usize) {
    let digits = bytes.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    let size = bytes[..digits].iter().rev().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
    (size, digits)
}

/// Makes one compilation unit (DWARF 4) that claims all addresses.
fn info() -> Vec<u8> {
    let mut unit = vec![4, 0, 0, 0, 0, 0, 4, 1];
    unit.extend([0_u32, 0, 0x7fff_ffff].iter().flat_map(|word| word.to_le_bytes()));
    [&(unit.len() as u32).to_le_bytes()[..], &unit].concat()
}

/// Makes its line program.
fn lines() -> Vec<u8> {
    let header: &[u8] = &[
        1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1, // opcodes and their operands
        0, b'a', b'.', b'c', 0, 0, 0, 0, 0, // no directories, one file
    ];
    let mut program = vec![0, 5, 2, 0, 0, 0, 0]; // set the address to 0
    program.resize(program.len() + ROWS, 0x20); // advance address and line, and make a row
    program.extend([0, 1, 1]); // the end
    let mut unit = vec![4, 0];
    unit.extend((header.len() as u32).to_le_bytes());
    unit.extend(header);
    unit.extend(program);
    [&(unit.len() as u32).to_le_bytes()[..], &unit].concat()
}
