use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use super::*;

/// The time that a test waits for an event that must happen.
const BOUND: Duration = Duration::from_secs(60);

fn supervisor() -> Arc<Supervisor> {
    // The hook must be in place, because it remembers the positions of panics.
    Supervisor::of_process();
    Arc::default()
}

fn of<'a>(faults: &'a [Fault], part: &str) -> &'a Fault {
    faults.iter().find(|fault| fault.part == part).unwrap_or_else(|| panic!("no fault of {part} in {faults:?}"))
}

#[tokio::test]
async fn a_loop_that_panics_is_begun_again_and_its_panics_are_shown() {
    let supervisor = supervisor();
    let (over, stop) = watch::channel(false);
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let mut times = 0;

    let part = supervisor.part("it", stop, move || {
        times += 1;
        let (begun, times) = (begun.clone(), times);
        async move {
            begun.send(times).unwrap();
            assert!(times > 2, "fault {times}");
            std::future::pending().await
        }
    });
    for expected in 1..=3 {
        let begun = tokio::time::timeout(BOUND, begins.recv()).await.expect("it begins again");
        assert_eq!(begun, Some(expected));
    }

    let faults = supervisor.faults();
    let fault = of(&faults, "it");
    assert_eq!((fault.panics, fault.down), (2, false));
    assert!(fault.message.starts_with("fault 2 (") && fault.message.contains("supervisor/tests.rs:"), "{fault:?}");
    assert!(fault.first_at <= fault.last_at);
    drop(over);
    part.abort();
}

async fn fails() {
    panic!("always")
}

#[tokio::test]
async fn a_part_is_down_until_it_is_begun_again() {
    let supervisor = supervisor();
    let (over, stop) = watch::channel(false);

    let part = supervisor.part("it", stop, fails);
    // The pauses grow, so the part is down for most of the time.
    while !supervisor.faults().first().is_some_and(|fault| fault.down && fault.panics >= 3) {
        tokio::time::sleep(Duration::from_millis(5)).await; // nothing tells when a part goes down
    }

    over.send_replace(true);
    tokio::time::timeout(BOUND, part).await.expect("a stop ends its pause").unwrap();
}

#[tokio::test]
async fn a_loop_that_ends_early_is_restarted_and_one_that_must_end_ends() {
    let supervisor = supervisor();
    let (over, stop) = watch::channel(false);
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();

    let ended = stop.clone();
    let part = supervisor.part("it", stop, move || {
        let (begun, mut ended) = (begun.clone(), ended.clone());
        async move {
            begun.send(()).unwrap();
            if SEEN.fetch_add(1, Ordering::SeqCst) > 0 {
                let _ = ended.wait_for(|over| *over).await;
            }
        }
    });
    static SEEN: AtomicU32 = AtomicU32::new(0);
    for _ in 0..2 {
        tokio::time::timeout(BOUND, begins.recv()).await.expect("it begins again");
    }
    assert_eq!(of(&supervisor.faults(), "it").message, "it ended by itself");

    over.send_replace(true);
    tokio::time::timeout(BOUND, part).await.expect("it ends").unwrap();
    assert_eq!(of(&supervisor.faults(), "it").panics, 1);
}

#[tokio::test]
async fn a_factory_that_panics_is_asked_again() {
    let supervisor = supervisor();
    let (_over, stop) = watch::channel(false);
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let mut times = 0;

    let part = supervisor.part("it", stop, move || {
        times += 1;
        assert!(times > 1, "not yet");
        let begun = begun.clone();
        async move {
            begun.send(()).unwrap();
            std::future::pending().await
        }
    });

    tokio::time::timeout(BOUND, begins.recv()).await.expect("it begins");
    part.abort();
}

#[tokio::test]
async fn a_service_that_is_not_needed_ends_and_one_that_panics_restarts() {
    let supervisor = supervisor();
    let mut times = 0;

    let service = supervisor.service("it", move || {
        times += 1;
        let times = times;
        async move { assert!(times > 1, "once") }
    });

    tokio::time::timeout(BOUND, service).await.expect("it ends").unwrap();
    assert_eq!(of(&supervisor.faults(), "it").panics, 1);
}

#[test]
fn a_thread_that_panics_does_its_work_again() {
    let supervisor = supervisor();
    let (done, results) = mpsc::channel();
    let mut times = 0;

    let thread = supervisor.thread("worker", AfterPanic::Again, move || {
        times += 1;
        assert!(times > 2, "fault {times}");
        done.send(times).unwrap();
    });

    assert_eq!(results.recv_timeout(BOUND).unwrap(), 3);
    thread.unwrap().join().unwrap();
    assert_eq!(of(&supervisor.faults(), "worker").panics, 2);
}

#[tokio::test]
async fn a_thread_whose_work_cannot_begin_again_ends_the_host_with_the_reason() {
    let supervisor = supervisor();

    let thread = supervisor.thread("writer", AfterPanic::EndHost, || panic!("half done")).unwrap();
    let why = tokio::time::timeout(BOUND, supervisor.broken()).await.expect("the host is told");

    assert!(why.starts_with("the part `writer` panicked: half done ("), "{why}");
    assert!(of(&supervisor.faults(), "writer").down);
    thread.join().unwrap();
}

#[test]
fn a_panic_outside_of_all_parts_is_noted_with_its_thread() {
    let process = Supervisor::of_process();

    fn unseen() {
        panic!("unseen")
    }
    let thread = thread::Builder::new().name("stray-17".into()).spawn(unseen).unwrap();
    assert!(thread.join().is_err());

    let faults = process.faults();
    let fault = of(&faults, "thread stray-17");
    assert!(fault.message.starts_with("unseen (") && !fault.down, "{fault:?}");
}

#[tokio::test]
async fn a_panic_that_is_handed_on_keeps_its_message_and_its_place() {
    let first = caught(fails()).await.unwrap_err();

    let second = guarded::<()>(|| first.clone().resume()).unwrap_err();

    assert_eq!(first, second);
}

#[test]
fn pauses_double_up_to_the_longest_and_restart_after_a_quiet_time() {
    let mut pause = Pause::default();
    let millis = |pause: Duration| pause.as_millis();
    let first: Vec<_> = (0..10).map(|_| millis(pause.after(Duration::ZERO))).collect();
    assert_eq!(first, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
    assert_eq!(millis(pause.after(WELL)), 100);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn each_panic_is_an_alert_with_its_part_and_its_count() {
    let supervisor = supervisor();
    let log = Log::default();
    let kept = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || kept.clone()).finish();
    // With a single subscriber, a log line that a thread of another test without one reaches first is switched off for
    // all threads.
    let _logged = tracing::subscriber::set_default(subscriber);
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());

    let mut times = 0;
    let part = supervisor.service("scheduler", move || {
        times += 1;
        let times = times;
        async move { assert!(times > 2, "fault {times}") }
    });
    tokio::time::timeout(BOUND, part).await.expect("it ends").unwrap();
    supervisor.note("a connection to the API", &guarded(|| panic!("once")).unwrap_err());
    supervisor.note_down("the store's writer", &guarded(|| panic!("half done")).unwrap_err(), None);

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let alerts: Vec<&str> = log.lines().filter(|line| line.contains("alert=\"part-panicked\"")).collect();
    let told = [
        ("The host's part `scheduler` panicked, and restarts in 100ms: fault 1 (", "panics=1"),
        ("The host's part `scheduler` panicked, and restarts in 200ms: fault 2 (", "panics=2"),
        ("`a connection to the API` panicked, and the host continues: once (", "panics=1"),
        (
            "The host's part `the store's writer` panicked and cannot be restarted, so the host ends: half done (",
            "panics=1",
        ),
    ];
    assert_eq!(alerts.len(), told.len(), "{log}");
    for (alert, (words, count)) in alerts.into_iter().zip(told) {
        assert!(alert.contains("ERROR") && alert.contains(words) && alert.contains(count), "{alert}");
    }
    assert_eq!(log.matches("The host's part `scheduler` has restarted").count(), 2, "{log}");
}
