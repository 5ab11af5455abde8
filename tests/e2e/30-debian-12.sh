#!/usr/bin/env bash
# The common tests on a minimal Debian 12, which has an older systemd, with a password for Grafana
# from the start, and a purge.
# shellcheck source-path=SCRIPTDIR disable=SC2016  # Grafana must not expand parts of the password
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"

readonly PASSWORD='"p\a:ss" $HOME ${HOME} $__file{/etc/passwd} #;%s übermäßig'
readonly LOGIN_HINT="login admin, with your password"

installs_with_a_password() {
  # As an editor of Windows saves it.
  copy_in <(printf '\xEF\xBB\xBF%s \r\n' "$PASSWORD") /root/grafana-password
  installs_verified --grafana-password-file /root/grafana-password
  lacks "$(<"$SCRATCH/install")" "setting Grafana's password"
  in_container rm /root/grafana-password
  get 3001/api/org --user "admin:$PASSWORD" >/dev/null
  ! get 3001/api/org --user admin:admin
}

purges_twice() {
  contains "$(uninstall --purge)" "==> purge"
  same_traces "$1"
}

boot bookworm
traces >"$SCRATCH/before"
test "a minimal Debian 12 gets a verified stack with a new password" installs_with_a_password
test "every port listens, on the loopback only" listens_as_designed
test "every unit is active and enabled" units_are_up
test "the units are sandboxed" is_hardened
test "a second install changes nothing" second_install_changes_nothing
test "no request fails during 20 restarts of the service under load" restarts_lose_no_request
test "a purge leaves no trace" purge_leaves_no_trace "$SCRATCH/before"
test "a second purge changes nothing" purges_twice "$SCRATCH/before"
