#!/usr/bin/env bash
# Fuzz one target for so many seconds: scripts/fuzz.sh TARGET SECONDS. It runs on stable Rust, with libFuzzer.
# What is after SECONDS goes to libFuzzer; MAX_LEN is the most bytes of an input.
#
# What is found lies in target/fuzz/found, the inputs that reached something new in target/fuzz/corpus/TARGET: they are the
# start of the next run. scripts/fuzz.sh TARGET keep replaces fuzz/corpus/TARGET by the few of all these inputs that reach most
# of the code. A fault that is found gets a test of its own as well.
set -euo pipefail
cd "$(dirname "$0")/.."
name=${1:?which target: a [[bin]] of fuzz/Cargo.toml}
seconds=${2:-60}
# These need no more than the domain, all others the host.
case $name in crontab | words) features= longest=300 ;; *) features=host longest=4096 ;; esac
folder=$(realpath -m "${CARGO_TARGET_DIR:-target}")/fuzz

# The versions that Sexton is built with; only libFuzzer's own crates are added to them.
cp Cargo.lock fuzz/Cargo.lock
machine=$(rustc -vV | sed -n 's/^host: //p')
RUSTC_WRAPPER=$PWD/fuzz/rustc.sh CARGO_TARGET_DIR=$folder "${CARGO:-cargo}" build --quiet \
  --manifest-path fuzz/Cargo.toml --features "$features" --bin "$name" --target "$machine"
program=$folder/$machine/debug/$name
mkdir -p "$folder/corpus/$name" "$folder/found"
if [ "$seconds" = keep ]; then
  kept=$(mktemp -d)
  trap 'rm -rf "$kept"' EXIT
  "$program" -merge=1 -set_cover_merge=1 -use_counters=0 "$kept" "fuzz/corpus/$name" "$folder/corpus/$name"
  rm -f "fuzz/corpus/$name"/*
  # They come in the order of how much each adds: the first 80 reach nine tenths of it.
  ls -tr "$kept" | head -n 80 | while read -r input; do cp "$kept/$input" "fuzz/corpus/$name"; done
  exit
fi
exec "$program" -max_total_time="$seconds" -timeout=60 -max_len="${MAX_LEN:-$longest}" -print_final_stats=1 \
  -dict="fuzz/dictionaries/$name.dict" -artifact_prefix="$folder/found/$name-" "${@:3}" "$folder/corpus/$name" "fuzz/corpus/$name"
