#!/usr/bin/env bash
# Runs one file of tests: sources lib/ with every path of the stack below SCRATCH, then calls each
# function test_… in a subshell. A test fails when one of its commands does.
# shellcheck disable=SC2034  # lib/ and the tests read these variables

set -euo pipefail
TESTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
ROOT=$(cd "$TESTS/../.." && pwd -P)
SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT

sed -E "s,=(/(opt|etc|var|run|tmp)/),=$SCRATCH\1,g" "$ROOT/lib/common.sh" >"$SCRATCH/common.sh"
# shellcheck source=/dev/null
. "$SCRATCH/common.sh"
for file in "$ROOT"/lib/*.sh; do
  # shellcheck disable=SC1090  # each file of lib/
  [[ $file == */common.sh ]] || . "$file"
done

# equal NAME ACTUAL EXPECTED
equal() {
  [[ $2 == "$3" ]] || { printf '%s: expected %q, actual %q\n' "$1" "$3" "$2" && return 1; }
}
contains() { [[ $1 == *"$2"* ]] || { printf 'expected: %s\nin: %s\n' "$2" "$1" && return 1; }; }
lacks() { [[ $1 != *"$2"* ]] || { printf 'not expected: %s\nin: %s\n' "$2" "$1" && return 1; }; }
# fails COMMAND...: it fails; leaves its output in OUTPUT.
fails() {
  local status=0
  OUTPUT=$("$@" 2>&1) || status=$?
  ((status != 0)) || { printf 'expected to fail: %s\n' "$*" && return 1; }
}

# has_stored SETTING VALUE...: makes a release with these settings the active one.
has_stored() {
  mkdir -p "$RELEASES/0.1.0" "$OPT"
  printf '%s %s\n' "$@" >"$RELEASES/0.1.0/options"
  ln -sfn releases/0.1.0 "$OPT/current"
}

# shellcheck disable=SC1090  # a file of tests
. "$TESTS/$1.sh"

for name in $(compgen -A function test_); do
  set +e
  output=$(
    set -eE
    trap 'echo "failed in ${FUNCNAME[0]-}, line $LINENO: $BASH_COMMAND"' ERR
    "$name" 2>&1
  )
  status=$?
  set -e
  if ((status == 0)); then
    printf '✓ %s: %s\n' "$1" "${name#test_}"
  else
    printf '✗ %s: %s\n%s\n' "$1" "${name#test_}" "$output"
  fi
done
echo "$1 ended"
