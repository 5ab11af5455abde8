# Notifications: Alertmanager with the administrator's configuration, and a test message.

# Set by verify.sh --notify-test; the receivers of the test message.
NOTIFY_TEST='' RECEIVERS=''

# check_alertmanager: amtool reads the file as the unit does. Masks values in its errors, because
# they can be parts of passwords.
check_alertmanager() {
  local output
  # shellcheck disable=SC2016  # for systemd-run
  output=$(systemd-run --quiet --pipe --wait --collect --property=DynamicUser=yes \
    --property=LoadCredential="notify:${SETTINGS["notify"]}" \
    "$(store_path alertmanager)/bin/amtool" check-config '${CREDENTIALS_DIRECTORY}/notify' \
    2>&1 </dev/null) ||
    fail_check "Alertmanager refuses its configuration: $(sed -E "
      /^amtool: error|^$|SUCCESS$|^Found:|^ - /d; s/^Checking '.*'  FAILED: //
      s/\`.*\`/…/; s/(anchor|address) [^ ]+/\1 …/
      s/(parse|port) \"([^\"\\]|\\\\.)*\"/\1 …/g" \
      <<<"${output:-amtool was not started: the file must exist, with at most 1 MB}")" \
      "correct ${NOTIFY:-${SETTINGS["notify"]}}; docs/notifications.md has examples"
}

verify_notifications() {
  check "Prometheus sends alerts to Alertmanager" 20 \
    "compare: diff {$ETC,$OPT/current/etc}/prometheus/prometheus.yml" alerts_are_sent
  check "no notification failed in the last 15 minutes" 0 "$(journal_hint alertmanager)" \
    no_notification_failed
}

alerts_are_sent() {
  curl_local 9090/api/v1/alertmanagers | grep '"activeAlertmanagers":\[{.*:9093/' >/dev/null ||
    fail "it has no Alertmanager"
}

# no_notification_failed: failures before the last start of Alertmanager do not count.
no_notification_failed() {
  local metric=alertmanager_notifications_failed_total failed
  curl_local 9093/metrics | grep "^$metric{.* [1-9]" >/dev/null || return 0
  failed=$(query_prometheus "ceil(sum(increase($metric{job=\"alertmanager\"}[15m]))) > 0")
  [[ -z $failed ]] || fail "$failed failed"
}

# verify_test_message: sends an alert and waits until Alertmanager has tried to deliver it.
verify_test_message() {
  local before tried end name
  # Time and PID make a group of its own: a group is notified again after minutes or hours only.
  name="Test message $(date +%T).$$"
  before=$(notification_counts 2>/dev/null) || :
  check "Alertmanager accepts a test alert" 0 "$(journal_hint alertmanager)" send_test_alert "$name"
  [[ -n $OK ]] || return 0
  RECEIVERS=$(receivers_of "$name") || :
  end=$(($(uptime_now) + TIMEOUT))
  until tried=$(deliveries "$before") && were_tried "$tried" || (($(uptime_now) >= end)); do
    sleep 0.5
  done
  tried=$(cut -d' ' -f2- <<<"$tried" | paste -sd,)
  check "test message delivered to ${tried:-a receiver}" 5 \
    "correct the configuration: sudo $SCRIPTS/install.sh --notify FILE" is_delivered "$before"
}

# send_test_alert NAME: it is resolved after resolve_timeout, 5 minutes by default. Because it began
# an hour ago, a new group does not wait for group_wait.
send_test_alert() {
  local host
  host=$(uname -n)
  curl_local 9093/api/v2/alerts --header 'Content-Type: application/json' --data @- <<END
[{"startsAt": "$(date --utc --date='1 hour ago' +%FT%TZ)",
  "labels": {"alertname": "$1", "severity": "critical", "instance": "$host"},
  "annotations": {"summary": "metrics-stack: test message from $host",
    "description": "It is resolved by itself. To send another: \`./verify.sh --notify-test\`"}}]
END
}

# receivers_of NAME: prints a label for each receiver of an alert, as in Alertmanager's metrics.
# JSON also escapes <, > and &.
receivers_of() {
  curl_local 9093/api/v2/alerts --get --data-urlencode "filter=alertname=\"$1\"" |
    grep -o -E '"name":"([^"\\]|\\.)*"' |
    sed 's/"name":/receiver_name=/; s/\\u0026/\&/g; s/\\u003c/</g; s/\\u003e/>/g'
}

notification_counts() {
  curl_local 9093/metrics |
    grep -E '^alertmanager_notification(s|_requests|_requests_failed)_total\{'
}

# deliveries BEFORE: prints `STATE RECEIVER (INTEGRATION)` for each new notification to one of
# RECEIVERS. Others get alerts of their own meanwhile, such as those of a dead man's switch.
# Alertmanager counts a notification before it is tried, and as failed after minutes of retries, so
# the requests decide: each notification needs one that succeeds.
deliveries() {
  awk -F'[{"]' '
    { receiver = $5 " (" $3 ")"; count = substr($NF, 3) }
    NR == FNR { before[$1, receiver] = count; next }
    { new[$1, receiver] = count - before[$1, receiver] }
    $1 ~ /notifications_total$/ && new[$1, receiver] > 0 { started[receiver] = new[$1, receiver] }
    END {
      for (receiver in started) {
        sent = new["alertmanager_notification_requests_total", receiver]
        failed = new["alertmanager_notification_requests_failed_total", receiver]
        print (!sent ? "waiting" : failed && sent - failed < started[receiver] ? "failed" \
          : "delivered"), receiver
      }
    }' <(printf '%s\n' "$1") <(notification_counts | grep --fixed-strings "$RECEIVERS")
}
were_tried() { [[ -n $1 && $'\n'$1 != *$'\nwaiting '* ]]; }

# is_delivered BEFORE: fails with the reason in the journal, if this user can read it. Masks URLs,
# because the log of a run is world-readable, and some receivers have their token in the URL.
is_delivered() {
  local states reason
  states=$(deliveries "$1")
  [[ -n $states ]] || fail "nothing sent to $(paste -sd, <<<"${RECEIVERS//receiver_name=/}"): it \
is empty, silenced or muted, or its group_by lacks alertname" || return
  were_tried "$states" || fail "no response" || return
  grep --quiet '^failed' <<<"$states" || return 0
  reason=$(journalctl --quiet --unit metrics-alertmanager.service --since -2min --output cat \
    2>/dev/null | sed -n 's/.* err="\(.*\)"$/\1/; T; s/\\"/"/g; s,://[^" ]*,://…,g; p' |
    tail -n 1) || :
  fail "${reason:-for the reason, run: $(journal_hint alertmanager)}"
}
