use crate::attempt::stack::LONGEST_NAME;

use super::*;

#[test]
fn remembered_words_equal_those_first_found_and_are_bounded() {
    let mut found = Found::default();
    let place = |function: &str, line| Place { function: function.into(), file: Some("a.rs".into()), line: Some(line) };
    let stack = Stack::named(&["one", "two", "one"]);
    let one = vec![place("inlined", 1), place("one", 2)];
    let places = [one.clone(), vec![place("two", 3)], one];

    found.add("digest", stack.frames(), &places);

    assert_eq!(found.words("digest", stack.frames()).as_deref(), Some(&*format_stack(&places)));
    assert_eq!(found.words("digest", Stack::named(&["one", "three"]).frames()), None);
    assert_eq!(found.words("another", stack.frames()), None);
    for n in 0..3 * REMEMBERED_BYTES / 1000 {
        let (stack, places) = (Stack::named(&[&format!("{n}")]), [vec![place(&"x".repeat(1000), 1)]]);
        found.add("digest", stack.frames(), &places);
        assert_eq!(found.words("digest", stack.frames()).as_deref(), Some(&*format_stack(&places)));
        assert!(found.bytes <= REMEMBERED_BYTES);
    }
    let kept: usize = found.frames["digest"].values().map(|words| words.len()).sum();
    assert!(kept <= found.bytes && kept > REMEMBERED_BYTES / 10, "{kept} of {}", found.bytes);
}

#[test]
fn endless_function_names_of_a_guest_are_cut_short() {
    let endless = "é".repeat(100_000);
    let stack = Stack::named(&[&endless, "_ZN5probe4spin17h0123456789abcdefE"]);

    let names = names(&stack);

    assert!(names.len() < 2 * LONGEST_NAME, "{} bytes", names.len());
    assert!(names.ends_with("\nprobe::spin"), "{names}");
}
