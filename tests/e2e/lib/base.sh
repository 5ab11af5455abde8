# Names and functions that the harness and the scenarios share.
# shellcheck shell=bash disable=SC2034  # the files that source this one use the names

E2E_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
ROOT=$(cd "$E2E_DIR/../.." && pwd -P)
# Images and builds that later runs can reuse; a run works without them.
CACHE=/var/cache/metrics-stack-tests
readonly E2E_DIR ROOT CACHE

# Paths in every container.
readonly CHECKOUT=/usr/src/metrics-stack ARCHIVE_DIR=/usr/src/archives
readonly SERVICE=/usr/src/metrics-service HELPERS=/usr/local/lib/fakes
readonly PORTS=(8000 3000 12345 9090 3001)

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2 && exit 1; }

# The comment at the head of the calling script is its manual.
manual() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }

# eventually SECONDS COMMAND...: repeats the command until it succeeds.
eventually() {
  local end=$((SECONDS + $1))
  until "${@:2}"; do
    ((SECONDS < end)) || { echo "not within $1 s: ${*:2}" && return 1; }
    sleep 0.2
  done
}

# key FILE-OR-WORD...: prints a cache key of the inputs of a build.
# It includes the week, because Debian's archive changes. It is the week in which a run starts, so a
# run that lasts until the next week finds what it has built.
export WEEK=${WEEK-$(date +%G-%V)}
key() {
  local input
  for input in "$WEEK" "$@"; do
    if [[ -f $input ]]; then cat "$input"; else echo "$input"; fi
  done | sha256sum | cut -c1-12
}
