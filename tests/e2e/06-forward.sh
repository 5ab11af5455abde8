#!/usr/bin/env bash
# Two agents and a whole stack forward to a VictoriaMetrics: wrong credentials, a slow far end, none at all, and roles that change.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"
. "$E2E_DIR/lib/interrupt.sh"
. "$E2E_DIR/lib/central.sh"

readonly PROOF="10 test requests reach the central server (query at https://far.example:8427)"
readonly FIRST='fleet-9f3 "pass\word"' SECOND=second-password TOKEN=fleet-9f3-token-word
declare -A DISKS=()
trap 'for DISK in "${DISKS[@]}"; do power_off; done' EXIT

# machine NAME NUMBER
machine() {
  boot trixie --private-network --hostname="$1"
  DISKS[$1]=$DISK
  cable "$2"
  copy_in "$FAR/far.pem" /root/far.pem
  copy_in "$FAR/wrong.pem" /root/wrong.pem
  copy_in "$FAR/cn.pem" /root/cn.pem
  copy_in <(printf '%s\n' "$FIRST") /root/password
  copy_in <(echo "$TOKEN") /root/token
  in_container chmod 0600 /root/password /root/token
}
copy_in() { in_container sh -c "cat >$2" <"$1"; }
# here NAME: what follows is on that machine; on NAME COMMAND...: that alone.
here() { DISK=${DISKS[$1]} NSPAWN=(--machine=vm-trixie --private-network --hostname="$1"); }
on() {
  local DISK NSPAWN
  here "$1"
  "${@:2}"
}
# aside NAME TEST COMMAND...: a test on that machine while others run, until together.
aside() {
  beside "$@" &
  ASIDE+=($!)
}
beside() {
  local DISK NSPAWN SCRATCH
  here "$1"
  SCRATCH=$(mktemp -d "$FAR/../aside.XXXXXX")
  test "${@:2}"
}
together() { wait "${ASIDE[@]}" && ASIDE=(); }
ASIDE=()

# An agent's login is its own, for one test changes it.
readonly LOGIN=(--forward-user fleet --forward-password-file /root/password --forward-ca /root/far.pem)
readonly FORWARD=(--forward-url "$FAR_URL" "${LOGIN[@]}" --forward-tenant fleet)
readonly ALPHAS=("${FORWARD[@]}" --forward-user alpha)
readonly BY_TOKEN=(--forward-url "$FAR_URL" --forward-token-file /root/token --forward-ca /root/far.pem --forward-tenant fleet)
install() { in_container "${INSTALL[@]}" "$@"; }

wrong_calls_are_named() {
  local call words
  while IFS='|' read -r words call; do
    # shellcheck disable=SC2086  # options are words
    fails_with 2 "$words" $call </dev/null
  done <<END
an agent stores no samples|--role agent
invalid role: half|--role half
forwarding is not configured|--forward-tenant fleet
must be https:// unless on loopback|--forward-url http://far.example/api/v1/write
without a password|--forward-url https://fleet:secret@far.example/api/v1/write
--forward-user needs|--forward-url $FAR_URL --forward-user fleet
a password or a token|--forward-url $FAR_URL --forward-user fleet --forward-token-file /root/password
exclude each other|--forward-url $FAR_URL --no-forward
/root/none does not exist|--forward-url $FAR_URL --forward-ca /root/none
/root/far.pem is not one line|--forward-url $FAR_URL --forward-token-file /root/far.pem
/root/password contains no certificate|--forward-url $FAR_URL --forward-ca /root/password
END
}

# fails_with STATUS WORDS OPTION...
fails_with() {
  local status=0
  keep refusal install "${@:3}" || status=$?
  equal "status" "$status" "$1"
  contains "$(<"$SCRATCH/refusal")" "$2"
}

wrong_receivers_are_named() {
  fails_with 1 "cannot be resolved" --forward-url https://nowhere.example/api/v1/write "${LOGIN[@]}"
  fails_with 1 "failed TLS verification" --forward-url "$FAR_URL"
  fails_with 1 "failed TLS verification" "${FORWARD[@]}" --forward-ca /root/wrong.pem
  contains "$(<"$SCRATCH/refusal")" "--forward-ca FILE"
  fails_with 1 "has a certificate without subjectAltName" "${FORWARD[@]}" --forward-url "$CN_URL" --forward-ca /root/cn.pem
  fails_with 1 "does not accept remote write at this path (HTTP 400: unsupported path requested" "${FORWARD[@]}" --forward-url "${FAR_URL%/write}"
  copy_in <(echo wrong) /root/wrong
  refuses 1 "rejected the credentials (HTTP 401)" install "${FORWARD[@]}" --forward-password-file /root/wrong
  contains "$(<"$SCRATCH/refusal")" "nothing has been changed"
  refuses 0 "write /etc/systemd/system/metrics-alloy.service.d/forward.conf" install --role agent "${FORWARD[@]}" --dry-run
}

# All three at once. The whole stack is first one without forwarding.
install_everywhere() {
  local jobs=() job
  on alpha install --role agent "${ALPHAS[@]}" >"$SCRATCH/alpha" 2>&1 &
  jobs+=($!)
  on beta install --role agent "${FORWARD[@]}" >"$SCRATCH/beta" 2>&1 &
  jobs+=($!)
  {
    on gamma goes_on "${INSTALL[@]}"
    on gamma placed >"$SCRATCH/plain"
    on gamma install "${BY_TOKEN[@]}"
  } >"$SCRATCH/gamma" 2>&1 &
  jobs+=($!)
  for job in "${jobs[@]}"; do wait "$job" || { cat "$SCRATCH"/{alpha,beta,gamma} && return 1; }; done
  for job in alpha beta gamma; do
    contains "$(<"$SCRATCH/$job")" ", 0 failed"
    contains "$(<"$SCRATCH/$job")" "✓ $PROOF"
  done
}
# What an install has put on the host.
placed() { in_container sh -c 'find /etc/metrics-stack /etc/systemd/system -type f ! -name "*.reserve" -exec sha256sum {} + && find /opt/metrics-stack /var/lib/metrics-stack/install -maxdepth 2 -printf "%p %y %l\n"' | sort; }

come_from() { [[ $(far_instances "up{job=\"$2\"}") == "$1" ]]; }
samples_are_told_apart() {
  local job
  # The proof waits for the service's first scrape alone.
  for job in metrics_service node alloy; do eventually 30 come_from "alpha beta gamma" "$job"; done
  equal "hosts in the local Prometheus" "$(on gamma query 'count(count by (instance) (up{job="metrics_service"}))')" 1
  equal "what is for the far end alone" "$(on gamma query 'count(up{job="alloy",instance="gamma"}) or vector(0)')" 0
  on alpha copy_in <(echo '[{targets: ["127.0.0.1:8000"], labels: {job: shop}}]') /etc/metrics-stack/targets.d/shop.yml
  on beta copy_in <(echo '[{targets: ["localhost:8000"], labels: {job: shop}}]') /etc/metrics-stack/targets.d/shop.yml
  eventually 60 shops_are_told_apart
}
shops_are_told_apart() { [[ $(far_instances 'up{job="shop"}') == "alpha:8000 beta:8000" ]]; }

tenant_is_on_the_wire() { equal "tenants" "$(grep '^/api/v1/write' "$FAR/tenants" | sort -u)" "/api/v1/write fleet"; }

agent_is_small() {
  equal "units" "$(in_container systemctl list-units --plain --no-legend --state=active 'metrics-*' | cut -d' ' -f1 | paste -sd' ')" \
    "metrics-alloy-ui.service metrics-alloy.service metrics-service.service metrics-alloy-ui.socket metrics-service.socket metrics-stack.target"
  equal "ports" "$(listening | grep -c -E '127.0.0.1:(9090|3001)$' || :)" 0
  equal "what the others would have" "$(in_container find /opt/metrics-stack /etc/metrics-stack /var/lib/metrics-stack /etc/systemd -name '*prometheus*' -o -name '*grafana*')" ""
}

later_install_keeps_it() {
  second_install_changes_nothing
  local before
  before=$(invocations)
  keep install install --role agent "${ALPHAS[@]}"
  equal "invocations with the same options" "$(invocations)" "$before"
}

anyone_may_verify() {
  keep verify in_container setpriv --reuid=65534 --regid=65534 --clear-groups "$CHECKOUT/verify.sh"
  contains "$(<"$SCRATCH/verify")" ", 0 failed"
  contains "$(<"$SCRATCH/verify")" "✓ 10 test requests reach the central server (Alloy's send counters)"
  # Alloy's own metrics alone are no proof.
  in_container sed -i 's/remote_write.forward.receiver/remote_write.other.receiver/' /etc/metrics-stack/alloy/outputs.alloy
  ! keep verify in_container setpriv --reuid=65534 --regid=65534 --clear-groups "$CHECKOUT/verify.sh" || return 1
  contains "$(<"$SCRATCH/verify")" "✗ outputs.alloy forwards to the central server: your edited version does not"
  in_container sed -i 's/remote_write.other.receiver/remote_write.forward.receiver/' /etc/metrics-stack/alloy/outputs.alloy
  verify_names_an_unknown_host
  verify_names_a_new_name
}

verify_names_an_unknown_host() {
  in_container sh -c 'sed /far.example/d /etc/hosts >/tmp/hosts && cp /etc/hosts /tmp/known && cat /tmp/hosts >/etc/hosts'
  ! keep verify verify || return 1
  in_container sh -c 'cat /tmp/known >/etc/hosts && rm /tmp/known /tmp/hosts'
  contains "$(<"$SCRATCH/verify")" "✗ $FAR_URL accepts remote write: cannot be resolved"
}

# Whatever stands between the two words of password and token.
readonly WATCH='while [ ! -e /tmp/done ]; do cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\0" "\n" | grep -a "^.\{0,40\}fleet-9f[3].*word"; done || :'
readonly SEARCH='grep -r -l -s "fleet-9f3.*word" /etc /opt /root /var /run /tmp; systemctl show "metrics-*" | grep "fleet-9f3.*word"
  journalctl --quiet | grep "fleet-9f3.*word"; cat /proc/[0-9]*/environ 2>/dev/null | tr "\0" "\n" | grep -a "fleet-9f3.*word"; :'
# While an install hands the password over, and after it, for the user nobody.
nobody_reads_the_token() {
  local watch
  in_container sh -c "$WATCH" >"$SCRATCH/seen" &
  watch=$!
  # What the watch would see.
  in_container sh -c 'sleep 1; :' 'fleet-9f3 decoy word'
  install "${BY_TOKEN[@]}"
  verify
  in_container touch /tmp/done
  wait "$watch"
  equal "command lines with the token" "$(sort -u "$SCRATCH/seen")" "fleet-9f3 decoy word"
  contains "$(in_container sh -c "$SEARCH")" /var/lib/metrics-stack/install/credentials/
  equal "readable by nobody" "$(in_container setpriv --reuid=65534 --regid=65534 --clear-groups sh -c "$SEARCH")" ""
  equal "for root" "$(in_container find /var/lib/metrics-stack/install/credentials -printf '%y %m %u\n' | sort -u)" "$(printf 'd 700 root\nd 755 root\nf 600 root')"
}

password_changes() {
  local before
  before=$(in_container ls /var/lib/metrics-stack/install/credentials)
  logins_are "alpha:$SECOND" "fleet:$FIRST" ":$TOKEN"
  eventually 20 refuses_login
  contains "$(<"$SCRATCH/verify")" "--forward-password-file"
  before+=" $(in_container systemctl show --property InvocationID --value metrics-alloy)"
  copy_in <(echo "$SECOND") /root/password
  keep install install --forward-password-file /root/password
  contains "$(<"$SCRATCH/install")" ", 0 failed"
  equal "folders" "$(in_container ls /var/lib/metrics-stack/install/credentials | wc -l)" 1
  lacks "$before" "$(in_container ls /var/lib/metrics-stack/install/credentials)"
  lacks "$before" "$(in_container systemctl show --property InvocationID --value metrics-alloy)"
}
refuses_login() {
  ! keep verify verify || return 1
  contains "$(<"$SCRATCH/verify")" "✗ $FAR_URL accepts remote write: rejected the credentials (HTTP 401)"
}

verify_names_a_new_name() {
  in_container hostname another
  ! keep verify verify || return 1
  in_container hostname beta
  contains "$(<"$SCRATCH/verify")" "✗ Alloy uses this host's name: its samples still have the instance beta"
  contains "$(<"$SCRATCH/verify")" "systemctl restart metrics-alloy.service"
}

slow_far_end_holds_back_nobody() {
  local start end
  start=$(date +%s)
  echo "$start" >"$SCRATCH/slow-since"
  touch "$FAR/slow"
  sleep 30
  end=$(date +%s)
  # The local Prometheus has it all, while samples wait for the far end.
  eventually 20 no_gap_beyond 25 "$start" "$end"
  at_most "samples that wait at least" 1 "$(waiting forward)"
  measured "longest gap in the local Prometheus $(longest_gap "$start" "$end") s, $(waiting local) samples wait for it and $(waiting forward) for the far end"
  rm "$FAR/slow"
}
waiting() { get 12345/metrics | sed -n "s/^prometheus_remote_storage_samples_pending{.*remote_name=\"$1\".* //p"; }
far_gap() { far_samples "up{job=\"metrics_service\",instance=\"$1\"}[20m]" | gap_in "${@:2}"; }
far_has_no_gap() { local gap && gap=$(far_gap "$@") && ((gap > 0 && gap < 25)); }

# One agent is rebooted in the middle.
far_end_is_away() {
  local start gone middle end away=60 gap
  [[ -z ${ALL-} ]] || away=600
  # What the slow far end held up is to arrive, too.
  start=$(<"$SCRATCH/slow-since")
  far_goes_away
  gone=$(date +%s)
  # The reboot takes the other 20 s: Alloy stops no sooner.
  sleep $((away / 2 - 20))
  on beta reboot
  on beta cable 2
  middle=$(date +%s)
  sleep $((away / 2))
  end=$(date +%s)
  far_is_back
  eventually 120 far_has_no_gap alpha "$start" "$end"
  measured "away for $((end - gone)) s: longest gap of the agent that ran on $(far_gap alpha "$start" "$end") s"
  # What Alloy had not sent when it stopped is lost; what came after its start is not.
  eventually 120 far_has_no_gap beta $((middle + 30)) "$end"
  gap=$(far_gap beta "$start" "$end")
  at_most "the gap of the rebooted one" "$gap" $((middle - start + 60))
  measured "of the one rebooted $((middle - gone)) s into it $gap s"
}

role_changes() {
  keep install install --role full
  contains "$(<"$SCRATCH/install")" "✓ Grafana answers a query"
  units_are_up
  contains "$(<"$SCRATCH/install")" "✓ $PROOF"
  in_container sh -c 'echo "# mine" >>/etc/systemd/system/metrics-grafana.service'
  goes_on "${INSTALL[@]}" --role agent
  verify --quick
  equal "of the others, but for what a person has edited" "$(in_container find /opt/metrics-stack /etc/metrics-stack /etc/systemd -name '*prometheus*' -o -name '*grafana*')" \
    /etc/systemd/system/metrics-grafana.service
  equal "that unit" "$(in_container systemctl is-active metrics-grafana || :) $(in_container systemctl is-enabled metrics-grafana || :)" "inactive disabled"
  in_container sh -c "sed '/^prometheus/s/ [0-9.]* / 0.0.1 /' $ARCHIVE_DIR/versions.conf >/root/older.conf"
  fails_with 1 "has run on the data here, and 0.0.1 is older" --role full --versions /root/older.conf
  in_container test -e /var/lib/metrics-stack/prometheus/wal -a -e /var/lib/metrics-stack/grafana/grafana.db
}

# From a far end that is away, with samples that wait for it: Alloy is stopped without a wait for them, within its TimeoutStopSec=20.
forwarding_ends() {
  local start stopped
  eventually 60 far_is_away_for_gamma
  start=$(in_container date +%s)
  keep install install --no-forward
  contains "$(<"$SCRATCH/install")" ", 0 failed"
  stopped=$(in_container date --date "$(in_container systemctl show --property InactiveEnterTimestamp --value metrics-alloy)" +%s)
  at_most "time until Alloy had stopped" $((stopped - start)) 40
  measured "from a far end that is away Alloy had stopped after $((stopped - start)) s"
  placed | diff "$1" - || { echo "< a plain install, > after forwarding" && return 1; }
}

far_is_away_for_gamma() { ! on_far curl --silent --insecure --output /dev/null https://127.0.0.1:8427/ && (($(waiting forward) > 0)); }

# The releases that are left after an uninstall know it.
uninstall_keeps_it() {
  contains "$(uninstall)" "kept: where it forwards to"
  contains "$(install)" "✓ $PROOF"
  purge_leaves_no_trace "$1"
}

make_far_end "alpha:$FIRST" "fleet:$FIRST" ":$TOKEN"
machine alpha 1
machine beta 2
machine gamma 3
on beta traces >"$SCRATCH/before"
here alpha
test "options that make no sense" wrong_calls_are_named
test "an unknown host, another's certificate, a wrong password: said before anything changes" wrong_receivers_are_named
test "two agents and a whole stack are proven at the far end" install_everywhere
test "their samples are told apart" samples_are_told_apart
test "the tenant is on the wire" tenant_is_on_the_wire
test "an agent is the service and Alloy alone" agent_is_small
test "a later install keeps it, and changes nothing" later_install_keeps_it
aside alpha "another password: verify says so, install takes it" password_changes
aside beta "anyone may verify, by what Alloy counts; root is told of an unknown host" anyone_may_verify
aside gamma "nobody reads the token" nobody_reads_the_token
together
here gamma
test "a far end that takes ten seconds holds back nobody" slow_far_end_holds_back_nobody
aside gamma "forwarding ends, and leaves what a plain install has" forwarding_ends "$SCRATCH/plain"
test "a far end that is away, and an agent rebooted meanwhile" far_end_is_away
together
aside alpha "an agent becomes a whole stack, and an agent again" role_changes
aside beta "after an uninstall an install goes on with it; a purge leaves no trace" uninstall_keeps_it "$SCRATCH/before"
together
