//! Decides which settings a running host takes over, and which need a restart.

use super::{Cache, Config, Enqueued, Events, Host, Http, Log, Machine, RetentionLimits, Runtime, Store, Tenant};
use sexton_domain::task::Name;

impl Config {
    /// Returns this configuration with all settings of `new` that can change while a host is up.
    pub fn with_changeable_of(&self, new: &Self) -> Self {
        let mut mixed = self.clone();
        mixed.machine.poll = new.machine.poll;
        mixed.machine.grace = new.machine.grace;
        mixed.retention = new.retention.clone();
        mixed.cache = new.cache.clone();
        mixed.enqueued = new.enqueued.clone();
        mixed.log.filter.clone_from(&new.log.filter);
        for (name, tenant) in &mut mixed.tenants {
            if let Some(new) = new.tenants.get(name) {
                *tenant = Tenant { plugins: tenant.plugins.clone(), ..new.clone() };
            }
        }
        // The default tenant exists whether the file names it or not.
        let default = Name::default_tenant();
        match new.tenants.get(&default) {
            Some(tenant) => drop(mixed.tenants.insert(default, tenant.clone())),
            None => drop(mixed.tenants.remove(&default)),
        }
        mixed
    }

    /// Returns the keys with different values in `other`, such as `machine.poll`.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        // The struct is destructured in full, so that no key is forgotten here.
        let Self { host, http, store, runtime, machine, retention, events, cache, enqueued, log, tenants } = self;
        let mut found = Vec::new();
        let mut note = |key: &str, same: bool| found.extend((!same).then(|| key.to_owned()));
        let Host { name, labels, plugins, publish, var } = host;
        note("host.name", *name == other.host.name);
        note("host.labels", *labels == other.host.labels);
        note("host.plugins", *plugins == other.host.plugins);
        note("host.publish", *publish == other.host.publish);
        note("host.var", *var == other.host.var);
        let Http { listen } = http;
        note("http.listen", *listen == other.http.listen);
        let Store { path, synchronous, url, schema, ca } = store;
        note("store.path", *path == other.store.path);
        note("store.synchronous", *synchronous == other.store.synchronous);
        note("store.url", *url == other.store.url);
        note("store.schema", *schema == other.store.schema);
        note("store.ca", *ca == other.store.ca);
        let Runtime { threads, slots, max_memory, tick, max_component, compile_time, compile_memory, code } = runtime;
        note("runtime.threads", *threads == other.runtime.threads);
        note("runtime.slots", *slots == other.runtime.slots);
        note("runtime.max-memory", *max_memory == other.runtime.max_memory);
        note("runtime.tick", *tick == other.runtime.tick);
        note("runtime.max-component", *max_component == other.runtime.max_component);
        note("runtime.compile-time", *compile_time == other.runtime.compile_time);
        note("runtime.compile-memory", *compile_memory == other.runtime.compile_memory);
        note("runtime.code", *code == other.runtime.code);
        let Machine { lease, poll, grace, suspect_after } = machine;
        note("machine.lease", *lease == other.machine.lease);
        note("machine.poll", *poll == other.machine.poll);
        note("machine.grace", *grace == other.machine.grace);
        note("machine.suspect-after", *suspect_after == other.machine.suspect_after);
        let RetentionLimits { runs, age, bytes } = retention;
        note("retention.runs", *runs == other.retention.runs);
        note("retention.age", *age == other.retention.age);
        note("retention.bytes", *bytes == other.retention.bytes);
        let Events { keep, age } = events;
        note("events.keep", *keep == other.events.keep);
        note("events.age", *age == other.events.age);
        let Cache { quota } = cache;
        note("cache.quota", *quota == other.cache.quota);
        let Enqueued { task, tenant, horizon } = enqueued;
        note("enqueued.task", *task == other.enqueued.task);
        note("enqueued.tenant", *tenant == other.enqueued.tenant);
        note("enqueued.horizon", *horizon == other.enqueued.horizon);
        let Log { format, filter } = log;
        note("log.format", *format == other.log.format);
        note("log.filter", *filter == other.log.filter);
        let names = tenants.keys().chain(other.tenants.keys().filter(|name| !tenants.contains_key(name)));
        for name in names {
            match (tenants.get(name), other.tenants.get(name)) {
                (Some(one), Some(two)) => {
                    let Tenant { plugins, runs, fuel_per_minute, cache, tasks } = one;
                    note(&format!("tenants.{name}.plugins"), *plugins == two.plugins);
                    note(&format!("tenants.{name}.runs"), *runs == two.runs);
                    note(&format!("tenants.{name}.fuel-per-minute"), *fuel_per_minute == two.fuel_per_minute);
                    note(&format!("tenants.{name}.cache"), *cache == two.cache);
                    note(&format!("tenants.{name}.tasks"), *tasks == two.tasks);
                }
                _ => note(&format!("tenants.{name}"), false),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse("sexton.toml", text).unwrap()
    }

    /// Returns the keys that are taken over, and those that need a restart, when `old` becomes `new`.
    fn changed(old: &str, new: &str) -> (String, String) {
        let (old, new) = (config(old), config(new));
        let mixed = old.with_changeable_of(&new);
        (old.differences(&mixed).join(" "), mixed.differences(&new).join(" "))
    }

    #[test]
    fn keys_that_can_change_are_distinguished_from_those_that_need_a_restart() {
        let new = "[http]\nlisten = \"127.0.0.1:1\"\n[runtime]\nslots = 9\n[machine]\nlease = \"20s\"\npoll = \"2s\"\n\
                   grace = \"1s\"\n[retention]\nruns = 5\n[cache]\nquota = \"1 MiB\"\n[log]\nformat = \"json\"\nfilter = \"warn\"";

        let (now, later) = changed("", new);

        assert_eq!(now, "machine.poll machine.grace retention.runs cache.quota log.filter");
        assert_eq!(later, "http.listen runtime.slots machine.lease log.format");
    }

    #[test]
    fn limits_of_a_tenant_change_at_once_and_tenants_only_with_a_restart() {
        let old = "[tenants.a]\nplugins = \"a\"\nruns = 1\n[tenants.b]\nplugins = \"b\"";
        let new = "[tenants.a]\nplugins = \"aa\"\nruns = 2\n[tenants.c]\nplugins = \"c\"";

        assert_eq!(changed(old, new), ("tenants.a.runs".into(), "tenants.a.plugins tenants.b tenants.c".into()));
        assert_eq!(changed("", "[tenants.default]\nruns = 2"), ("tenants.default".into(), String::new()));
        assert_eq!(changed("[tenants.default]\nruns = 2", ""), ("tenants.default".into(), String::new()));
    }

    #[test]
    fn another_database_or_name_needs_a_restart_and_no_password_is_shown() {
        let old = "[host]\nname = \"a\"\n[store]\nurl = \"postgres://ada:secret@db.example/jobs\"";
        let new = "[host]\nname = \"b\"\nlabels = [\"gpu\"]\n[store]\nurl = \"postgres://ada:other@db.example/jobs\"\n\
                   schema = \"test\"\nca = \"ca.pem\"";

        assert_eq!(changed(old, new), (String::new(), "host.name host.labels store.url store.schema store.ca".into()));
    }

    #[test]
    fn equal_values_are_no_difference() {
        let text = "[runtime]\nslots = 9\n[tenants.a]\nplugins = \"a\"";
        assert_eq!(changed(text, text), (String::new(), String::new()));
    }
}
