//! Plugins and tenants.

use super::{at, is_written_and_read, name};
use crate::http::api_types::plugins::{PluginShape, Plugins};
use crate::http::api_types::tenants::{TenantShape, Tenants};
use crate::plugins::PluginInfo;
use sexton_domain::run::HeldBack;

#[test]
fn a_plugin_shows_the_version_in_use_and_why_another_is_not() {
    let full = PluginInfo {
        name: "my greeter".to_owned(),
        tenant: name("acme"),
        digest: Some("ab12".to_owned()),
        size: 61_000,
        kind: Some("task".to_owned()),
        tasks: vec![name("greet"), name("part")],
        loaded_at: Some(at(1)),
        published_by: Some("box".to_owned()),
        quarantine: Some("no manifest".to_owned()),
    };
    let bad = PluginInfo {
        digest: None,
        kind: None,
        tasks: Vec::new(),
        loaded_at: None,
        published_by: None,
        quarantine: None,
        ..full.clone()
    };
    let plugins = vec![PluginShape::from(full), PluginShape::from(bad)];
    is_written_and_read(&Plugins { plugins, cursor: None }, &format!(r#"{{"plugins":[{FULL},{BAD}]}}"#));
}

const FULL: &str = r#"{"name":"my greeter","tenant":"acme","digest":"ab12","size":61000,"kind":"task",
    "tasks":["greet","part"],"loaded_at":"1970-01-01T00:00:01.000Z","published_by":"box","quarantine":"no manifest"}"#;

const BAD: &str = r#"{"name":"my greeter","tenant":"acme","digest":null,"size":61000,"kind":null,"tasks":[],
    "loaded_at":null,"quarantine":null}"#;

#[test]
fn a_tenant_shows_what_it_uses_of_its_limits() {
    let full = TenantShape {
        name: name("acme"),
        running: 1,
        runs: Some(2),
        fuel_left: Some(-3),
        fuel_per_minute: Some(4),
        cache: 5,
        cache_used: 6,
        held_back: Some(HeldBack { reason: "over its budget".to_owned(), until: Some(at(1)) }.into()),
        paused: Some("its tenant is paused".to_owned()),
    };
    let bare = TenantShape {
        runs: None,
        fuel_left: None,
        fuel_per_minute: None,
        held_back: None,
        paused: None,
        ..full.clone()
    };
    is_written_and_read(
        &Tenants { tenants: vec![full, bare] },
        r#"{"tenants":[{"name":"acme","running":1,"runs":2,"fuel_left":-3,"fuel_per_minute":4,"cache":5,"cache_used":6,
            "held_back":{"reason":"over its budget","until":"1970-01-01T00:00:01.000Z"},
            "paused":"its tenant is paused"},
            {"name":"acme","running":1,"runs":null,"fuel_left":null,"fuel_per_minute":null,"cache":5,"cache_used":6,
            "held_back":null}]}"#,
    );
}
