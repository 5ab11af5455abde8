#!/usr/bin/env bash
# Runs the sh blocks of README.md and docs/. A comment before a block that can't run here gives the
# reason.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"
. "$E2E_DIR/lib/interrupt.sh"

# blocks LANGUAGE PAGE: writes each block of the page to a numbered file; prints the files.
blocks() {
  awk -v open='```'"$1" -v to="$SCRATCH/$(basename "$2" .md)-" '
    /^<!-- not run: .* -->$/ { skipped = NR + 1 }
    $0 == open && NR != skipped { inside = 1; file = to sprintf("%02d", ++count); print file; next }
    /^```/ { inside = 0 }
    inside { print > file }' "$ROOT/$2"
}

runs() {
  # The block before might have restarted them.
  eventually 60 servers_are_ready
  cat "$1"
  # The commands of a page are for an administrator with sudo, in the checkout.
  { echo 'sudo() { "$@"; }' && echo "cd $CHECKOUT" && cat "$1"; } >"$1.run"
  in_container bash -euo pipefail -c "$(<"$1.run")"
}

servers_are_ready() { get 9090/-/ready && get 12345/-/ready && get 3001/api/health; }

page_runs() {
  local block files
  files=$(blocks sh "$1")
  [[ -n $files ]] || test "$1 has commands" false
  for block in $files; do
    test "$1: $(grep -m 1 . "$block" | cut -c1-70)" runs "$block"
  done
}

queries_return_series() {
  local block files
  files=$(blocks promql docs/metrics.md)
  [[ -n $files ]]
  for block in $files; do
    cat "$block"
    eventually 60 returns_series "$(<"$block")"
  done
}
returns_series() { [[ -n $(query "$1") ]]; }

every_metric_is_documented() {
  local name names
  names=$(get 8000/metrics | sed -n 's/^# TYPE \([^ ]*\) .*/\1/p')
  contains "$names" http_requests_total
  for name in $names; do
    contains "$(<"$ROOT/docs/metrics.md")" "\`$name\`"
  done
}

boot trixie
test "install" run_until_verify "${INSTALL[@]}"
test "docs/metrics.md: every query returns a series" queries_return_series
test "docs/metrics.md: every metric of the service is documented" every_metric_is_documented
page_runs docs/operations.md
page_runs docs/forwarding.md
page_runs docs/troubleshooting.md
page_runs README.md
