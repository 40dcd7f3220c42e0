//! `NAME.toml`: what the operator says about `NAME.wasm`.
