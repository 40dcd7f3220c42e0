#!/usr/bin/env bash
# Run the host with the examples' remotes beside it; both end together. Takes the directory with the built programs.
set -euo pipefail

"$1/remotes" --seed 1 &
remotes=$!
trap 'kill "$remotes" 2>/dev/null || true' EXIT
# In the foreground: Ctrl-C reaches the host, which stops in its own three steps.
"$1/sexton" run
