#!/usr/bin/env bash
# Tests the stack in throwaway Debian containers with systemd as PID 1. Needs root, on Debian 12 or newer, and no cache.
#
#   tests/e2e/run.sh              every scenario
#   tests/e2e/run.sh NAME...      some of them, such as lifecycle; --list names them
#   tests/e2e/run.sh --all ...    with a hundred instants of a cut in place of a few, and power cuts
#   tests/e2e/run.sh --promtool   only fetches the promtool that the tests use, and prints where it is
#
# ARCHIVES=DIR takes the archives of a folder and its versions.conf instead of fakes for Alloy and Grafana.
# Exit status: 0 when all passed, 1 when not, 2 for a wrong call.

# shellcheck source-path=SCRIPTDIR
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/base.sh"
. "$E2E_DIR/lib/host.sh"
. "$E2E_DIR/lib/sandbox.sh"
. "$E2E_DIR/lib/images.sh"
. "$E2E_DIR/lib/archives.sh"

# They mostly wait, for scrapes above all; the longest scenario is started first.
readonly AT_ONCE=3

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
    compgen -G "$E2E_DIR/[0-9][0-9]-$name.sh" >/dev/null || { echo "error: no scenario $name; --list names them" >&2 && exit 2; }
  done
  local why
  if ! why=$(host_can_boot); then skip_all "$why"; fi
  install_host_tools
  in_sandbox "$0" --in-sandbox "${names[@]}" || status=$?
  local passed failed skipped
  passed=$(grep -c '^ok' "$WORK/results" || :) failed=$(grep -c '^FAIL' "$WORK/results" || :) skipped=$(grep -c '^skip' "$WORK/results" || :)
  # A run that broke off has not passed, whatever it counted.
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
  printf '\n*** NOT TESTED: the stack in containers. %s ***\n\n0 passed, 0 failed, %s skipped\n' "$1" "$count"
  # In CI, what can't be tested must not look tested.
  [[ ${CI-} != true ]] && exit 0
  exit 1
}

inside() {
  local name start=$SECONDS
  touch "$WORK/results"
  prepare "${!IMAGES[@]}"
  say "prepared in $((SECONDS - start)) s"
  for name in "$@"; do
    while (($(jobs -rp | wc -l) >= AT_ONCE)); do wait -n || :; done
    scenario "$name" &
  done
  wait
  ! grep -q '^FAIL' "$WORK/results"
}

# A scenario that ends early must not go unnoticed.
scenario() {
  bash "$E2E_DIR"/[0-9][0-9]-"$1".sh </dev/null || { printf 'FAIL %s: the scenario broke off\n' "$1" && echo FAIL >>"$WORK/results"; }
}

# Read as a whole before it runs, so that an edit of this file does no harm to a run.
{
  if [[ ${1-} == --in-sandbox ]]; then inside "${@:2}"; else main "$@"; fi
  exit
}
