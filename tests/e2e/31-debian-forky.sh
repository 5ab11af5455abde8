#!/usr/bin/env bash
# The common tests on Debian's next release, only with --all.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"

[[ -n ${ALL-} ]] || { say "debian-forky: only with --all" && exit 0; }
boot forky
traces >"$SCRATCH/before"
test "a minimal Debian forky gets a verified stack" installs_verified
test "every unit is active and enabled" units_are_up
test "the units are sandboxed" is_hardened
test "a second install changes nothing" second_install_changes_nothing
test "no request fails during 20 restarts of the service under load" restarts_lose_no_request
test "a purge leaves no trace" purge_leaves_no_trace "$SCRATCH/before"
