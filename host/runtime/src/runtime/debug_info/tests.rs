use gimli::write;

use crate::attempt::stack::Stack;

use super::*;

const CODE: Range<usize> = 1000..2000;

/// Makes debug information of code at [`CODE`] of a file: `run` of `task.rs` takes bytes 16 to 96 from there and was
/// made by a macro on line 1; `author`, with the loop on line 20, is inlined into it from byte 32 to 48.
fn info() -> DebugInfo {
    let encoding = gimli::Encoding { format: gimli::Format::Dwarf32, version: 4, address_size: 4 };
    let mut dwarf = write::Dwarf::new();
    let string = |text: &str| write::LineString::String(text.as_bytes().to_vec());
    let mut lines = write::LineProgram::new(
        encoding,
        gimli::LineEncoding::default(),
        string("/work"),
        None,
        string("task.rs"),
        None,
    );
    let directory = lines.default_directory();
    let file = lines.add_file(string("task.rs"), directory, None);
    lines.begin_sequence(Some(write::Address::Constant(16)));
    for (offset, line) in [(0, 1), (16, 20), (32, 1)] {
        let row = lines.row();
        (row.address_offset, row.file, row.line) = (offset, file, line);
        lines.generate_row();
    }
    lines.end_sequence(80);

    let unit = dwarf.units.add(write::Unit::new(encoding, lines));
    let unit = dwarf.units.get_mut(unit);
    let name = |text: &str| write::AttributeValue::String(text.as_bytes().to_vec());
    let spans = |unit: &mut write::Unit, of, from: u64, bytes: u64| {
        let entry = unit.get_mut(of);
        entry.set(gimli::DW_AT_low_pc, write::AttributeValue::Address(write::Address::Constant(from)));
        entry.set(gimli::DW_AT_high_pc, write::AttributeValue::Udata(bytes));
    };
    let root = unit.root();
    unit.get_mut(root).set(gimli::DW_AT_name, name("task.rs"));
    spans(unit, root, 16, 80);
    let author = unit.add(root, gimli::DW_TAG_subprogram);
    unit.get_mut(author).set(gimli::DW_AT_name, name("author"));
    let run = unit.add(root, gimli::DW_TAG_subprogram);
    unit.get_mut(run).set(gimli::DW_AT_name, name("run"));
    spans(unit, run, 16, 80);
    let inlined = unit.add(run, gimli::DW_TAG_inlined_subroutine);
    unit.get_mut(inlined).set(gimli::DW_AT_abstract_origin, write::AttributeValue::UnitRef(author));
    unit.get_mut(inlined).set(gimli::DW_AT_call_file, write::AttributeValue::FileIndex(Some(file)));
    unit.get_mut(inlined).set(gimli::DW_AT_call_line, write::AttributeValue::Udata(2));
    spans(unit, inlined, 32, 16);

    let mut sections = write::Sections::new(write::EndianVec::new(LittleEndian));
    dwarf.write(&mut sections).unwrap();
    let mut debug = HashMap::new();
    let kept = sections.for_each(|id, bytes| {
        debug.insert(id.name().to_owned(), bytes.slice().into());
        Ok::<_, gimli::Error>(())
    });
    kept.unwrap();
    let module = Sections { code: Some(CODE), debug }.context().unwrap();
    DebugInfo { modules: vec![module] }
}

/// Returns the innermost place of a guest of [`info`] whose innermost frame is `byte` bytes into the code.
fn innermost(byte: usize, change: impl FnOnce(Stack) -> Stack) -> String {
    let frame = |byte| Frame { function: "run".into(), offset: Some(CODE.start + byte), ahead: false };
    let stack = change(Stack(vec![frame(byte), frame(byte)]));
    let places = places(&stack.0, Some(&info()));
    // Only the innermost frame can stand at the head of a loop: the others stand at calls.
    assert_eq!(places[1].last().unwrap().function, "run");
    assert!(places[1][0].function == "run" || (32..48).contains(&byte), "{places:?}");
    places[0][0].to_string()
}

#[test]
fn a_guest_that_has_yielded_is_placed_by_what_follows_and_one_in_a_call_is_not() {
    assert_eq!(innermost(28, Stack::ahead), "author (task.rs:20)", "the head of the loop belongs to `run`");
    assert_eq!(innermost(28, |in_call| in_call), "run (task.rs:1)", "`author` begins four bytes after the call");

    for change in [Stack::ahead, |in_call| in_call] {
        assert_eq!(innermost(40, change), "author (task.rs:20)");
        assert_eq!(innermost(60, change), "run (task.rs:1)");
    }
    assert_eq!(innermost(32 - HEAD - 1, Stack::ahead), "run (task.rs:1)", "too far before the loop");
}
