#!/usr/bin/env bash
# A wrapper around rustc (RUSTC_WRAPPER) that has coverage counted in the crates below, for libFuzzer to go by. All others are
# compiled as usual: what a compiler or a database does is not what is looked for, and counting it makes a target slow. So is
# what is for the compiler itself (a macro, a build script), which has no --target: rustc cannot load what is counted.
set -euo pipefail
counted=' sexton sexton_domain sexton_runtime sexton_store sexton_system crontab words manifest http component toml toml_parser cron humantime wasmparser gimli addr2line '
name= target=
for ((n = 1; n < $#; n++)); do
  if [ "${!n}" = --crate-name ]; then next=$((n + 1)); name=${!next}; fi
  if [ "${!n}" = --target ]; then target=yes; fi
done
case "$target$counted" in
  yes*" $name "*) set -- "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares ;;
esac
exec "$@"
