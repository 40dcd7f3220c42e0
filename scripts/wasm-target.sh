#!/usr/bin/env bash
# Make `cargo build --target wasm32-wasip2` work for the active rustc.
#
# In this order: it works already; `rustup target add`; std compiled here from Debian's packages `rust-src` and
# `wasi-libc` (for machines that reach a package mirror only). `--no-rustup` skips the second.
set -euo pipefail

target=wasm32-wasip2
rustc=${RUSTC:-rustc}
sysroot=$("$rustc" --print sysroot)
release=$("$rustc" -vV | sed -n 's/^release: //p')
commit=$("$rustc" -vV | sed -n 's/^commit-hash: //p')
place=$sysroot/lib/rustlib/$target
work=$(mktemp -d)
staged=$place.new.$$
trap 'rm -rf -- "$work" "$staged"' EXIT

say() { printf '%s: %s\n' "$target" "$*" >&2; }
die() { say "error: $*"; exit 1; }

# Usable means that a program links, not that a folder exists. It reaches widely into libc: one too old fails here.
usable() {
  cat >"$work/probe.rs" <<'RUST'
use std::{collections::HashMap, fs, io::Read, net::TcpStream, thread, time::SystemTime};
fn main() {
    let env: HashMap<String, String> = std::env::vars().collect();
    let mut input = String::new();
    let read = std::io::stdin().read_to_string(&mut input).is_ok();
    let (dir, tcp) = (fs::read_dir("/").is_ok(), TcpStream::connect("localhost:1").is_ok());
    println!("{env:?} {read} {dir} {tcp} {:?} {}", SystemTime::now(), thread::Builder::new().spawn(|| 1).is_ok());
}
RUST
  "$rustc" --target "$target" -o "$work/probe.wasm" "$work/probe.rs" >"$work/probe.log" 2>&1
}

if usable; then exit 0; fi
[ -w "$sysroot/lib/rustlib" ] || die "cannot write to $sysroot: run this as the owner of the toolchain"
exec 9>"$sysroot/lib/rustlib/.$target.lock"
if command -v flock >/dev/null; then flock 9; if usable; then exit 0; fi; fi

if [ "${1:-}" != --no-rustup ] && command -v rustup >/dev/null; then
  say "trying rustup target add"
  timeout 120 rustup target add --toolchain "$(basename "$sysroot")" "$target" >"$work/rustup.log" 2>&1 || true
  if usable; then say "installed by rustup"; exit 0; fi
  say "rustup could not: $(tail -n1 "$work/rustup.log")"
fi

say "falling back to Debian's rust-src $release and wasi-libc: std is compiled here, about a minute"
for tool in apt-get apt-cache dpkg-deb; do command -v "$tool" >/dev/null || die "$tool is missing: install the target by hand"; done
# An apt of its own, with the mirror that this machine uses and the releases that have a recent Rust: nothing on the system
# changes, and signatures are checked.
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n1 | tr -d ' ' || true)
[ -n "$mirror" ] || die "no Debian mirror in /etc/apt: install the target by hand"
mkdir -p "$work"/apt/{lists/partial,cache/archives/partial}
touch "$work/apt/status"
for suite in trixie-backports trixie sid; do
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
done >"$work/apt/sources.list"
cat >"$work/apt/apt.conf" <<APT
Dir::State "$work/apt"; Dir::State::status "$work/apt/status"; Dir::Cache "$work/apt/cache";
Dir::Etc::sourcelist "$work/apt/sources.list"; Dir::Etc::sourceparts "/dev/null"; Dir::Etc::preferencesparts "/dev/null";
Acquire::Languages "none"; APT::Sandbox::User "";
APT
export APT_CONFIG=$work/apt/apt.conf
apt-get -q update >"$work/apt.log" 2>&1 || say "apt-get update had errors: $(tail -n1 "$work/apt.log")"
version() { apt-cache madison "$1" | awk -F' *[|] *' -v want="$2" 'index($2, want) {print $2; exit}'; }
source=$(version rust-src "$release")
[ -n "$source" ] || die "Debian has no rust-src $release (it must be the release of rustc)"
# Rust 1.95 was made for the wasi-libc of 20260129; those of 2024 do not link.
libc=$(version wasi-libc 20260129); libc=${libc:-$(version wasi-libc '')}
(cd "$work" && apt-get -q download "rust-src=$source" "wasi-libc=$libc") >>"$work/apt.log" 2>&1 ||
  die "cannot download: $(tail -n1 "$work/apt.log")"
for deb in "$work"/*.deb; do dpkg-deb -x "$deb" "$work/debs"; done
library=$work/debs/usr/src/rustc-$release/library

# The profile and features of the std that rustup ships; it must not see this project's flags.
(
  cd "$library"
  unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET RUSTC_WRAPPER
  RUSTC=$rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$work/target __CARGO_DEFAULT_LIB_METADATA=stablestd \
    RUSTFLAGS="-Zforce-unstable-if-unmarked --remap-path-prefix=$library=/rustc/$commit/library" \
    cargo build --locked --profile dist --manifest-path sysroot/Cargo.toml --target "$target" --features panic-unwind,backtrace
) >"$work/build.log" 2>&1 || { tail -n 25 "$work/build.log" >&2; die "std did not compile"; }

mkdir -p "$staged/lib/self-contained"
cp "$work/target/$target"/dist/deps/lib*.rlib "$staged/lib/"
cp "$work/debs/usr/lib/$target"/{libc.a,crt1-command.o,crt1-reactor.o} "$staged/lib/self-contained/"
rm -rf "$place" && mv "$staged" "$place"
usable || { cat "$work/probe.log" >&2; rm -rf "$place"; die "the compiled std does not work with rustc $release"; }
say "installed from rust-src $source and wasi-libc $libc"
