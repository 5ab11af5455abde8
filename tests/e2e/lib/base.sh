# Names and the small vocabulary that the harness and the scenarios share.
# shellcheck shell=bash disable=SC2034  # those that source this file use the names

E2E_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
ROOT=$(cd "$E2E_DIR/../.." && pwd -P)
# Images and builds that later runs may use again; a run works without them.
CACHE=/var/cache/metrics-stack-tests
readonly E2E_DIR ROOT CACHE

# Where things lie in every container.
readonly CHECKOUT=/usr/src/metrics-stack ARCHIVE_DIR=/usr/src/archives SERVICE=/usr/src/metrics-service HELPERS=/usr/local/lib/fakes
readonly PORTS=(8000 3000 12345 9090 3001)

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2 && exit 1; }

# The comment at the head of the calling script is its manual.
manual() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }

# eventually SECONDS COMMAND...: until the command succeeds.
eventually() {
  local end=$((SECONDS + $1))
  until "${@:2}"; do
    ((SECONDS < end)) || { echo "not within $1 s: ${*:2}" && return 1; }
    sleep 0.2
  done
}

# key FILE-OR-WORD...: names what something is made of, so that a cached one is used only while that is the same.
# The week is part of it: what comes from Debian's archive moves on.
key() {
  local part
  for part in "$(date +%G-%V)" "$@"; do if [[ -f $part ]]; then cat "$part"; else echo "$part"; fi; done | sha256sum | cut -c1-12
}
