use std::time::Instant;

use crate::attempt::Sampler;
use crate::attempt::stack::Stack;

use super::*;

/// Judges samples of a guest: for each its state, the fuel used so far, and its functions, innermost first.
fn judged(samples: &[(Activity, u64, &[&str])]) -> Verdict {
    let sampler = Sampler::default();
    let look = sampler.look(None, samples.len()).unwrap();
    for (doing, fuel, functions) in samples {
        look.put(doing.clone(), (*fuel, Duration::ZERO), &Stack::named(functions));
    }
    let taken = look.taken();
    let places: Vec<Vec<Place>> = taken.frames.iter().map(|frame| vec![place(&frame.name())]).collect();
    verdict(&taken, &places)
}

fn place(function: &str) -> Place {
    Place { function: function.to_owned(), file: Some("src/lib.rs".to_owned()), line: Some(7) }
}

fn waiting(call: Option<&'static str>, what: Option<&str>, since: Instant) -> Activity {
    Activity::Waiting { call, what: what.map(str::to_owned), since }
}

use Activity::{Computing, Queued};

/// Returns the verdict on a guest that computes in these samples. A frame is its places, innermost first.
fn said_of(samples: &[&[&[Place]]]) -> String {
    let sampler = Sampler::default();
    let look = sampler.look(None, samples.len()).unwrap();
    let mut frames: Vec<&[Place]> = Vec::new();
    for (n, sample) in samples.iter().enumerate() {
        frames.extend(*sample);
        let names: Vec<String> = (frames.len() - sample.len()..frames.len()).map(|frame| frame.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        look.put(Computing, (n as u64 * 10, Duration::ZERO), &Stack::named(&names));
    }
    verdict(&look.taken(), &frames.iter().map(|places| places.to_vec()).collect::<Vec<_>>()).words().to_owned()
}

fn at(function: &str, file: &str, line: Option<u32>) -> Place {
    Place { function: function.to_owned(), file: Some(file.to_owned()), line }
}

#[test]
fn a_loop_inlined_into_a_macros_function_is_named_by_the_authors_own_function() {
    let made = at("export_run", "/home/ada/greet/src/lib.rs", Some(6));
    let step = at("wrapping_add", "/rustc/5980/library/core/src/num/mod.rs", Some(3));
    let run = |line| at("run", "/home/ada/greet/src/lib.rs", line);

    let said = said_of(&[&[&[step.clone(), run(Some(19)), made.clone()]], &[&[run(None), made.clone()]]]);

    assert_eq!(said, "spins in `run` (/home/ada/greet/src/lib.rs:19)");
}

#[test]
fn a_call_of_another_crate_is_named_by_the_authors_line_that_made_it() {
    let sha = at("sha2::compress", "/home/ada/.cargo/registry/src/x/sha2-0.10/src/lib.rs", Some(8));
    let run = at("greet::run", "/home/ada/greet/src/lib.rs", Some(12));

    let stack: &[&[Place]] = &[&[sha], &[run]];
    let said = said_of(&[stack, stack]);

    assert_eq!(said, "spins in `greet::run` (/home/ada/greet/src/lib.rs:12), in a call of `sha2::compress`");
}

#[test]
fn a_guest_that_computes_in_one_function_spins_there_whatever_called_it() {
    let verdict =
        judged(&[(Computing, 10, &["f", "run"]), (Computing, 20, &["f", "g", "run"]), (Computing, 30, &["f", "run"])]);
    assert_eq!(verdict, Verdict::Spins("spins in `f` (src/lib.rs:7)".to_owned()));
}

#[test]
fn a_guest_seen_in_several_places_is_slow_within_their_common_function() {
    let verdict = judged(&[
        (Computing, 10, &["f", "loop", "run"]),
        (Computing, 20, &["g", "loop", "run"]),
        (waiting(Some("cache.get"), None, Instant::now()), 30, &["h", "loop", "run"]),
    ]);
    let words = "slow: busy in different places (`f`, `g`, waits in `cache.get`), all within `loop` (src/lib.rs:7)";
    assert_eq!(verdict, Verdict::Slow(words.to_owned()));
}

#[test]
fn samples_without_fuel_between_them_do_not_show_that_a_guest_spins() {
    let computes = Verdict::Slow("computes in `f` (src/lib.rs:7)".to_owned());
    assert_eq!(judged(&[(Computing, 10, &["f"])]), computes);
    assert_eq!(judged(&[(Computing, 10, &["f"]), (Computing, 10, &["f"])]), computes);
}

#[test]
fn a_waiting_guest_says_in_what_call_for_what_and_since_when() {
    let since = Instant::now().checked_sub(Duration::from_millis(2100)).expect("the machine is up for longer");
    let waits =
        |call, what| judged(&[(waiting(call, what, since), 5, &["f"]), (waiting(call, what, since), 5, &["f"])]);
    assert_eq!(
        waits(Some("locks.acquire"), None),
        Verdict::Waits("has been waiting in `locks.acquire` for 2.1s".to_owned())
    );
    assert_eq!(
        waits(Some("locks.acquire"), Some("door")),
        Verdict::Waits("has been waiting in `locks.acquire` for `door` for 2.1s".to_owned())
    );
    assert_eq!(waits(None, None), Verdict::Waits("has been waiting in a host call for 2.1s".to_owned()));
}

#[test]
fn a_guest_that_waits_again_and_again_does_not_hang() {
    let (now, before) = (Instant::now(), Instant::now().checked_sub(Duration::from_secs(1)).expect("as above"));
    let verdict =
        judged(&[(waiting(Some("poll"), None, before), 5, &["f"]), (waiting(Some("poll"), None, now), 9, &["f"])]);
    assert_eq!(verdict.as_str(), "slow", "{verdict:?}");
}

#[test]
fn a_guest_without_a_turn_is_queued_and_one_without_samples_is_over() {
    assert_eq!(judged(&[(Queued, 5, &[]), (Queued, 5, &[])]).as_str(), "queued");
    assert_eq!(judged(&[]), Verdict::Over);
}

#[test]
fn only_a_few_can_watch_a_guest_at_once() {
    let sampler = Sampler::default();
    let looks: Vec<_> = (0..8).map(|_| sampler.look(None, 1).unwrap()).collect();

    assert_eq!(sampler.look(None, 1).err(), Some(TooManyObservers));
    drop(looks);

    assert!(sampler.look(None, 1).is_ok());
}

#[test]
fn a_look_takes_a_limited_number_of_samples_and_keeps_each_frame_once() {
    let sampler = Sampler::default();
    let look = sampler.look(Some(Duration::ZERO), 3).unwrap();
    for n in 0..10 {
        let now = Instant::now();
        if sampler.wants_sample(now) {
            sampler.record(now, (n, Duration::ZERO), &Stack::named(&["f", "run"]));
        }
    }
    let taken = look.taken();

    assert_eq!((taken.samples.len(), taken.frames.len()), (3, 2));
    assert!(!sampler.wants_sample(Instant::now()), "nobody looks any more");
}
