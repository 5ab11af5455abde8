#!/usr/bin/env bash
# Checks the shipped configuration as far as that goes without its servers: the rules and Prometheus' configuration with
# promtool, the table of hosts likewise (fleet.py), that the dashboards are what their source makes, and the rest with check.py.
#
#   tests/config/check.sh                promtool from PATH
#   PROMTOOL=FILE tests/config/check.sh  another one
#
# Needs promtool 3 (Debian: promtool, or in prometheus before forky) and python3 with yaml (Debian: python3-yaml).

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

PASSED=0 FAILED=0

main() {
  local promtool=${PROMTOOL-promtool}
  need "$promtool" "promtool"
  need python3 "python3"
  python3 -c 'import yaml' 2>/dev/null || die "python3 has no yaml: apt-get install python3-yaml"

  check "Prometheus' configuration and its rules are valid" "$promtool" check config --lint=all --lint-fatal etc/prometheus/prometheus.yml
  check "the rules of a far end are valid" "$promtool" check rules --lint=all --lint-fatal central/rules/*.yml
  check "alerts fire when they should, and only then" "$promtool" test rules tests/rules/*.yml
  check "every cell of the table of hosts is right" tests/config/fleet.py "$promtool"
  check "dashboards are what their source makes" dashboards/build.py --check
  for name in $(python3 tests/config/check.py --list); do
    check "${name//_/ }" python3 tests/config/check.py "$name"
  done

  printf '%s passed, %s failed\n' "$PASSED" "$FAILED"
  ((FAILED == 0))
}

# check NAME COMMAND...: one line when it succeeds, its output when it does not.
check() {
  local output
  if output=$("${@:2}" 2>&1); then
    printf '✓ %s\n' "$1"
    PASSED=$((PASSED + 1))
  else
    printf '✗ %s\n    %s\n' "$1" "${output//$'\n'/$'\n    '}"
    FAILED=$((FAILED + 1))
  fi
}

need() { command -v "$1" >/dev/null || die "$1 is missing: apt-get install $2"; }

die() {
  printf 'error: %s\n' "$1" >&2
  exit 1
}

main
