#!/usr/bin/env bash
# Fuzz one target for so many seconds: scripts/fuzz.sh TARGET SECONDS. It runs on stable Rust, with libFuzzer.
#
# What is found lies in target/fuzz/found, the inputs that reached something new in target/fuzz/corpus/TARGET: they are the
# start of the next run. Those worth keeping go into fuzz/corpus/TARGET, a fault's as a test of its own as well.
set -euo pipefail
cd "$(dirname "$0")/.."
name=${1:?which target: a [[bin]] of fuzz/Cargo.toml}
seconds=${2:-60}
# These need no more than the domain, all others the host.
case $name in crontab | words) features= ;; *) features=host ;; esac
folder=$(realpath -m "${CARGO_TARGET_DIR:-target}")/fuzz

# The versions that Sexton is built with; only libFuzzer's own crates are added to them.
cp Cargo.lock fuzz/Cargo.lock
RUSTC_WRAPPER=$PWD/fuzz/rustc.sh CARGO_TARGET_DIR=$folder "${CARGO:-cargo}" build --quiet \
  --manifest-path fuzz/Cargo.toml --features "$features" --bin "$name"
mkdir -p "$folder/corpus/$name" "$folder/found"
exec "$folder/debug/$name" -max_total_time="$seconds" -timeout=20 -max_len="${MAX_LEN:-4096}" -print_final_stats=1 \
  -artifact_prefix="$folder/found/$name-" "$folder/corpus/$name" "fuzz/corpus/$name"
