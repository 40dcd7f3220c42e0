//! Holds the rules of this house. The names of rooms are those of ARCHITECTURE.md.

use crate::check::{Permit, Repository, Room, Rule};
use crate::prose::Area;
use crate::source::Crate;

/// Crates that know a database.
const DATABASES: &[&str] = &[
    "rusqlite",
    "libsqlite3_sys",
    "tokio_postgres",
    "deadpool",
    "deadpool_postgres",
    "tokio_postgres_rustls",
    "postgres_types",
];

/// Crates that know WebAssembly.
const WASMTIME: &[&str] = &[
    "wasmtime",
    "wasmtime_wasi",
    "wasmtime_wasi_http",
    "wasmtime_wasi_io",
    "wasmtime_environ",
    "wasmparser",
    "cranelift_codegen",
];

/// Ways to read the time of day.
const CLOCKS: &[&str] = &["Utc::now", "Local::now", "SystemTime::now"];

/// The rules, and the code that is read to check them.
pub const HOUSE: Repository = Repository {
    crates: &[
        Crate { name: "sexton", root: "host/src/lib.rs" },
        Crate { name: "sexton_domain", root: "host/domain/src/lib.rs" },
        Crate { name: "sexton_runtime", root: "host/runtime/src/lib.rs" },
        Crate { name: "sexton_store", root: "host/store/src/lib.rs" },
        Crate { name: "sexton_system", root: "host/system/src/lib.rs" },
        Crate { name: "sexton_testkit", root: "host/testkit/src/lib.rs" },
        Crate { name: "sexton_task", root: "sdk/src/lib.rs" },
        Crate { name: "hostile", root: "tests/hostile/src/main.rs" },
        Crate { name: "chaos", root: "tests/chaos/src/main.rs" },
        Crate { name: "guards", root: "tests/guards/src/lib.rs" },
        Crate { name: "e2e", root: "tests/e2e/main.rs" },
    ],
    rooms: &[
        Room { name: "domain", modules: &["sexton_domain"] },
        Room { name: "system", modules: &["sexton_system"] },
        Room { name: "store", modules: &["sexton_store"] },
        Room { name: "catalog", modules: &["sexton_runtime::catalog"] },
        Room { name: "attempt", modules: &["sexton_runtime::attempt"] },
        Room { name: "imports", modules: &["sexton_runtime::imports"] },
        Room { name: "runtime", modules: &["sexton_runtime::runtime"] },
        Room { name: "ops", modules: &["sexton::ops"] },
        Room { name: "machine", modules: &["sexton::machine"] },
        Room { name: "plugins", modules: &["sexton::plugins"] },
        Room { name: "config", modules: &["sexton::config"] },
        Room { name: "http", modules: &["sexton::http"] },
        Room { name: "dashboard", modules: &["sexton::dashboard"] },
        Room { name: "cli", modules: &["sexton::cli"] },
        Room { name: "simulation", modules: &["sexton::simulation"] },
        Room { name: "host", modules: &["sexton::host"] },
    ],
    rules: &[
        Rule {
            rooms: &["domain"],
            may_not_use: &[
                WASMTIME,
                DATABASES,
                CLOCKS,
                &["Instant::now", "tokio", "tracing", "std::fs", "std::net", "std::process", "async"],
            ],
            because: "the domain knows no IO, clock, SQL or wasmtime",
        },
        Rule {
            rooms: &["system"],
            may_not_use: &[WASMTIME, DATABASES],
            because: "the store and the runtime stand on it",
        },
        Rule {
            rooms: &["store"],
            may_not_use: &[WASMTIME, CLOCKS, &["sexton_domain::lifecycle::after"]],
            because: "the store keeps facts: it decides nothing and asks no clock",
        },
        Rule {
            rooms: &[
                "ops",
                "machine",
                "plugins",
                "config",
                "http",
                "dashboard",
                "cli",
                "simulation",
                "host",
                "catalog",
            ],
            may_not_use: &[WASMTIME, DATABASES],
            because: "only `runtime` and `imports` know wasmtime, and only the store knows SQL",
        },
        Rule {
            rooms: &["attempt"],
            may_not_use: &[WASMTIME, DATABASES, &["sexton_runtime::runtime", "sexton_runtime::imports"]],
            because: "an attempt under way is what imports, runtime and machine stand on",
        },
        Rule {
            rooms: &["runtime"],
            may_not_use: &[DATABASES, &["sexton_domain::retry", "sexton_domain::schedule"]],
            because: "the runtime runs a component; what follows is decided elsewhere",
        },
        Rule {
            rooms: &["imports"],
            may_not_use: &[DATABASES, &["sexton_runtime::runtime", "sexton_runtime::catalog"]],
            because: "a capability knows its attempt and the store, not what runs it",
        },
        Rule {
            rooms: &["http", "dashboard"],
            may_not_use: &[&[
                "sexton_runtime::runtime::Runtime",
                "sexton_runtime::imports",
                "sexton::cli",
                "sexton::simulation",
            ]],
            because: "the API shows and accepts: it runs nothing",
        },
        Rule {
            rooms: &["http", "dashboard"],
            may_not_use: &[&[
                "RunInfo",
                "AttemptInfo",
                "HeldLock",
                "EntryInfo",
                "StoreStats",
                "TaskState",
                "LatestRuns",
                "sexton_store::hosts::HostInfo",
            ]],
            because: "a row of the store becomes an answer in `http::api_types`, and the rest reads answers",
        },
        Rule {
            rooms: &["http", "dashboard"],
            may_not_use: &[&["CacheWrite", "NewRun"]],
            because: "`ops` decides what is written",
        },
        Rule {
            rooms: &["http"],
            may_not_use: &[&["sexton::dashboard"]],
            because: "pages show the answers of the API, which knows no pages",
        },
        Rule {
            rooms: &["ops"],
            may_not_use: &[&[
                "sexton::http",
                "sexton::dashboard",
                "sexton::cli",
                "sexton::config",
                "sexton::plugins",
                "axum",
                "http",
            ]],
            because: "operations are decided for every face alike",
        },
        Rule {
            rooms: &["simulation"],
            may_not_use: &[&["sexton::http", "sexton::cli", "sexton::host", "SystemClock", "Instant::now"]],
            because: "a simulated host has a clock of its own and no network",
        },
        Rule {
            rooms: &["store"],
            may_not_use: &[&["serde"]],
            because: "rows of the store are not JSON: `http::api_types` says what the API shows of them",
        },
        Rule {
            rooms: &["cli"],
            may_not_use: &[&["sexton_store"]],
            because: "the command line reads the API's JSON, whose types are in `http::api_types`",
        },
    ],
    permits: &[
        Permit { module: "sexton::http::api_types", may_use: "sexton_store", because: "rows become answers there" },
        Permit {
            module: "sexton_store::transfer",
            may_use: "serde",
            because: "the digest of a moved record is that of its JSON, and the key of the last one is kept as JSON",
        },
        Permit {
            module: "sexton::cli::backup",
            may_use: "sexton_store",
            because: "it copies the file of a store without a host",
        },
        Permit {
            module: "sexton::cli::migrate",
            may_use: "sexton_store",
            because: "it moves one store into another without a host",
        },
        Permit {
            module: "sexton::cli::serve",
            may_use: "sexton_store::postgres",
            because: "it hands the address of the database to the host that it starts",
        },
    ],
    longest_file: 500,
    longest_function: 80,
    // That of `store::postgres`. This number only goes down.
    largest_circle: 3,
};

/// The number of sentences in each area that may be hard to read. These numbers only go down.
pub const AREAS: &[Area] = &[
    Area { path: "", most: 0 },
    Area { path: "docs", most: 0 },
    Area { path: "docs/design", most: 0 },
    Area { path: "examples", most: 0 },
    Area { path: "fuzz", most: 0 },
    Area { path: "host", most: 0 },
    Area { path: "host/runtime/src/attempt", most: 0 },
    Area { path: "host/src/cli", most: 0 },
    Area { path: "host/src/config", most: 0 },
    Area { path: "host/src/host", most: 0 },
    Area { path: "host/src/http", most: 0 },
    Area { path: "host/runtime/src/imports", most: 0 },
    Area { path: "host/src/machine", most: 0 },
    Area { path: "host/src/ops", most: 0 },
    Area { path: "host/src/plugins", most: 0 },
    Area { path: "host/runtime/src/runtime", most: 0 },
    Area { path: "host/domain", most: 0 },
    Area { path: "host/src/simulation", most: 0 },
    Area { path: "host/store", most: 0 },
    Area { path: "host/system", most: 0 },
    Area { path: "host/src/telemetry", most: 0 },
    Area { path: "sdk", most: 0 },
    Area { path: "tests", most: 0 },
    Area { path: "tests/chaos", most: 0 },
    Area { path: "tests/e2e", most: 0 },
    Area { path: "tests/hostile", most: 0 },
    Area { path: "wit", most: 0 },
];
