#!/usr/bin/env bash
# Make sure that there is a PostgreSQL server for the tests, which start it themselves (host/testkit/src/postgres.rs).
#
# In this order: the folder that SEXTON_POSTGRES_BIN names, and no other; the PATH; where Debian puts it; as root on Debian and
# its like, what apt-get installs.
set -euo pipefail

say() { printf 'postgresql: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# The same programs, in the same places, as host/testkit/src/postgres.rs looks for.
usable() {
  local folder program IFS=:
  for folder in ${SEXTON_POSTGRES_BIN:-$PATH:/usr/lib/postgresql/*/bin}; do
    for program in initdb pg_ctl postgres psql; do
      [ -x "$folder/$program" ] || continue 2
    done
    return 0
  done
  return 1
}

if usable; then exit 0; fi
[ -z "${SEXTON_POSTGRES_BIN:-}" ] || die "SEXTON_POSTGRES_BIN is $SEXTON_POSTGRES_BIN, which lacks initdb, pg_ctl, postgres or psql"
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  die "the server is missing, which the tests start: install it with \`apt-get install postgresql\`, or what it is called here"
fi

say "installing Debian's postgresql"
log=$(mktemp)
conf=/etc/postgresql-common/createcluster.conf
trap 'rm -f -- "$log"; if [ -f "$conf.kept" ]; then mv -- "$conf.kept" "$conf"; fi' EXIT
export DEBIAN_FRONTEND=noninteractive
apt-get -q update >"$log" 2>&1 || say "apt-get update had errors: $(tail -n1 "$log")"
# First what makes a cluster of the system's and starts it, so that it can be told not to while the server is installed.
apt-get -qy install --no-install-recommends postgresql-common >"$log" 2>&1 || die "cannot install it: $(tail -n1 "$log")"
cp -- "$conf" "$conf.kept"
sed -i 's/^#\{0,1\} *create_main_cluster *=.*/create_main_cluster = false/' "$conf"
apt-get -qy install --no-install-recommends postgresql >"$log" 2>&1 || die "cannot install it: $(tail -n1 "$log")"
usable || die "it is installed, and its programs are not where they are looked for: see scripts/postgres.sh"
say "installed"
