#!/usr/bin/env bash
# A hundred switches between two releases, each interrupted at a random instant.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"
. "$E2E_DIR/lib/releases.sh"
. "$E2E_DIR/lib/interrupt.sh"

[[ -n ${ALL-} ]] || { say "interrupted-random: only with --all" && exit 0; }

boot trixie
make_next_that_differs
test "install" run_until_verify "${INSTALL[@]}"
make_edits >/dev/null
test "two releases, without interruption" record_states
test "SIGKILL at a hundred random instants" at_random_instants 100
