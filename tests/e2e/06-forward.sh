#!/usr/bin/env bash
# Two agents and a full stack forward to VictoriaMetrics, with wrong credentials, while the central
# server is slow or down, and through changes of role.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"
. "$E2E_DIR/lib/interrupt.sh"
. "$E2E_DIR/lib/releases.sh"
. "$E2E_DIR/lib/central.sh"

readonly PROOF="10 test requests reach the central server (query at https://central.example:8427)"
readonly FIRST='fleet-9f3 "pass\word"' SECOND=second-password TOKEN=fleet-9f3-token-word
declare -A DISKS=()
trap 'for DISK in "${DISKS[@]}"; do power_off; done' EXIT

# boot_machine NAME NUMBER
boot_machine() {
  boot trixie --private-network --hostname="$1"
  DISKS[$1]=$DISK
  connect_to_central "$2"
  copy_in "$CENTRAL/central.pem" /root/central.pem
  copy_in "$CENTRAL/wrong.pem" /root/wrong.pem
  copy_in <(printf '%s\n' "$FIRST") /root/password
  copy_in <(echo "$TOKEN") /root/token
  in_container chmod 0600 /root/password /root/token
}
# select_machine NAME: for the following commands; on_machine NAME COMMAND...: for this command.
select_machine() {
  DISK=${DISKS[$1]} NSPAWN=(--machine=vm-trixie --private-network --hostname="$1")
}
on_machine() {
  local DISK NSPAWN
  select_machine "$1"
  "${@:2}"
}
# test_in_background NAME TEST COMMAND...: runs a test on that machine until wait_for_tests.
test_in_background() {
  test_on_machine "$@" &
  BACKGROUND_TESTS+=($!)
}
test_on_machine() {
  local DISK NSPAWN SCRATCH
  select_machine "$1"
  SCRATCH=$(mktemp -d "$CENTRAL/../background.XXXXXX")
  test "${@:2}"
}
wait_for_tests() {
  local job
  for job in "${BACKGROUND_TESTS[@]}"; do wait "$job"; done
  BACKGROUND_TESTS=()
}
BACKGROUND_TESTS=()

# One agent has a login of its own, because a test changes it.
readonly CA=(--forward-ca /root/central.pem)
readonly LOGIN=(--forward-user fleet --forward-password-file /root/password "${CA[@]}")
readonly FORWARD=(--forward-url "$CENTRAL_URL" "${LOGIN[@]}" --forward-tenant fleet)
readonly ALPHAS=("${FORWARD[@]}" --forward-user alpha)
readonly BY_TOKEN=(--forward-url "$CENTRAL_URL" --forward-token-file /root/token "${CA[@]}"
  --forward-tenant fleet)

invalid_options_are_named() {
  local call words
  while IFS='|' read -r words call; do
    # shellcheck disable=SC2086  # options are words
    fails_with 2 "$words" $call </dev/null
  done <<END
an agent stores no samples|--role agent
forwarding is not configured|--forward-tenant fleet
--forward-user needs|--forward-url $CENTRAL_URL --forward-user fleet
a password or a token|--forward-url $CENTRAL_URL --forward-user a --forward-token-file /root/token
exclude each other|--forward-url $CENTRAL_URL --no-forward
no readable file: /root/none|--forward-url $CENTRAL_URL --forward-ca /root/none
/root/central.pem is not one line|--forward-url $CENTRAL_URL --forward-token-file /root/central.pem
/root/password contains no certificate|--forward-url $CENTRAL_URL --forward-ca /root/password
END
}

# fails_with STATUS WORDS OPTION...
fails_with() {
  local status=0
  keep refusal install "${@:3}" || status=$?
  equal "status" "$status" "$1"
  contains "$(<"$SCRATCH/refusal")" "$2"
}

unusable_endpoints_are_named() {
  fails_with 1 "cannot be resolved" --forward-url https://nowhere.example/api/v1/write "${LOGIN[@]}"
  fails_with 1 "failed TLS verification" --forward-url "$CENTRAL_URL"
  fails_with 1 "failed TLS verification" "${FORWARD[@]}" --forward-ca /root/wrong.pem
  contains "$(<"$SCRATCH/refusal")" "--forward-ca FILE"
  fails_with 1 "does not accept remote write at this path (HTTP 400: unsupported path requested" \
    "${FORWARD[@]}" --forward-url "${CENTRAL_URL%/write}"
  copy_in <(echo wrong) /root/wrong
  refuses 1 "rejected the credentials (HTTP 401)" install "${FORWARD[@]}" \
    --forward-password-file /root/wrong
  contains "$(<"$SCRATCH/refusal")" "nothing has been changed"
  refuses 0 "write /etc/systemd/system/metrics-alloy.service.d/forward-password.conf" \
    install --role agent "${FORWARD[@]}" --dry-run
}

# All three at once. The full stack is first installed without forwarding.
install_everywhere() {
  local jobs=() job
  on_machine alpha install --role agent "${ALPHAS[@]}" >"$SCRATCH/alpha" 2>&1 &
  jobs+=($!)
  on_machine beta install --role agent "${FORWARD[@]}" >"$SCRATCH/beta" 2>&1 &
  jobs+=($!)
  {
    on_machine gamma run_until_verify "${INSTALL[@]}"
    on_machine gamma installed_state >"$SCRATCH/plain"
    on_machine gamma install "${BY_TOKEN[@]}"
  } >"$SCRATCH/gamma" 2>&1 &
  jobs+=($!)
  for job in "${jobs[@]}"; do
    wait "$job" || { cat "$SCRATCH"/{alpha,beta,gamma} && return 1; }
  done
  for job in alpha beta gamma; do
    contains "$(<"$SCRATCH/$job")" ", 0 failed"
    contains "$(<"$SCRATCH/$job")" "✓ $PROOF"
  done
}

instances_are() { [[ $(central_instances "up{job=\"$2\"}") == "$1" ]]; }
samples_have_their_instance() {
  local job
  # verify.sh waits for the first scrape of the service only.
  for job in metrics_service node alloy; do
    eventually 30 instances_are "alpha beta gamma" "$job"
  done
  equal "hosts in the local Prometheus" \
    "$(on_machine gamma query 'count(count by (instance) (up{job="metrics_service"}))')" 1
  equal "series for the central server only" \
    "$(on_machine gamma query 'count(up{job="alloy",instance="gamma"}) or vector(0)')" 0
  on_machine alpha copy_in <(echo '[{targets: ["127.0.0.1:8000"], labels: {job: shop}}]') \
    /etc/metrics-stack/targets.d/shop.yml
  on_machine beta copy_in <(echo '[{targets: ["localhost:8000"], labels: {job: shop}}]') \
    /etc/metrics-stack/targets.d/shop.yml
  eventually 60 shops_have_their_instance
}
shops_have_their_instance() {
  [[ $(central_instances 'up{job="shop"}') == "alpha:8000 beta:8000" ]]
}

tenant_is_on_the_wire() {
  equal "tenants" "$(grep '^/api/v1/write' "$CENTRAL/tenants" | sort -u)" "/api/v1/write fleet"
}

agent_is_small() {
  local units
  units=$(in_container systemctl list-units --plain --no-legend --state=active 'metrics-*' |
    cut -d' ' -f1 | sed 's/^metrics-//' | paste -sd' ')
  equal "units" "$units" \
    "alloy-ui.service alloy.service service.service alloy-ui.socket service.socket stack.target"
  equal "ports" "$(listening | grep -c -E '127.0.0.1:(9090|3001)$' || :)" 0
  equal "files of Prometheus and Grafana" "$(server_files /var/lib/metrics-stack)" ""
}
# server_files [DIRECTORY]: prints the files of Prometheus and Grafana.
server_files() {
  in_container find /opt/metrics-stack /etc/metrics-stack /etc/systemd "$@" \
    -name '*prometheus*' -o -name '*grafana*'
}

later_install_keeps_it() {
  second_install_changes_nothing
  local before
  before=$(invocations)
  keep install install --role agent "${ALPHAS[@]}"
  equal "invocations with the same options" "$(invocations)" "$before"
}

verify_needs_no_root() {
  keep verify as_nobody "$CHECKOUT/verify.sh"
  contains "$(<"$SCRATCH/verify")" ", 0 failed"
  contains "$(<"$SCRATCH/verify")" \
    "✓ 10 test requests reach the central server (Alloy's send counters)"
  # Alloy's own metrics alone are no proof.
  in_container sed -i 's/remote_write.forward.receiver/remote_write.other.receiver/' \
    /etc/metrics-stack/alloy/outputs.alloy
  ! keep verify as_nobody "$CHECKOUT/verify.sh" || return 1
  contains "$(<"$SCRATCH/verify")" \
    "✗ outputs.alloy forwards to the central server: your edited version does not"
  in_container sed -i 's/remote_write.other.receiver/remote_write.forward.receiver/' \
    /etc/metrics-stack/alloy/outputs.alloy
  verify_names_an_unknown_host
  verify_names_a_new_name
}

verify_names_an_unknown_host() {
  in_container sh -c 'sed /central.example/d /etc/hosts >/tmp/hosts &&
    cp /etc/hosts /tmp/known && cat /tmp/hosts >/etc/hosts'
  ! keep verify verify || return 1
  in_container sh -c 'cat /tmp/known >/etc/hosts && rm /tmp/known /tmp/hosts'
  contains "$(<"$SCRATCH/verify")" "✗ $CENTRAL_URL accepts remote write: cannot be resolved"
}

nobody_reads_the_token() {
  local modes
  installs_in_secret "${BY_TOKEN[@]}"
  modes=$(in_container find /var/lib/metrics-stack/install/credentials -printf '%y %m %u\n' |
    sort -u)
  equal "for root" "$modes" "$(printf 'd 755 root\nf 600 root')"
}

password_changes() {
  local before
  before=$(password_path)
  set_logins "alpha:$SECOND" "fleet:$FIRST" ":$TOKEN"
  eventually 20 refuses_login
  contains "$(<"$SCRATCH/verify")" "--forward-password-file"
  before+=" $(in_container systemctl show --property InvocationID --value metrics-alloy)"
  copy_in <(echo "$SECOND") /root/password
  keep install install --forward-password-file /root/password
  contains "$(<"$SCRATCH/install")" ", 0 failed"
  lacks "$before" "$(password_path)"
  equal "files, of CA and password" \
    "$(in_container ls /var/lib/metrics-stack/install/credentials | wc -l)" 2
  lacks "$before" "$(in_container systemctl show --property InvocationID --value metrics-alloy)"
}
password_path() { in_container sed -n 's/^password //p' /opt/metrics-stack/current/options; }
refuses_login() {
  ! keep verify verify || return 1
  contains "$(<"$SCRATCH/verify")" \
    "✗ $CENTRAL_URL accepts remote write: rejected the credentials (HTTP 401)"
}

verify_names_a_new_name() {
  in_container hostname another
  ! keep verify verify || return 1
  in_container hostname beta
  contains "$(<"$SCRATCH/verify")" \
    "✗ Alloy uses this host's name: its samples still have the instance beta"
  contains "$(<"$SCRATCH/verify")" "systemctl restart metrics-alloy.service"
}

slow_central_server_delays_nothing_else() {
  local start end
  start=$(date +%s)
  echo "$start" >"$SCRATCH/slow-since"
  touch "$CENTRAL/slow"
  sleep 30
  end=$(date +%s)
  # The local Prometheus has no gap while samples for the central server are pending.
  eventually 20 no_gap_beyond 25 "$start" "$end"
  eventually 20 has_pending_samples
  measured "longest local gap $(longest_gap "$start" "$end") s, $(pending forward) samples pending"
  rm "$CENTRAL/slow"
}
has_pending_samples() { (($(pending forward) > 0)); }
pending() {
  get 12345/metrics |
    sed -n "s/^prometheus_remote_storage_samples_pending{.*remote_name=\"$1\".* //p"
}
central_gap() {
  central_samples "up{job=\"metrics_service\",instance=\"$1\"}[20m]" | gap_in "${@:2}"
}
central_has_no_gap() { local gap && gap=$(central_gap "$@") && ((gap > 0 && gap < 25)); }

# One agent reboots during the outage.
central_server_is_down() {
  local start gone middle end away=60 gap
  [[ -z ${ALL-} ]] || away=600
  # Samples that the slow server delayed must arrive as well.
  start=$(<"$SCRATCH/slow-since")
  stop_central_server
  gone=$(date +%s)
  # The reboot takes another 20 s, because Alloy waits for its queue.
  sleep $((away / 2 - 20))
  on_machine beta reboot
  on_machine beta connect_to_central 2
  middle=$(date +%s)
  sleep $((away / 2))
  end=$(date +%s)
  run_central_server
  eventually 120 central_has_no_gap alpha "$start" "$end"
  gap=$(central_gap alpha "$start" "$end")
  measured "down for $((end - gone)) s: longest gap of the running agent $gap s"
  # Samples that Alloy had not sent when it stopped are lost; later ones are not.
  eventually 120 central_has_no_gap beta $((middle + 30)) "$end"
  gap=$(central_gap beta "$start" "$end")
  ((gap > 0))
  at_most "gap of the rebooted agent" "$gap" $((middle - start + 60))
  measured "of the agent rebooted after $((middle - gone)) s $gap s"
}

role_changes() {
  keep install install --role full
  contains "$(<"$SCRATCH/install")" "✓ Grafana answers a query"
  units_are_up
  contains "$(<"$SCRATCH/install")" "✓ $PROOF"
  in_container sh -c 'echo "# mine" >>/etc/systemd/system/metrics-grafana.service'
  run_until_verify "${INSTALL[@]}" --role agent
  verify --quick
  equal "files of Prometheus and Grafana, except an edited one" "$(server_files)" \
    /etc/systemd/system/metrics-grafana.service
  equal "that unit" "$(state_of metrics-grafana)" "inactive disabled"
  in_container sh -c "
    sed '/^prometheus/s/ [0-9.]* / 0.0.1 /' $ARCHIVE_DIR/versions.conf >/root/older.conf"
  fails_with 1 " to 0.0.1: it might not read its data" --role full --versions /root/older.conf
  in_container test -e /var/lib/metrics-stack/prometheus/wal -a \
    -e /var/lib/metrics-stack/grafana/grafana.db
}

# The central server is down and samples are pending. Alloy stops without waiting for them, within
# its TimeoutStopSec=20.
forwarding_ends() {
  local start stopped
  eventually 60 central_server_is_down_for_gamma
  start_run "${INSTALL[@]}" --no-forward
  wait_until "    alloy"
  start=$(in_container date +%s)
  wait "$JOB" || { cat "$SCRATCH/run" && return 1; }
  contains "$(<"$SCRATCH/run")" ", 0 failed"
  stopped=$(in_container systemctl show --property InactiveEnterTimestamp --value metrics-alloy)
  stopped=$(in_container date --date "${stopped:?}" +%s)
  # A wait for the queue would add its 30 s to the 20 s of the stop.
  at_most "time until Alloy had stopped" $((stopped - start)) 49
  measured "Alloy stopped after $((stopped - start)) s"
  installed_state | diff "$1" - || { echo "< a plain install, > after forwarding" && return 1; }
}

central_server_is_down_for_gamma() {
  ! on_central curl --silent --insecure --output /dev/null https://127.0.0.1:8427/ &&
    has_pending_samples
}

# Settings of forwarding survive an uninstall, and a release archive uses those of a checkout. The
# central server can't be reached, so systemd has to kill Alloy.
uninstall_keeps_it() {
  on_network ip link set eth0 down
  eventually 60 has_pending_samples
  contains "$(uninstall)" "kept: settings and credentials"
  equal "failed units" "$(in_container systemctl list-units --failed --no-legend)" ""
  on_network ip link set eth0 up
  unpack_archive
  contains "$(install_archive)" "✓ $PROOF"
  purge_by_archive "$1"
}

start_central_server "alpha:$FIRST" "fleet:$FIRST" ":$TOKEN"
boot_machine alpha 1
boot_machine beta 2
boot_machine gamma 3
on_machine beta traces >"$SCRATCH/before"
select_machine alpha
test "invalid options are refused" invalid_options_are_named
test "an unusable endpoint is refused before anything changes" unusable_endpoints_are_named
test "two agents and a full stack are verified at the central server" install_everywhere
test "samples have the instance of their host" samples_have_their_instance
test "requests have the tenant header" tenant_is_on_the_wire
test "an agent consists of the service and Alloy" agent_is_small
test "a later install keeps forwarding and changes nothing" later_install_keeps_it
test_in_background alpha "verify.sh reports a changed password, install.sh accepts the new one" \
  password_changes
test_in_background beta "verify.sh needs no root, and as root it names an unknown host" \
  verify_needs_no_root
test_in_background gamma "other users can't read the token" nobody_reads_the_token
wait_for_tests
select_machine gamma
test "a slow central server does not delay local samples" slow_central_server_delays_nothing_else
test_in_background gamma "--no-forward leaves the files of a plain install" forwarding_ends \
  "$SCRATCH/plain"
test "samples survive an outage of the central server" central_server_is_down
wait_for_tests
test_in_background alpha "an agent becomes a full stack, then an agent again" role_changes
test_in_background beta "an uninstall keeps the settings, a purge leaves no trace" \
  uninstall_keeps_it "$SCRATCH/before"
wait_for_tests
