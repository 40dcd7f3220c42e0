//! Each rule is shown to fail on a fault that is planted in a small house.

use std::fs;

use crate::check::{self, Permit, Report, Repository, Room, Rule};
use crate::duplicates;
use crate::house::HOUSE;
use crate::source::{self, Crate};

const SMALL: Repository = Repository {
    crates: &[Crate { name: "small", root: "src/lib.rs" }],
    rooms: &[
        Room { name: "domain", modules: &["small::domain"] },
        Room { name: "http", modules: &["small::http"] },
        Room { name: "store", modules: &["small::store"] },
    ],
    rules: &[
        Rule {
            rooms: &["domain"],
            may_not_use: &[&["tokio", "Utc::now", "async", "small::store"]],
            because: "the domain is pure",
        },
        Rule { rooms: &["http"], may_not_use: &[&["rusqlite", "small::store::sqlite"]], because: "SQL is the store's" },
        Rule { rooms: &["store"], may_not_use: &[&["serde"]], because: "rows are not JSON" },
    ],
    permits: &[Permit { module: "small::store::transfer", may_use: "serde", because: "records have a digest" }],
    longest_file: 40,
    longest_function: 10,
    largest_circle: 3,
};

/// Two rooms of this house, each in its crate, with the rules of the house, in which every use that they forbid is a fault.
const OURS: Repository = Repository {
    crates: &[
        Crate { name: "sexton", root: "src/lib.rs" },
        Crate { name: "sexton_store", root: "src/store/src/lib.rs" },
    ],
    rooms: &[Room { name: "cli", modules: &["sexton::cli"] }, Room { name: "store", modules: &["sexton_store"] }],
    permits: &[],
    ..HOUSE
};

/// Checks the small house with these files in `src`, besides rooms that are empty.
fn report(files: &[(&str, &str)]) -> Report {
    let empty = [
        ("lib.rs", "pub mod domain;\npub mod http;\npub mod store;\n"),
        ("domain.rs", ""),
        ("http.rs", ""),
        ("store.rs", "pub mod sqlite;\npub mod transfer;\npub use sqlite::Sqlite;\n"),
        ("store/sqlite.rs", "pub struct Sqlite;\n"),
        ("store/transfer.rs", "#[derive(serde::Serialize)]\npub struct Record;\n"),
    ];
    report_of(&SMALL, &[&empty, files].concat())
}

/// Checks `house` with these files in `src`, of which a later one replaces an earlier one.
fn report_of(house: &Repository, files: &[(&str, &str)]) -> Report {
    let place = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = place.path().join("src").join(name);
        fs::create_dir_all(path.parent().expect("it lies in a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    check::all(&source::read(place.path(), house.crates).expect("it is Rust"), house)
}

fn faults(files: &[(&str, &str)]) -> Vec<String> {
    report(files).faults
}

#[test]
fn a_house_that_keeps_its_rules_has_no_faults() {
    assert_eq!(faults(&[]), Vec::<String>::new());
}

#[test]
fn a_forbidden_crate_is_found_after_a_test_module_in_a_group_and_in_a_macro() {
    let text = "#[cfg(test)]\nmod tests { use rusqlite::Row; }\n\
                use std::{fmt, io};\nuse {rusqlite::{Row, Connection as C}, std::fs};\n\
                fn f() { println!(\"{}\", rusqlite::version()); }\n";
    let because = "`rusqlite` must not be used here: SQL is the store's";
    assert_eq!(
        faults(&[("http.rs", text)]),
        [format!("src/http.rs:4: {because}"), format!("src/http.rs:5: {because}")],
        "the use in the test module is allowed, those after it are not"
    );
}

#[test]
fn a_forbidden_module_is_found_behind_a_re_export_a_group_an_alias_and_super() {
    for text in [
        "use crate::store::Sqlite;",
        "use crate::{domain, store::{Sqlite as Database}};",
        "use super::store as kept;\nfn f(_: kept::sqlite::Sqlite) {}",
        "fn f(_: crate::store::sqlite::Sqlite) {}",
        "mod inner { use super::super::store::sqlite::*; }",
    ] {
        let found = faults(&[("http.rs", text)]);
        assert!(found.iter().any(|fault| fault.contains("`small::store::sqlite`")), "{text}: {found:?}");
    }
}

#[test]
fn a_permit_is_for_one_module_and_is_reported_when_it_is_not_needed() {
    let derives = "use serde::{Deserialize, Serialize};\n#[derive(Serialize, Deserialize)]\npub struct Row;\n";
    assert_eq!(
        faults(&[("store/sqlite.rs", &format!("pub struct Sqlite;\n{derives}"))]),
        ["src/store/sqlite.rs:2: `serde` must not be used here: rows are not JSON"]
    );
    assert_eq!(faults(&[("store/transfer.rs", derives)]), Vec::<String>::new());
    assert_eq!(
        faults(&[("store/transfer.rs", "pub struct Record;\n")]),
        ["`small::store::transfer` may use `serde` and does not: the permit must go"]
    );
}

#[test]
fn a_row_that_derives_json_and_a_command_that_reads_rows_are_found() {
    let files = |cli: &str, store: &str| {
        report_of(&OURS, &[("lib.rs", "pub mod cli;\n"), ("cli.rs", cli), ("store/src/lib.rs", store)]).faults
    };
    assert_eq!(files("", "pub struct RunInfo;\n"), Vec::<String>::new());
    for derived in [
        "#[derive(serde::Serialize)]\npub struct RunInfo;\n",
        "use serde as json;\n#[derive(json::Serialize)]\npub struct RunInfo;\n",
        "use {serde::Deserialize};\n#[derive(Deserialize)]\npub struct RunInfo;\n",
    ] {
        let found = files("", derived);
        assert!(found.iter().any(|fault| fault.starts_with("src/store/src/lib.rs:1: `serde`")), "{derived}: {found:?}");
    }
    for reader in ["use sexton_store::RunInfo;\n", "fn f(_: sexton_store::RunInfo) {}\n", "use sexton_store::*;\n"] {
        let found = files(reader, "pub struct RunInfo;\n");
        assert!(found.iter().any(|fault| fault.starts_with("src/cli.rs:1: `sexton_store`")), "{reader}: {found:?}");
    }
}

#[test]
fn a_clock_and_an_async_function_are_found_in_the_domain() {
    let found = faults(&[("domain.rs", "use chrono::Utc;\nfn f() {\n    let _ = Utc::now();\n}\nasync fn g() {}\n")]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("src/domain.rs:3: `Utc::now`"), "{found:?}");
    assert!(found[1].starts_with("src/domain.rs:5: `async`"), "{found:?}");
}

#[test]
fn a_file_and_a_function_that_are_too_long_are_found_in_tests_too() {
    let long = format!("fn long() {{\n{}}}\n", "    f();\n".repeat(10));
    let file = "// A line.\n".repeat(41);
    let found = faults(&[("domain.rs", "#[cfg(test)]\nmod tests;\n"), ("domain/tests.rs", &long), ("http.rs", &file)]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.contains(&"src/domain/tests.rs:1: `long` has 12 lines, the most is 10".to_owned()), "{found:?}");
    assert!(found.contains(&"src/http.rs has 41 lines, the most is 40".to_owned()), "{found:?}");
}

#[test]
fn a_circle_of_four_files_is_found_and_what_only_tests_use_makes_none() {
    let ring = |last: &str| {
        report(&[
            ("http.rs", "pub mod a;\npub mod b;\npub mod c;\npub mod d;\n"),
            ("http/a.rs", "use super::b::B;\npub struct A;\n"),
            ("http/b.rs", "use super::c::C;\npub struct B;\n"),
            ("http/c.rs", "use super::d::D;\npub struct C;\n"),
            ("http/d.rs", last),
        ])
    };
    let circle = ring("pub fn f() -> super::a::A { super::a::A }\npub struct D;\n");
    assert_eq!((circle.largest_circle, circle.faults), (4, vec!["a circle of 4 files, the most is 3".to_owned()]));
    assert!(circle.drawing.contains("circle of 4 files: src/http/a.rs"), "{}", circle.drawing);

    let open = ring("pub struct D;\n#[cfg(test)]\nmod tests { use super::super::a::A; }\n");
    assert_eq!((open.largest_circle, open.faults), (0, vec![]));

    let shown = ring(
        "pub(in crate::http) struct D;
",
    );
    assert_eq!((shown.largest_circle, shown.faults), (0, vec![]), "to be seen within a module is no use of it");
}

#[test]
fn the_drawing_shows_which_room_uses_which() {
    let drawing = report(&[("http.rs", "use crate::store::Sqlite as S;\n")]).drawing;
    assert!(drawing.contains("http -> store (1)\n"), "{drawing}");
}

#[test]
fn a_room_whose_module_is_gone_is_a_fault() {
    let found = faults(&[("lib.rs", "pub mod http;\npub mod store;\n")]);
    assert_eq!(found, ["the rules name the module `small::domain`, which is not there"]);
}

#[test]
fn rooms_of_rules_are_rooms_of_the_house() {
    for rule in HOUSE.rules {
        for name in rule.rooms {
            assert!(HOUSE.rooms.iter().any(|room| room.name == *name), "{name}");
        }
    }
}

#[test]
fn a_decision_that_two_modules_take_in_the_same_words_is_found_and_statements_are_not() {
    let rule = |text: &str| {
        format!(
            "fn keep(row: &mut Row, wish: &Wish) -> bool {{ say(\"{text}\"); row.cursor = row.cursor.max(Some(wish.now)); \
             if let (None, Some(why)) = (&row.paused, &wish.pause) {{ row.paused = Some(Pause {{ since: Some(wish.now), \
             why: Some(why.clone()) }}); return true; }} false }}\n"
        )
    };
    let statement = "fn all(c: &C) -> Vec<Row> { c.query(\"SELECT a, b FROM t\", &[&one(c), &two(c), &three(c), &four(c)], \
                     Row::of, Kind::Whole, c.limit(), c.order(), c.page(), c.after()) }\n";
    let read = |one: &str, other: &str| {
        let place = tempfile::tempdir().expect("a directory");
        let files = [("lib.rs", "mod one;\nmod other;\n"), ("one.rs", one), ("other.rs", other)];
        for (name, text) in files {
            fs::create_dir_all(place.path().join("src")).expect("a directory");
            fs::write(place.path().join("src").join(name), text).expect("a file");
        }
        source::read(place.path(), SMALL.crates).expect("it is Rust")
    };
    let found = |one: &str, other: &str| duplicates::between(&read(one, other), &["small", "one"], &["small", "other"]);

    let twice = found(&rule("SELECT 1"), &rule("SELECT $1"));
    assert_eq!(twice.len(), 1, "{twice:?}");
    assert!(twice[0].starts_with("src/other.rs:1: decides the same as src/one.rs:1 in "), "{twice:?}");
    assert_eq!(found(statement, statement), Vec::<String>::new(), "it does not branch");
    assert_eq!(found(&rule("SELECT 1"), statement), Vec::<String>::new());

    let similar = duplicates::similar(&read(statement, &rule("SELECT 1").repeat(2)), 40);
    assert_eq!(similar.len(), 1, "{similar:?}");
    assert!(similar[0].ends_with(" tokens: src/other.rs:2 and src/other.rs:1"), "{similar:?}");
}
