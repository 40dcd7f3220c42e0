#!/usr/bin/env bash
# Run the host with the examples' remotes beside it; both end together. Takes the directory with the built programs, and
# the address of the remotes if plugins/frontpage.toml names another than theirs.
set -euo pipefail

"$1/remotes" --seed 1 --listen "${2:-127.0.0.1:7400}" &
remotes=$!
trap 'kill "$remotes" 2>/dev/null || true; wait "$remotes" 2>/dev/null || true' EXIT
# In the foreground: Ctrl-C reaches the host, which stops in its own three steps.
"$1/sexton" run
