//! Lists attacks that reach for objects of others.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::of;
use crate::attack::{Attack, Gear};
use crate::conditions::PULSE;
use crate::ground::{Environment, SMALL_BOX};
use crate::host::Host;

pub(super) fn attacks() -> Vec<Attack> {
    let runs = Attack::runs;
    let host = |ground: &Environment| Gear { settings: vec![("host", ground.host.clone())], ..Gear::default() };
    vec![
        runs(of!(rust "environment"), &["succeeded"]),
        runs(of!(rust "error_words"), &["succeeded"]).gear(writes_files),
        runs(of!(rust "files"), &["succeeded"]),
        runs(of!(rust "path_escape"), &["succeeded"]).gear(writes_files),
        runs(of!(rust "file_flood"), &["succeeded"]).gear(reads_files),
        runs(of!(rust "disk_flood"), &["succeeded"]).gear(fills_files).check(disk_has_room),
        runs(of!(rust "stream_hoard"), &["succeeded"]).memory_mib(4).gear(reads_files),
        runs(of!(rust "open_files"), &["timed-out", "trapped"]).deadline_ms(1500).gear(reads_files),
        runs(of!(rust "pipe_open"), &["succeeded"]).gear(writes_files),
        runs(of!(rust "sockets"), &["succeeded"]).gear(host),
        runs(of!(rust "http_host"), &["succeeded"]).gear(host).check(pulse_goes_on),
        runs(of!(rust "http_redirect"), &["succeeded"]).gear(redirects).check(nobody_called),
        runs(of!(rust "http_private_name"), &["succeeded"]).gear(inside).on_own_host().check(nobody_called),
        runs(of!(rust "http_silent"), &["timed-out"]).gear(silent).hung_in("http"),
        runs(of!(rust "http_drip"), &["timed-out"]).gear(|ground| calls("drip", ground.drip.to_string())),
        runs(of!(rust "http_body_flood"), &["timed-out", "out-of-memory"])
            .gear(|ground| calls("flood", ground.flood.to_string())),
        runs(of!(rust "http_head_flood"), &["succeeded", "timed-out"])
            .deadline_ms(1500)
            .gear(|ground| calls("heads", ground.heads.to_string())),
        runs(of!(rust "http_log_flood"), &["timed-out", "trapped"]).check(log_is_bounded),
        runs(of!(rust "http_connections"), &["timed-out"]).gear(silent),
        runs(of!(rust "dns_hang"), &["timed-out"])
            .gear(|_| Gear { http: vec!["*.hangs.invalid".into()], ..Gear::default() })
            .check(other_names_are_found)
            .on_own_host(),
    ]
}

fn calls(setting: &'static str, address: String) -> Gear {
    Gear { settings: vec![(setting, format!("http://{address}/"))], http: vec![address], ..Gear::default() }
}

fn silent(ground: &Environment) -> Gear {
    calls("silent", ground.silent.to_string())
}

fn redirects(ground: &Environment) -> Gear {
    calls("redirects", ground.redirects.to_string())
}

/// Returns a name that the resolver of a host that is started here resolves to 127.0.0.1.
fn inside(ground: &Environment) -> Gear {
    calls("inside", format!("name.inside.invalid:{}", ground.inside.port()))
}

fn reads_files(ground: &Environment) -> Gear {
    Gear { grants: ground.open_box(false), ..Gear::default() }
}

fn writes_files(ground: &Environment) -> Gear {
    Gear { grants: ground.open_box(true), ..Gear::default() }
}

fn fills_files(ground: &Environment) -> Gear {
    Gear { grants: ground.small_box(), ..Gear::default() }
}

fn disk_has_room(host: &Host, _: &Attack, _: &[Value]) -> Result<()> {
    let (bytes, entries) = host.ground.small_box_holds()?;
    ensure!(bytes <= SMALL_BOX.0 && entries <= SMALL_BOX.1, "{bytes} bytes and {entries} entries are there");
    Ok(())
}

fn nobody_called(host: &Host, _: &Attack, _: &[Value]) -> Result<()> {
    ensure!(host.ground.inside_called() == 0, "the service inside was called");
    Ok(())
}

/// The lines that the libraries which the guest annoys may log in all.
const COMPLAINTS: usize = 1000;

fn log_is_bounded(host: &Host, _: &Attack, _: &[Value]) -> Result<()> {
    let complaints = host.log(0).iter().filter(|line| line.contains("http request error")).count();
    ensure!(complaints > 0 || !host.is_own(), "the library said nothing: the attack is none");
    ensure!(complaints <= COMPLAINTS, "the host's log has {complaints} lines of it");
    Ok(())
}

fn pulse_goes_on(host: &Host, _: &Attack, _: &[Value]) -> Result<()> {
    ensure!(host.get(&format!("/v1/tasks/{PULSE}"))?["paused"] == false, "a guest had the host pause a task");
    Ok(())
}

/// While the names still hang, another task's name leads to a private address, and its call fails with that reason.
fn other_names_are_found(host: &Host, _: &Attack, _: &[Value]) -> Result<()> {
    let other = attacks().into_iter().find(|attack| attack.file == "http_private_name").context("it is in the list")?;
    let task = "hostile-other-name";
    host.put(task, &host.guest, &other.manifest(task, &host.ground))?;
    ensure!(host.taken_up(task)?.is_none(), "it is quarantined");
    let run = host.wait(host.trigger(task)?)?;
    host.take_away(&[task.to_owned()])?;
    ensure!(run["run"]["state"] == "succeeded", "another task's look-up was kept waiting: {}", run["run"]);
    Ok(())
}
