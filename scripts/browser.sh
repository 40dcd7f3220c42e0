#!/usr/bin/env bash
# Run the browser tests of the dashboard, or take its pictures: `browser.sh test TARGET`, `browser.sh screenshots TARGET [PAGE]`.
# TARGET is the folder that cargo builds into. Installs what that takes, if it is missing: Chromium and Node.js as Debian has
# them (as root), and two packages of npm, of exactly the releases in tests/browser/package-lock.json.
set -euo pipefail

say() { printf 'browser: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

what=$1
SEXTON_TARGET=$(cd "$2" && pwd)
export SEXTON_TARGET
shift 2

has_browser() {
  [ -n "${CHROMIUM:-}" ] || command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null
}

missing=()
has_browser || missing+=(chromium fonts-inter)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
if [ "${#missing[@]}" -gt 0 ]; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    die "missing: ${missing[*]}; install them with \`apt-get install ${missing[*]}\`, or what they are called here"
  fi
  say "installing Debian's ${missing[*]}"
  log=$(mktemp)
  trap 'rm -f -- "$log"' EXIT
  export DEBIAN_FRONTEND=noninteractive
  apt-get -q update >"$log" 2>&1 || say "apt-get update had errors: $(tail -n1 "$log")"
  apt-get -qy install --no-install-recommends "${missing[@]}" >"$log" 2>&1 || die "cannot install them: $(tail -n1 "$log")"
fi

cd "$(dirname "$0")/../tests/browser"
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
  touch node_modules/.package-lock.json
fi
case $what in
  test) exec node --test --test-concurrency=1 "$@" ;;
  screenshots) exec node screenshots.mjs "$@" ;;
  *) die "\`$what\` is unknown; it is test or screenshots" ;;
esac
