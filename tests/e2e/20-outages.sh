#!/usr/bin/env bash
# Restarts, an outage and a reboot lose nothing.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"
. "$E2E_DIR/lib/interrupt.sh"

outage_loses_no_sample() {
  local start end
  # No gap can be measured without a sample before the outage.
  eventually 60 query_is 'up{job="metrics_service"}' 1
  start=$(in_container date +%s)
  in_container systemctl stop metrics-prometheus
  sleep 75
  in_container systemctl start metrics-prometheus
  end=$(in_container date +%s)
  eventually 90 no_gap_beyond 25 "$start" "$end"
  measured "longest gap $(longest_gap "$start" "$end") s"
}

survives_a_reboot() {
  local first
  first=$(samples_of 'up{job="metrics_service"}[1h]' | sed -n 1p)
  reboot
  eventually 60 verify --quick
  units_are_up
  listens_as_designed
  keep verify verify
  contains "$(tail -n 1 "$SCRATCH/verify")" ", 0 failed"
  equal "the first sample" "$(samples_of 'up{job="metrics_service"}[1h]' | sed -n 1p)" "$first"
}

boot trixie
test "install" run_until_verify "${INSTALL[@]}"
test "no request fails during 20 restarts of the service under load" restarts_lose_no_request
test "no sample is lost while Prometheus is down for 75 s" outage_loses_no_sample
test "units and data are back after a reboot" survives_a_reboot
