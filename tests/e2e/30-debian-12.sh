#!/usr/bin/env bash
# The common tests on a minimal Debian 12, which has an older systemd, and a purge.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"

purges_twice() {
  contains "$(uninstall --purge)" "==> purge"
  same_traces "$1"
}

boot bookworm
traces >"$SCRATCH/before"
test "a minimal Debian 12 gets a verified stack" installs_verified
test "every port listens, on the loopback only" listens_as_designed
test "every unit is active and enabled" units_are_up
test "the units are sandboxed" is_hardened
test "a second install changes nothing" second_install_changes_nothing
test "no request fails during 20 restarts of the service under load" restarts_lose_no_request
test "a purge leaves no trace" purge_leaves_no_trace "$SCRATCH/before"
test "a second purge changes nothing" purges_twice "$SCRATCH/before"
