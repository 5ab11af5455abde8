#!/usr/bin/env bash
# Tests functions of lib/ with tables of inputs. All paths are below a scratch directory, so nothing
# on this host changes.
#
#   tests/functions/run.sh           all files of this directory
#   tests/functions/run.sh NAME...   some of them, such as forward
#
# Exit status: 0 when all tests passed, 1 when not.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

main() {
  local names=("$@") name passed=0 failed=0 output
  ((${#names[@]} > 0)) || mapfile -t names < <(
    find . -name '*.sh' ! -name run.sh ! -name harness.sh -printf '%f\n' | sed 's/\.sh$//' | sort
  )
  for name in "${names[@]}"; do
    # The environment that lib/common.sh gives the scripts.
    output=$(env -i METRICS_STACK_ENV=clean LC_ALL=C PATH="$PATH" HOME="$HOME" TERM=dumb \
      bash "$PWD/harness.sh" "$name" 2>&1) || :
    grep -v " ended$" <<<"$output" || :
    passed=$((passed + $(grep -c '^✓' <<<"$output" || :)))
    failed=$((failed + $(grep -c '^✗' <<<"$output" || :)))
    # A file that ends early counts as a failed test.
    [[ $output == *"$name ended" ]] || { echo "✗ $name ended early" && failed=$((failed + 1)); }
  done
  printf '%s passed, %s failed\n' "$passed" "$failed"
  ((failed == 0))
}

main "$@"
