//! Files that are being changed: how editors save a manifest, how people replace a component, and directories that are links.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Host, Setup, drop_in, guest, list};

/// How long a slow editor or copy takes between its steps. Far longer than the host takes to notice one.
const PAUSE: Duration = Duration::from_millis(200);

/// Times that each way to save is tried.
const SAVES: usize = 4;

fn slowly() {
    std::thread::sleep(PAUSE); // what is tested is that the host sees what is between two steps
}

/// A manifest that is told from others by its description. Its task runs when it is first seen, and then an hour after each run.
fn manifest(nth: usize) -> String {
    format!("[tasks.it]\ndescription = \"number {nth}\"\nafter = \"1h\"\n")
}

/// A way to save a file, in the steps of a program that does so.
type Save = fn(&Path, &[u8]);

/// As Emacs does: the file becomes the backup, and a new one is written.
fn rename_and_create(file: &Path, text: &[u8]) {
    fs::rename(file, file.with_extension("toml~")).unwrap();
    slowly();
    fs::write(file, text).unwrap();
}

/// As vim does with `backupcopy=no`: the same, and the backup is removed.
fn rename_create_remove(file: &Path, text: &[u8]) {
    rename_and_create(file, text);
    fs::remove_file(file.with_extension("toml~")).unwrap();
}

/// As a shell's `>` does.
fn truncate_and_write(file: &Path, text: &[u8]) {
    fs::write(file, "").unwrap();
    slowly();
    fs::write(file, text).unwrap();
}

/// As programs do that care.
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

/// Wait until the host has the manifest `nth`.
fn has(host: &Host, nth: usize) {
    host.eventually(&format!("manifest {nth} is in use"), || {
        (task(host, "it")?["description"] == format!("number {nth}")).then_some(())
    });
}

fn runs(host: &Host) -> usize {
    list(&host.get("/v1/runs?task=it&limit=100"), "runs").len()
}

/// Saves the manifest, and replaces the component, in all ways. The schedule must go on as if nothing had happened.
fn save_in_all_ways(config: &str) {
    let host = Host::with(&Setup { config: config.to_owned() });
    host.add("it", "hello", &manifest(0));
    host.eventually("it has run when it was first seen", || (runs(&host) == 1).then_some(()));

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
    assert!(!host.log().contains("was taken away"), "{}", host.log());
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
fn a_plugin_directory_that_is_a_link_is_followed_when_it_is_switched() {
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
    host.signal("HUP");

    has(&host, 2);
    host.eventually("what the new release lacks is gone", || task(&host, "old").is_none().then_some(()));
    drop_in(&path("two"), "new", &guest("hello"), Some("[tasks.new]\n"));
    host.loaded("new");
    assert_eq!(runs(&host), 1, "its schedule began anew:\n{}", host.log());
}

#[test]
fn a_host_without_file_notifications_looks_now_and_then_and_says_so_once() {
    let _alone = crate::company::alone(); // processor time and wake-ups are looked at
    let Some(host) = Host::start_without_notifications(Setup::default().directory()) else {
        println!("not tested: this system lets no process give up its file notifications");
        return;
    };
    host.add("it", "hello", &manifest(1));
    let counted = || {
        let of = |file: String| fs::read_to_string(file).unwrap_or_default();
        let threads = fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap().flatten();
        let wakes: u64 = threads
            .filter_map(|thread| {
                let status = of(format!("{}/status", thread.path().display()));
                status
                    .lines()
                    .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?
                    .trim()
                    .parse::<u64>()
                    .ok()
            })
            .sum();
        // User and system time, in hundredths of a second. The state, a letter, is not among the numbers.
        let stat = of(format!("/proc/{}/stat", host.pid()));
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let fields: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
        (wakes, fields[10] + fields[11], host.log().lines().count())
    };

    let before = counted();
    std::thread::sleep(Duration::from_secs(6)); // more than one poll; what it does of itself is what is tested
    let after = counted();

    let (wakes, used, lines) = (after.0.saturating_sub(before.0), after.1 - before.1, after.2 - before.2);
    let told = format!("it woke up {wakes} times, used {used} hundredths of a second and wrote {lines} lines");
    println!("in six seconds {told}");
    // Each look is a few wake-ups, and there are one or two.
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
    assert!(page.contains("The first 500 of 1500 tasks"), "it does not say that there are more");
    assert_eq!(list(&host.get("/v1/tasks"), "tasks").len(), 1500);

    let raised = "[http]\nlisten = \"127.0.0.1:0\"\n[tenants.default]\ntasks = 2100\n";
    fs::write(host.directory.path().join("sexton.toml"), raised).unwrap();
    host.signal("HUP");
    host.loaded_after_all("more");
}
