#!/usr/bin/env bash
# Tests the stack in throwaway Debian containers with systemd as PID 1. Needs root, on Debian 12 or
# newer.
#
#   tests/e2e/run.sh              every scenario
#   tests/e2e/run.sh NAME...      some of them, such as lifecycle; --list names them
#   tests/e2e/run.sh --all ...    also with power loss, a hundred interruptions and more Debians
#   tests/e2e/run.sh --promtool   fetches the tests' promtool, and prints its path
#
# ARCHIVES=DIR uses the archives and the versions.conf of a directory instead of fakes for Alloy and
# Grafana. Exit status: 0 when all passed, 1 when not, 2 on usage errors.

# shellcheck source-path=SCRIPTDIR
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/base.sh"
. "$E2E_DIR/lib/host.sh"
. "$E2E_DIR/lib/sandbox.sh"
. "$E2E_DIR/lib/images.sh"
. "$E2E_DIR/lib/archives.sh"

# Scenarios in parallel: they mostly wait for scrapes. The longest ones have the lowest numbers.
readonly MAX_SCENARIOS=3

main() {
  if [[ ${1-} == --all ]]; then export ALL=1 && shift; fi
  local names=("$@") name status=0
  case ${1-} in
  --list) scenarios && exit ;;
  --help) manual && exit ;;
  --promtool) promtool && exit ;;
  esac
  ((${#names[@]} > 0)) || mapfile -t names < <(scenarios)
  for name in "${names[@]}"; do
    compgen -G "$E2E_DIR/[0-9][0-9]-$name.sh" >/dev/null ||
      { echo "error: no scenario $name; --list names them" >&2 && exit 2; }
  done
  local reason
  if ! reason=$(host_can_boot); then skip_all "$reason"; fi
  install_host_tools
  in_sandbox "$0" --in-sandbox "${names[@]}" || status=$?
  local passed failed skipped
  passed=$(grep -c '^ok' "$WORK/results" || :)
  failed=$(grep -c '^FAIL' "$WORK/results" || :)
  skipped=$(grep -c '^skip' "$WORK/results" || :)
  # A run that ended early has failed.
  if ((status != 0 && failed == 0)); then failed=1; fi
  echo "$passed passed, $failed failed, $skipped skipped"
  ((failed == 0))
}

scenarios() { for file in "$E2E_DIR"/[0-9][0-9]-*.sh; do basename "$file" .sh | cut -c4-; done; }

promtool() {
  install_host_tools >&2
  mkdir -p "$CACHE"
  WORK=$(mktemp -d "$CACHE/fetch.XXXXXX")
  fetch_debian >&2
  rm -rf "$WORK"
  echo "$DEBIAN/promtool"
}

skip_all() {
  local count
  count=$(scenarios | wc -l)
  printf '\n*** NOT TESTED: the stack in containers. %s ***\n\n' "$1"
  echo "0 passed, 0 failed, $count skipped"
  # In CI, a skipped test fails the run.
  [[ ${CI-} != true ]] && exit 0
  exit 1
}

inside() {
  local name start=$SECONDS
  touch "$WORK/results"
  prepare "${!IMAGES[@]}"
  say "prepared in $((SECONDS - start)) s"
  for name in "$@"; do
    while (($(jobs -rp | wc -l) >= MAX_SCENARIOS)); do wait -n || :; done
    scenario "$name" &
  done
  wait
  ! grep -q '^FAIL' "$WORK/results"
}

# A scenario that ends early counts as a failed test.
scenario() {
  bash "$E2E_DIR"/[0-9][0-9]-"$1".sh </dev/null ||
    { echo "FAIL $1: the scenario ended early" && echo FAIL >>"$WORK/results"; }
}

# bash reads the braces as a whole, so a run is safe from edits of this file.
{
  if [[ ${1-} == --in-sandbox ]]; then inside "${@:2}"; else main "$@"; fi
  exit
}
