//! Implements `profile`: writes a file that shows what a run spends its time on.

use std::path::{Path, PathBuf};

use super::args::ProfileArgs;
use super::client::{Client, decode};
use super::error::CliError;
use super::screen::Screen;
use sexton_domain::lengths::millis;

/// The viewer for the file.
const VIEWER: &str = "https://profiler.firefox.com";

pub(super) fn profile(client: &Client, args: &ProfileArgs, screen: &Screen) -> Result<(), CliError> {
    let run = args.run;
    let json = client.text_within(&format!("/v1/runs/{run}/profile?for_ms={}", millis(args.length)), args.length)?;
    let file = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("run-{run}.profile.json")));
    if file == Path::new("-") {
        return screen.json(&json);
    }
    // A wrong response is detected before the file is created.
    let profile: serde_json::Value = decode(&json)?;
    let samples = profile["threads"][0]["samples"]["length"].as_u64().unwrap_or(0);
    std::fs::write(&file, &json).map_err(|e| CliError::usage(format!("cannot write `{}`: {e}", file.display())))?;
    screen.line(&format!("Wrote `{}` with {samples} samples; open it at {VIEWER}", file.display()))
}
