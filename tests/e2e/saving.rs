//! Tests files that are being changed: how editors save a manifest, how people replace a component, and directories
//! that are links.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Host, Setup, drop_in, guest, list};

/// The pause of a slow editor or copy between its steps, far longer than the host takes to notice one.
const PAUSE: Duration = Duration::from_millis(200);

/// The times that each way to save is tried.
const SAVES: usize = 4;

fn slowly() {
    std::thread::sleep(PAUSE); // what is tested is that the host sees what is between two steps
}

/// Returns a manifest that its description identifies. Its task runs when it is first seen, and then an hour after each
/// run. Its other task is due every second, twice.
fn manifest(nth: usize) -> String {
    format!(
        "[tasks.it]\ndescription = \"number {nth}\"\nafter = \"1h\"\n[tasks.twice]\nevery = \"1s\"\ntimes = 2\noverlap = \"queue-all\"\n"
    )
}

/// A way to save a file, in the steps of a program that does so.
type Save = fn(&Path, &[u8]);

/// Saves as Emacs does: the file becomes the backup, and a new one is written.
fn rename_and_create(file: &Path, text: &[u8]) {
    fs::rename(file, file.with_extension("toml~")).unwrap();
    slowly();
    fs::write(file, text).unwrap();
}

/// Saves as vim does with `backupcopy=no`: the same, and the backup is removed.
fn rename_create_remove(file: &Path, text: &[u8]) {
    rename_and_create(file, text);
    fs::remove_file(file.with_extension("toml~")).unwrap();
}

/// Saves as a shell's `>` does.
fn truncate_and_write(file: &Path, text: &[u8]) {
    fs::write(file, "").unwrap();
    slowly();
    fs::write(file, text).unwrap();
}

/// Saves as careful programs do.
fn write_and_rename(file: &Path, text: &[u8]) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    slowly();
    fs::rename(new, file).unwrap();
}

fn remove_and_write(file: &Path, text: &[u8]) {
    fs::remove_file(file).unwrap();
    slowly();
    fs::write(file, text).unwrap();
}

const WAYS: [Save; 5] =
    [rename_and_create, rename_create_remove, truncate_and_write, write_and_rename, remove_and_write];

fn task(host: &Host, name: &str) -> Option<Value> {
    let tasks = host.get("/v1/tasks");
    list(&tasks, "tasks").iter().find(|task| task["name"] == name || task["task"] == name).cloned()
}

/// Waits until the host has the manifest `nth`.
fn has(host: &Host, nth: usize) {
    host.eventually(&format!("manifest {nth} is in use"), || {
        (task(host, "it")?["description"] == format!("number {nth}")).then_some(())
    });
}

fn runs(host: &Host) -> usize {
    runs_of(host, "it")
}

fn runs_of(host: &Host, task: &str) -> usize {
    list(&host.get(&format!("/v1/runs?task={task}&limit=100")), "runs").len()
}

/// Saves the manifest, and replaces the component, in all ways. The schedule must go on as if nothing had happened.
fn save_in_all_ways(config: &str) {
    let host = Host::with(&Setup { config: config.to_owned() });
    host.add("it", "hello", &manifest(0));
    host.eventually("it has run when it was first seen", || (runs(&host) == 1).then_some(()));
    host.eventually("the runs of the other are used up", || (runs_of(&host, "twice") == 2).then_some(()));

    let mut nth = 0;
    for save in WAYS {
        for _ in 0..SAVES {
            nth += 1;
            save(&host.plugin_path("it.toml"), manifest(nth).as_bytes());
            has(&host, nth);
        }
    }
    for (save, component) in
        [(remove_and_write as Save, "noop"), (rename_and_create, "hello"), (truncate_and_write, "noop")]
    {
        let before = host.plugin("it").unwrap()["digest"].clone();
        save(&host.plugin_path("it.wasm"), &guest(component));
        host.eventually("the other component is in use", || {
            let plugin = host.plugin("it")?;
            (plugin["digest"] != before && plugin["quarantine"].is_null()).then_some(())
        });
    }

    assert_eq!(runs(&host), 1, "its schedule began anew:\n{}", host.log());
    let fired = host.get("/v1/tasks/twice")["fired"].clone();
    assert_eq!((runs_of(&host, "twice"), fired), (2, 2.into()), "its `times` began anew:\n{}", host.log());
    assert!(!host.log().contains("was removed"), "{}", host.log());
}

#[test]
fn a_plugin_keeps_its_schedule_while_its_files_are_rewritten() {
    save_in_all_ways("");
}

#[test]
fn a_shared_plugin_keeps_its_schedule_while_its_files_are_rewritten() {
    save_in_all_ways("[host]\npublish = true");
}

#[test]
fn a_plugin_directory_behind_a_link_is_followed_after_a_switch_and_a_signal() {
    is_followed_when_it_is_switched(|host| host.signal("HUP"));
}

#[test]
fn a_plugin_directory_that_is_a_link_is_followed_when_it_is_switched_without_a_signal() {
    is_followed_when_it_is_switched(|_| ());
}

/// `tell` is the operator's action after a new release has replaced the previous one.
fn is_followed_when_it_is_switched(tell: impl FnOnce(&Host)) {
    let place = Setup::default().directory();
    let path = |name: &str| place.path().join(name);
    for release in ["one", "two"] {
        fs::create_dir_all(path(release).join("plugins")).unwrap();
    }
    drop_in(&path("one"), "it", &guest("hello"), Some(&manifest(1)));
    drop_in(&path("one"), "old", &guest("hello"), Some("[tasks.old]\n"));
    drop_in(&path("two"), "it", &guest("hello"), Some(&manifest(2)));
    fs::remove_dir(path("plugins")).unwrap();
    std::os::unix::fs::symlink("one/plugins", path("plugins")).unwrap();
    let host = Host::start_in(place.clone());
    has(&host, 1);

    std::os::unix::fs::symlink("two/plugins", path("next")).unwrap();
    fs::rename(path("next"), path("plugins")).unwrap();
    tell(&host);

    has(&host, 2);
    host.eventually("what the new release lacks is gone", || task(&host, "old").is_none().then_some(()));
    drop_in(&path("two"), "new", &guest("hello"), Some("[tasks.new]\n"));
    host.loaded("new");
    assert_eq!(runs(&host), 1, "its schedule began anew:\n{}", host.log());
}

#[test]
fn a_host_without_file_notifications_polls_and_logs_that_once() {
    let _alone = crate::company::alone(); // processor time and wake-ups are looked at
    let Some(host) = Host::start_without_notifications(Setup::default().directory()) else {
        println!("not tested: this system lets no process give up its file notifications");
        return;
    };
    host.add("it", "hello", &manifest(1));
    let counted = || crate::descriptors::counted(&host);

    let before = counted();
    std::thread::sleep(Duration::from_secs(6)); // more than one poll; what it does of itself is what is tested
    let after = counted();

    let (wakes, used, lines) = (after.0.saturating_sub(before.0), after.1 - before.1, after.2 - before.2);
    let told = format!("it woke up {wakes} times, used {used} hundredths of a second and wrote {lines} lines");
    println!("in six seconds {told}");
    // Each look is a few wake-ups, and there are one or two looks.
    assert!(wakes < 3000 && used < 120 && lines < 10, "{told}:\n{}", host.log());
    let warned = host.log().matches("Cannot watch").count();
    assert_eq!(warned, 1, "{}", host.log());
    fs::write(host.plugin_path("it.toml"), manifest(2)).unwrap();
    has(&host, 2);
}

#[test]
fn a_manifest_with_more_tasks_than_its_tenant_may_have_is_refused_and_says_which_limit() {
    let host = Host::with(&Setup { config: "[tenants.default]\ntasks = 2000\n".into() });
    let tasks = |many: usize, what: &str| (0..many).map(|n| format!("[tasks.{what}{n}]\n")).collect::<String>();

    host.add_bytes("many", &guest("hello"), Some(&tasks(30_000, "a")));
    host.add("few", "hello", &tasks(1500, "b"));
    host.add_bytes("more", &guest("hello"), Some(&tasks(600, "c")));

    let many = host.quarantined("many");
    assert!(many.contains("it has 30000 tasks, and tenant `default` may have 2000"), "{many}");
    let more = host.quarantined("more");
    assert!(more.contains("it has 600 tasks beside the 1500 of other plugins"), "{more}");
    for reason in [many, more] {
        assert!(reason.contains("raise `[tenants.default] tasks`"), "{reason}");
    }
    let (_, page) = host.request("GET", "/", b"");
    let page = String::from_utf8(page).unwrap();
    assert!(page.len() < 500_000, "the page has {} bytes", page.len());
    assert!(page.contains("The first 500 of 1500 tasks are looked at"), "it does not say that there are more");
    assert_eq!(list(&host.get("/v1/tasks"), "tasks").len(), 1500);

    let raised = "[http]\nlisten = \"127.0.0.1:0\"\n[tenants.default]\ntasks = 2100\n";
    fs::write(host.directory.path().join("sexton.toml"), raised).unwrap();
    host.signal("HUP");
    host.loaded_after_all("more");
}

/// The tasks in a manifest of about the largest size that is accepted.
const MANY: usize = 30_000;

#[test]
fn another_task_is_punctual_while_manifests_of_the_largest_size_are_read_and_linked() {
    let _alone = crate::company::alone(); // how late a task is, is looked at
    let host = Host::with(&Setup { config: "[tenants.default]\ntasks = 200000\n".into() });
    host.add("beat", "noop", "[tasks.beat]\nevery = \"200ms\"\noverlap = \"allow(9)\"\n");
    let latest = |limit: usize| host.get(&format!("/v1/runs?task=beat&limit={limit}"));
    host.eventually("it beats", || (list(&latest(9), "runs").len() > 5).then_some(()));
    let before = list(&latest(1), "runs")[0]["id"].as_i64().unwrap();

    for name in ["a", "b", "c"] {
        let tasks: String = (0..MANY).map(|n| format!("[tasks.{name}-{n}]\ninput = \"{n}\"\n")).collect();
        assert!((900 << 10..1 << 20).contains(&tasks.len()), "{} bytes", tasks.len());
        host.add_bytes(name, &guest("hello"), Some(&tasks));
    }
    for name in ["a", "b", "c"] {
        host.loaded(name);
    }

    let runs = latest(1000);
    let since: Vec<&Value> = list(&runs, "runs").iter().filter(|run| run["id"].as_i64().unwrap() > before).collect();
    let instant = |run: &Value, field: &str| {
        let text = run[field].as_str().unwrap_or_else(|| panic!("no {field} in {run}"));
        chrono::DateTime::parse_from_rfc3339(text).unwrap()
    };
    let claimed = since.iter().filter(|run| run["claimed_at"].is_string());
    let latest =
        claimed.map(|run| (instant(run, "claimed_at") - instant(run, "due_at")).num_milliseconds()).max().unwrap();
    let slept: Vec<_> = since
        .windows(2)
        .map(|two| (instant(two[0], "due_at") - instant(two[1], "due_at")).num_milliseconds())
        .collect();
    let missed = slept.iter().max().copied().unwrap_or_default();
    println!("{} runs of the task beside it, started at most {latest} ms late, at most {missed} ms apart", since.len());
    assert!(latest < 5000 && missed < 5000, "it was {latest} ms late, and had no instants for {missed} ms");
}
