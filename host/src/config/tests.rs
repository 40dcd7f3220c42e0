use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn parse(text: &str) -> Config {
    Config::parse("sexton.toml", text).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(parse(""), Config::default());
    assert_eq!(parse("[http]\n[runtime]\n"), Config::default());
}

/// A configuration with every key.
const WHOLE: &str = r#"
[host]
name = "Bell-1"
labels = ["gpu", "eu"]
publish = true
plugins = "/srv/plugins"
var = "/var/lib/sexton"
[http]
listen = "[::1]:0"
[store]
path = "runs.db"
synchronous = "normal"
[runtime]
threads = 3
slots = 10
max-memory = "1 GiB"
tick = "1ms"
max-component = "8 MiB"
compile-time = "5s"
compile-memory = "2 GiB"
code = "/var/lib/sexton-code"
[machine]
lease = "1m"
poll = "200ms"
grace = "0s"
suspect-after = 3
[retention]
runs = 5
age = "1d"
bytes = "1 GiB"
[events]
keep = 0
age = "2h"
[cache]
quota = "1 MiB"
[enqueued]
task = "1 MiB"
tenant = "2 MiB"
horizon = "30d"
[log]
format = "json"
filter = "warn,sexton=debug"
[tenants.acme]
plugins = "/srv/acme"
runs = 4
fuel-per-minute = 1_000_000
cache = "2 MiB"
tasks = 700
[tenants.other]
plugins = "other"
[tenants.default]
runs = 9
"#;

fn whole() -> Config {
    Config {
        host: Host {
            name: Some("Bell-1".into()),
            labels: vec![name("gpu"), name("eu")],
            publish: true,
            plugins: "/srv/plugins".into(),
            var: "/var/lib/sexton".into(),
        },
        http: Http { listen: "[::1]:0".parse().unwrap() },
        store: Store { path: Some("runs.db".into()), synchronous: Synchronous::Normal, ..Store::default() },
        runtime: Runtime {
            threads: 3,
            slots: 10,
            max_memory: 1 << 30,
            tick: Duration::from_millis(1),
            max_component: 8 << 20,
            compile_time: Duration::from_secs(5),
            compile_memory: 2 << 30,
            code: Some("/var/lib/sexton-code".into()),
        },
        machine: Machine {
            lease: Duration::from_secs(60),
            poll: Duration::from_millis(200),
            grace: Duration::ZERO,
            suspect_after: 3,
        },
        retention: RetentionLimits { runs: 5, age: Duration::from_secs(86_400), bytes: 1 << 30 },
        events: Events { keep: 0, age: Duration::from_secs(7200) },
        cache: Cache { quota: 1 << 20 },
        enqueued: Enqueued { task: 1 << 20, tenant: 2 << 20, horizon: Duration::from_secs(30 * 86_400) },
        log: Log { format: LogFormat::Json, filter: "warn,sexton=debug".into() },
        tenants: BTreeMap::from([
            (
                name("acme"),
                Tenant {
                    plugins: Some("/srv/acme".into()),
                    runs: Some(4),
                    fuel_per_minute: Some(1_000_000),
                    cache: Some(2 << 20),
                    tasks: Some(700),
                },
            ),
            (name("other"), Tenant { plugins: Some("other".into()), ..Tenant::default() }),
            (name("default"), Tenant { runs: Some(9), ..Tenant::default() }),
        ]),
    }
}

#[test]
fn everything_that_the_configuration_can_say_is_understood() {
    assert_eq!(parse(WHOLE), whole());
}

#[test]
fn limits_of_tenants_and_places_of_files_follow_from_a_configuration() {
    let config = whole();

    let tenants = config.tenants();
    assert_eq!(
        tenants.get(&name("acme")),
        Some(TenantLimits {
            runs: Some(4),
            fuel_per_minute: Some(1_000_000),
            cache: 2 << 20,
            tasks: 700,
            backlog: BacklogLimits { task: 1 << 20, tenant: 2 << 20, horizon: Duration::from_secs(30 * 86_400) },
        })
    );
    assert_eq!(tenants.get(&name("default")).unwrap().runs, Some(9));
    assert_eq!(tenants.get(&name("other")).unwrap().tasks, USUAL_TASKS);
    assert_eq!([tenants.cache(&name("other")), tenants.cache(&name("nobody"))], [1 << 20, 0]);
    let directories: Vec<_> = config.directories().into_iter().map(|(name, path)| format!("{name} {path:?}")).collect();
    assert_eq!(directories, [r#"default "/srv/plugins""#, r#"acme "/srv/acme""#, r#"other "other""#]);
    assert_eq!(config.database(), Path::new("runs.db"));
    assert_eq!(config.runtime().code_cache, Path::new("/var/lib/sexton-code"));
    let usual = Config { runtime: Runtime::default(), ..config.clone() };
    assert_eq!(usual.runtime().code_cache, Path::new("/var/lib/sexton/code"));
    assert_eq!(config.retention().runs, 5);
    assert_eq!(config.host_name(), "Bell-1");
    assert_eq!(Config::default().database(), Path::new("var/sexton.db"));
}

#[test]
fn a_database_takes_the_place_of_a_file_and_names_the_host_after_its_machine() {
    let config =
        parse("[store]\nurl = \"postgres://ada:secret@db.example/jobs\"\nschema = \"bells_2\"\nca = \"ca.pem\"");

    let Store { path, url, schema, ca, .. } = config.store.clone();
    assert_eq!((path, schema.as_str(), ca), (None, "bells_2", Some("ca.pem".into())));
    assert_eq!(url, Some(DatabaseUrl::new("postgres://ada:secret@db.example/jobs").unwrap()));
    assert!(!format!("{config:?}").contains("secret"), "{config:?}");
    assert_eq!(config.host_name(), names::of_machine());
    assert_eq!(Config::default().host_name(), "sexton");
    assert_eq!(Config::default().store.schema, "sexton");
}

#[test]
fn a_url_from_elsewhere_takes_the_place_of_the_files_and_has_no_file_beside_it() {
    let url = |text: &str| Some(DatabaseUrl::new(text).unwrap());
    let with = |text: &str, url: Option<DatabaseUrl>| parse(text).store.with_url(url).map(|store| store.url);
    let (ours, other) = ("[store]\nurl = \"postgres://a.example/jobs\"", "postgres://b.example/jobs");

    assert_eq!(with("", url(other)), Ok(url(other)));
    assert_eq!(with(ours, url(other)), Ok(url(other)));
    assert_eq!(with(ours, None), Ok(url("postgres://a.example/jobs")));
    assert_eq!(with("", None), Ok(None));
    for (wrong, other) in [
        ("[store]\npath = \"a.db\"", Some(other)),
        ("[store]\nsynchronous = \"normal\"", Some(other)),
        ("[store]\nschema = \"a\"", None),
        ("[store]\nca = \"ca.pem\"", None),
    ] {
        assert!(with(wrong, other.and_then(url)).is_err(), "{wrong}");
    }
}

/// Configurations with a mistake, and the error for each.
const WRONG: &[(&str, &str)] = &[
    (
        "[htp]\n",
        "sexton.toml:1: unknown key `htp` at the top; did you mean `http`? known keys: host, http, store, runtime, machine, retention, events, cache, enqueued, log, tenants",
    ),
    ("[http]\nport = 80\n", "sexton.toml:2: unknown key `port` in [http]; known keys: listen"),
    (
        "[http]\nlisten = 7070\n",
        "sexton.toml:2: `http.listen`: 7070 is not a text; write an address and a port such as \"127.0.0.1:7070\"",
    ),
    (
        "[http]\nlisten = \"7070\"\n",
        "sexton.toml:2: `http.listen`: \"7070\" is not an address and a port; write one such as \"127.0.0.1:7070\" or \"[::1]:7070\"",
    ),
    (
        "[http]\nlisten = \"0.0.0.0:80\"\n",
        "sexton.toml:2: `http.listen`: \"0.0.0.0:80\" can be reached from other machines, and the API admits every client; write \"127.0.0.1:80\"",
    ),
    (
        "[host]\nname = \"a b\"\n",
        "sexton.toml:2: `host.name`: \"a b\" is not a name; write 1 to 64 of a-z, A-Z, 0-9, `-`, `_` and `.`",
    ),
    ("[host]\npublish = \"yes\"\n", "sexton.toml:2: `host.publish`: \"yes\" is not allowed here; write true or false"),
    (
        "[host]\nlabels = \"gpu\"\n",
        "sexton.toml:2: `host.labels`: \"gpu\" is not allowed here; write a list in brackets",
    ),
    (
        "[store]\nurl = \"mysql://ada:secret@db.example/jobs\"\n",
        "sexton.toml:2: `store.url`: a database's URL begins with `postgres://`; write the URL of a PostgreSQL database such as \"postgres://sexton@db.example/sexton\"",
    ),
    (
        "[store]\npath = \"a.db\"\nurl = \"postgres://db.example/jobs\"\n",
        "sexton.toml:1: `store.url` names a database, but `store.path` is for a file; remove one of them",
    ),
    (
        "[log]\n[store]\nsynchronous = \"full\"\nurl = \"postgres://db.example/jobs\"\n",
        "sexton.toml:2: `store.url` names a database, but `store.synchronous` is for a file; remove one of them",
    ),
    (
        "[store]\nschema = \"Sexton\"\n",
        "sexton.toml:2: `store.schema`: \"Sexton\" is not the name of a schema; write 1 to 63 of a-z, 0-9 and `_`, beginning with a letter",
    ),
    ("[host]\nvar = \"\"\n", "sexton.toml:2: `host.var`: there is no such path; write another"),
    (
        "[store]\nsynchronous = \"off\"\n",
        "sexton.toml:2: `store.synchronous`: \"off\" is not known; write \"full\" (nothing is lost) or \"normal\" (a power failure may cost the last moments)",
    ),
    (
        "[runtime]\nslots = 0\n",
        "sexton.toml:2: `runtime.slots`: 0 is out of range; write a whole number from 1 to 10000",
    ),
    ("[runtime]\ntick = 5\n", "sexton.toml:2: `runtime.tick`: 5 has no unit; write \"5s\" if seconds are meant"),
    (
        "[runtime]\nmax-memory = \"8 GiB\"\n",
        "sexton.toml:2: `runtime.max-memory`: \"8 GiB\" is out of range; write \"1 MiB\" to \"4 GiB\"",
    ),
    (
        "[machine]\nlease = \"10ms\"\n",
        "sexton.toml:2: `machine.lease`: \"10ms\" is out of range; write \"1s\" to \"1h\"",
    ),
    (
        "[retention]\nage = \"0s\"\n",
        "sexton.toml:2: `retention.age`: \"0s\" is out of range; write \"1m\" to \"3660d\"",
    ),
    ("[log]\nformat = \"xml\"\n", "sexton.toml:2: `log.format`: \"xml\" is not known; write \"text\" or \"json\""),
    (
        "[log]\nfilter = \"sexton=loud\"\n",
        "sexton.toml:2: `log.filter`: \"sexton=loud\" is not a filter; write one such as \"info\" or \"warn,sexton=debug\"",
    ),
    (
        "[tenants.acme]\nruns = 3\n",
        "sexton.toml:1: `tenants.acme`: `plugins` is missing; add the directory with its plugins",
    ),
    (
        "[tenants.default]\nplugins = \"a\"\n",
        "sexton.toml:1: `tenants.default.plugins`: the default tenant's directory is `[host] plugins`; set that",
    ),
    (
        "[tenants.acme]\nplugins = \"a\"\nfuel = 1\n",
        "sexton.toml:3: unknown key `fuel` in [tenants.acme]; did you mean `fuel-per-minute`? known keys: plugins, runs, fuel-per-minute, cache, tasks",
    ),
    (
        "[tenants.acme]\nplugins = \"a\"\nruns = 0\n",
        "sexton.toml:3: `tenants.acme.runs`: 0 is out of range; write a whole number from 1 to 10000",
    ),
    (
        "[tenants.ACME]\nplugins = \"a\"\n",
        "sexton.toml:1: `tenants`: `ACME` is not a name: use 1 to 64 of a-z, 0-9, `-`, `_` and `.`, beginning with a letter or a digit",
    ),
    ("log = 3\n", "sexton.toml:1: `log`: 3 is not allowed here; write a table"),
];

#[test]
fn an_error_is_one_line_with_its_position_and_what_to_do() {
    for (text, expected) in WRONG {
        assert_eq!(Config::parse("sexton.toml", text).unwrap_err().to_string(), *expected, "{text}");
    }
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mine.toml");

    let missing = Config::load(Some(&path)).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read the configuration `") && missing.contains("mine.toml"), "{missing}");

    std::fs::write(&path, "[retention]\nruns = 7\n").unwrap();
    assert_eq!(Config::load(Some(&path)).unwrap().retention.runs, 7);
}
