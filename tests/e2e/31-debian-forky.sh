#!/usr/bin/env bash
# The same on Debian's next release, with --all alone.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"

[[ -n ${ALL-} ]] || { say "debian-forky: not without --all" && exit 0; }
boot forky
traces >"$SCRATCH/before"
test "a minimal Debian forky gets a verified stack" installs_verified
test "every unit of the table, now and at the next boot" units_are_up
test "exposure of the units" is_hardened
test "a second install changes nothing" second_install_changes_nothing
test "20 restarts of the service under load fail no request" restarts_lose_no_request
test "a purge leaves no trace" purge_leaves_no_trace "$SCRATCH/before"
