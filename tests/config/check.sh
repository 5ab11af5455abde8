#!/usr/bin/env bash
# Checks the shipped configuration without its servers: the rules and Prometheus' configuration with
# promtool, queries of the dashboards (fleet.py), their JSON against its source, and more
# (check.py).
#
#   tests/config/check.sh                uses promtool from PATH
#   PROMTOOL=FILE tests/config/check.sh  uses another one
#
# Needs promtool 3 (Debian: promtool, or in prometheus before forky) and python3 with yaml (Debian:
# python3-yaml).

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

PASSED=0 FAILED=0

main() {
  local promtool=${PROMTOOL-promtool}
  require "$promtool" "promtool"
  require python3 "python3"
  python3 -c 'import yaml' 2>/dev/null || die "python3 has no yaml: apt-get install python3-yaml"

  check "Prometheus' configuration and rules are valid" \
    "$promtool" check config --lint=all --lint-fatal etc/prometheus/prometheus.yml
  check "the rules of a central server are valid" \
    "$promtool" check rules --lint=all --lint-fatal central/rules/*.yml
  check "alerts fire on their conditions only" "$promtool" test rules tests/rules/*.yml
  check "the dashboards show the right values" tests/config/fleet.py "$promtool"
  check "the dashboards match their source" dashboards/build.py --check
  printf '%s passed, %s failed\n' "$PASSED" "$FAILED"
  # Prints a line for each of its checks, and their number.
  tests/config/check.py
  ((FAILED == 0))
}

# check NAME COMMAND...: prints one line if the command succeeds, else also its output.
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

require() { command -v "$1" >/dev/null || die "$1 is missing: apt-get install $2"; }

die() {
  printf 'error: %s\n' "$1" >&2
  exit 1
}

main
