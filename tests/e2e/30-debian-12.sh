#!/usr/bin/env bash
# The same on a minimal Debian 12, whose systemd is older, and no trace of it after a purge.
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
test "every port of the table, and nothing beyond the loopback" listens_as_designed
test "every unit of the table, now and at the next boot" units_are_up
test "exposure of the units" is_hardened
test "a second install changes nothing" second_install_changes_nothing
test "20 restarts of the service under load fail no request" restarts_lose_no_request
test "a purge leaves no trace" purge_leaves_no_trace "$SCRATCH/before"
test "a second purge does no harm" purges_twice "$SCRATCH/before"
