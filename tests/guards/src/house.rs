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
        Crate { name: "sexton_testkit", root: "host/testkit/src/lib.rs" },
        Crate { name: "sexton_task", root: "sdk/src/lib.rs" },
        Crate { name: "hostile", root: "tests/hostile/src/main.rs" },
        Crate { name: "chaos", root: "tests/chaos/src/main.rs" },
        Crate { name: "guards", root: "tests/guards/src/lib.rs" },
        Crate { name: "e2e", root: "tests/e2e/main.rs" },
    ],
    rooms: &[
        Room {
            name: "domain",
            modules: &[
                "sexton::lifecycle",
                "sexton::pause",
                "sexton::retry",
                "sexton::run",
                "sexton::schedule",
                "sexton::supervision",
                "sexton::task",
                "sexton::tenant",
                "sexton::time",
            ],
        },
        Room { name: "store", modules: &["sexton::store"] },
        Room { name: "attempt", modules: &["sexton::attempt"] },
        Room { name: "runtime", modules: &["sexton::runtime"] },
        Room { name: "imports", modules: &["sexton::imports"] },
        Room { name: "ops", modules: &["sexton::ops"] },
        Room { name: "machine", modules: &["sexton::machine"] },
        Room { name: "plugins", modules: &["sexton::plugins"] },
        Room { name: "config", modules: &["sexton::config"] },
        Room { name: "http", modules: &["sexton::http"] },
        Room { name: "cli", modules: &["sexton::cli"] },
        Room { name: "simulation", modules: &["sexton::simulation"] },
        Room { name: "host", modules: &["sexton::host"] },
        Room { name: "catalog", modules: &["sexton::catalog"] },
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
            rooms: &["store"],
            may_not_use: &[
                WASMTIME,
                CLOCKS,
                &["sexton::runtime", "sexton::imports", "sexton::machine", "sexton::http", "sexton::lifecycle::after"],
            ],
            because: "the store keeps facts: it decides nothing and asks no clock",
        },
        Rule {
            rooms: &["ops", "machine", "plugins", "config", "http", "cli", "simulation", "host", "catalog"],
            may_not_use: &[WASMTIME, DATABASES],
            because: "only `runtime` and `imports` know wasmtime, and only the store knows SQL",
        },
        Rule {
            rooms: &["attempt"],
            may_not_use: &[
                WASMTIME,
                DATABASES,
                &[
                    "sexton::runtime",
                    "sexton::imports",
                    "sexton::machine",
                    "sexton::http",
                    "sexton::cli",
                    "sexton::plugins",
                ],
            ],
            because: "an attempt under way is what imports, runtime and machine stand on",
        },
        Rule {
            rooms: &["runtime"],
            may_not_use: &[
                DATABASES,
                &["sexton::ops", "sexton::machine", "sexton::http", "sexton::cli", "sexton::retry", "sexton::schedule"],
            ],
            because: "the runtime runs a component; what follows is decided elsewhere",
        },
        Rule {
            rooms: &["imports"],
            may_not_use: &[
                DATABASES,
                &[
                    "sexton::runtime",
                    "sexton::catalog",
                    "sexton::ops",
                    "sexton::machine",
                    "sexton::http",
                    "sexton::cli",
                ],
            ],
            because: "a capability knows its attempt and the store, not what runs it",
        },
        Rule {
            rooms: &["http"],
            may_not_use: &[&["sexton::runtime::Runtime", "sexton::imports", "sexton::cli", "sexton::simulation"]],
            because: "the API shows and accepts: it runs nothing",
        },
        Rule {
            rooms: &["http"],
            may_not_use: &[&[
                "RunInfo",
                "AttemptInfo",
                "HeldLock",
                "EntryInfo",
                "StoreStats",
                "TaskState",
                "LatestRuns",
                "sexton::store::hosts::HostInfo",
            ]],
            because: "a row of the store becomes an answer in `http::api_types`, and the rest reads answers",
        },
        Rule { rooms: &["http"], may_not_use: &[&["CacheWrite", "NewRun"]], because: "`ops` decides what is written" },
        Rule {
            rooms: &["ops"],
            may_not_use: &[&["sexton::http", "sexton::cli", "sexton::config", "sexton::plugins", "axum", "http"]],
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
            may_not_use: &[&["sexton::store"]],
            because: "the command line reads the API's JSON, whose types are in `http::api_types`",
        },
    ],
    permits: &[
        Permit { module: "sexton::http::api_types", may_use: "sexton::store", because: "rows become answers there" },
        Permit {
            module: "sexton::store::transfer",
            may_use: "serde",
            because: "the digest of a moved record is that of its JSON, and the key of the last one is kept as JSON",
        },
        Permit {
            module: "sexton::cli::backup",
            may_use: "sexton::store",
            because: "it copies the file of a store without a host",
        },
        Permit {
            module: "sexton::cli::migrate",
            may_use: "sexton::store",
            because: "it moves one store into another without a host",
        },
        Permit {
            module: "sexton::cli::serve",
            may_use: "sexton::store::postgres",
            because: "it hands the address of the database to the host that it starts",
        },
    ],
    longest_file: 600,
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
    Area { path: "host/src/attempt", most: 0 },
    Area { path: "host/src/cli", most: 0 },
    Area { path: "host/src/config", most: 0 },
    Area { path: "host/src/host", most: 0 },
    Area { path: "host/src/http", most: 0 },
    Area { path: "host/src/imports", most: 0 },
    Area { path: "host/src/machine", most: 0 },
    Area { path: "host/src/ops", most: 0 },
    Area { path: "host/src/plugins", most: 0 },
    Area { path: "host/src/runtime", most: 0 },
    Area { path: "host/src/schedule", most: 0 },
    Area { path: "host/src/simulation", most: 0 },
    Area { path: "host/src/store", most: 0 },
    Area { path: "host/src/supervisor", most: 0 },
    Area { path: "host/src/telemetry", most: 0 },
    Area { path: "sdk", most: 0 },
    Area { path: "tests", most: 0 },
    Area { path: "tests/chaos", most: 0 },
    Area { path: "tests/e2e", most: 0 },
    Area { path: "tests/hostile", most: 0 },
    Area { path: "wit", most: 0 },
];
