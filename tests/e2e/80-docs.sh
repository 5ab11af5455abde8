#!/usr/bin/env bash
# What the README and docs/ tell people to type, typed. A block of theirs that can't be run here says why in a comment before it.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"

# blocks LANGUAGE PAGE: numbers the page's blocks and puts each into a file of SCRATCH; prints the files.
blocks() {
  awk -v open='```'"$1" -v to="$SCRATCH/$(basename "$2" .md)-" '
    /^<!-- not run: .* -->$/ { skipped = NR + 1 }
    $0 == open && NR != skipped { inside = 1; file = to sprintf("%02d", ++count); print file; next }
    /^```/ { inside = 0 }
    inside { print > file }' "$ROOT/$2"
}

runs() {
  cat "$1"
  # The commands of a page are for a person with sudo, in the checkout.
  { echo 'sudo() { "$@"; }' && echo "cd $CHECKOUT" && cat "$1"; } >"$1.run"
  in_container bash -euo pipefail -c "$(<"$1.run")"
}

page_runs() {
  local block
  for block in $(blocks sh "$1"); do
    test "$1: $(grep -m 1 . "$block" | cut -c1-70)" runs "$block"
  done
}

queries_give_series() {
  local block
  for block in $(blocks promql docs/metrics.md); do
    cat "$block"
    eventually 60 gives_series "$(<"$block")"
  done
}
gives_series() { [[ -n $(query "$1") ]]; }

every_metric_is_explained() {
  local name
  for name in $(get 8000/metrics | sed -n 's/^# TYPE \([^ ]*\) .*/\1/p'); do
    contains "$(<"$ROOT/docs/metrics.md")" "\`$name\`"
  done
}

password_is_the_new_one() {
  # There `grafana cli` says that it has set the password, and sets none (grafana/grafana#59915).
  if [[ $(grafana_version) == 9.3.* ]]; then measured "not checked: Grafana $(grafana_version) does not set it" && return; fi
  in_container sh -c 'umask 077 && echo "admin:a better password" >/root/login'
  keep verify verify --grafana-login /root/login
  contains "$(<"$SCRATCH/verify")" "✓ Grafana answers a query"
}

grafana_version() { get 3001/api/health | sed -n 's/.*"version": *"\([^"]*\)".*/\1/p'; }

boot trixie
test "install" installs_verified
test "docs/metrics.md: every query gives a series" queries_give_series
test "docs/metrics.md: every metric of the service is in it" every_metric_is_explained
page_runs docs/operations.md
page_runs docs/forwarding.md
page_runs docs/offline-install.md
test "docs/operations.md: the password is the new one" password_is_the_new_one
page_runs docs/troubleshooting.md
page_runs README.md
