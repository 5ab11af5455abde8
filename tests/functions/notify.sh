# Which deliveries count, and when notifications are configured.
# shellcheck shell=bash

test_forwarding_options_keep_notifications() {
  local key
  has_stored url https://a.example/w notify /var/a
  for key in none url; do
    OPTIONS=(["$key"]=https://b.example/w)
    merge_settings
    equal "notify after $key" "${SETTINGS["notify"]}" /var/a
  done
  OPTIONS=() NO_NOTIFY=1
  merge_settings
  equal "notify after --no-notify" "${SETTINGS["notify"]-}" ""
  equal "url after --no-notify" "${SETTINGS["url"]}" https://a.example/w
}

test_agents_have_no_notifications() {
  has_stored url https://a.example/w notify /var/a
  OPTIONS=(["role"]=agent)
  fails merge_settings
  contains "$OUTPUT" "the central server notifies: use --no-notify"
  NO_NOTIFY=1
  merge_settings
  equal "components" "${ARCHIVE_COMPONENTS[*]}" alloy
}

test_only_its_own_files_depend_on_alertmanager() {
  local name
  for name in alertmanager metrics-alertmanager.service etc/prometheus/rules/alertmanager.yml; do
    fails role_has "$name"
  done
  role_has etc/prometheus/alertmanagers.d/.keep
  role_has etc/prometheus/prometheus.yml
  apply_role
  equal "components" "${ARCHIVE_COMPONENTS[*]}" "prometheus alloy grafana"
  lacks "${UNITS[*]}" alertmanager
}

# counts INTEGRATION NOTIFICATIONS REQUESTS FAILED
counts() {
  printf "alertmanager_notification%s_total{integration=\"$1\",receiver_name=\"on call\"} %s\n" \
    s "$2" _requests "$3" _requests_failed "$4"
}
# Before: 7 notifications, 9 requests, 2 of them failed. A receiver can have two mail addresses, a
# notification that all is resolved needs no request, and a restart resets the counters.
test_a_delivery_is_a_request_that_succeeds() {
  local before expected notifications requests failed
  before=$(counts email 7 9 2 && counts slack 1 1 0)
  while IFS='|' read -r notifications requests failed expected; do
    notification_counts() {
      counts email "$notifications" "$requests" "$failed" && counts slack 1 1 0
    }
    equal "$notifications $requests $failed" "$(deliveries "$before")" "$expected"
  done <<'END'
7|9|2|
8|9|2|waiting on call (email)
8|10|2|delivered on call (email)
8|10|3|failed on call (email)
8|12|4|delivered on call (email)
9|11|3|failed on call (email)
9|13|4|delivered on call (email)
9|10|2|delivered on call (email)
1|1|0|
END
}

test_each_receiver_must_have_been_tried() {
  local before
  before=$(counts email 7 9 2 && counts slack 1 1 0)
  notification_counts() { counts email 8 10 2 && counts slack 2 1 0; }
  fails is_delivered "$before"
  contains "$OUTPUT" "no response"
  notification_counts() { counts email 8 10 2 && counts slack 2 2 1; }
  fails is_delivered "$before"
  contains "$OUTPUT" "for the reason, run: sudo journalctl"
  notification_counts() { counts email 8 10 2 && counts slack 2 3 1; }
  is_delivered "$before"
}

# A dead man's switch notifies its receiver while the test message waits for its group.
test_only_receivers_of_the_test_message_count() {
  local before
  before=$(counts email 7 9 2 && counts slack 1 1 0 | sed 's/on call/ping/')
  notification_counts() { counts email 7 9 2 && counts slack 2 2 0 | sed 's/on call/ping/'; }
  RECEIVERS='receiver_name="on call"'
  equal "deliveries" "$(deliveries "$before")" ""
  fails is_delivered "$before"
  contains "$OUTPUT" 'nothing sent to "on call": it is empty, silenced or muted'
}

# A group_wait of half an hour does not delay it.
test_the_test_message_began_before_group_wait() {
  local start
  curl_local() { cat; }
  start=$(send_test_alert "Test message" | sed -n 's/.*"startsAt": "\([^"]*\)".*/\1/p')
  [[ -n $start ]]
  (($(date +%s) - $(date --date="$start" +%s) > 1800)) || { echo "it began: $start" && return 1; }
}

# Two runs of verify.sh can send theirs in the same second.
test_a_test_message_has_a_name_of_its_own() {
  date() { echo 12:00:00; }
  curl_local() { return 1; }
  send_test_alert() { fail "$1"; }
  contains "$(verify_test_message)" "accepts a test alert: Test message 12:00:00.$$"
}

# ERROR~MASKED: lines of amtool with a password, hunter2.
test_an_error_masks_values() {
  local line masked
  SETTINGS["notify"]=$SCRATCH/notify
  while IFS='~' read -r line masked; do
    systemd-run() { printf "Checking '/run/notify'  FAILED: %s\n\n" "$line" && return 1; }
    OUTPUT=$(check_alertmanager 2>&1)
    contains "$OUTPUT" "refuses its configuration: $masked"
    lacks "$OUTPUT" ter2
  done <<'END'
yaml: unknown anchor 'hunter2' referenced~yaml: unknown anchor … referenced
line 2: cannot unmarshal !!str `h`un`ter2` into bool~line 2: cannot unmarshal !!str … into bool
parse "u:hun\"ter2@x": invalid port ":hunter2" after host~parse …: invalid port … after host
address u:hunter2@x:587: too many colons in address~address … too many colons in address
END
}

test_receivers_have_their_name_in_metrics() {
  curl_local() {
    printf '%s\n' '[{"annotations":{"summary":"a"},"labels":{"alertname":"Test message 12:00:00"},
      "receivers":[{"name":"R\u0026D \"\u003ca\u003e\""},{"name":"on call"}]}]'
  }
  equal "receivers" "$(receivers_of "Test message 12:00:00")" \
    $'receiver_name="R&D \\"<a>\\""\nreceiver_name="on call"'
}

test_a_missing_archive_is_downloaded_with_notify() {
  FROM=$SCRATCH
  OUTPUT=$(check_pins 2>&1)
  contains "$OUTPUT" "run: ./install.sh --download DIR --notify FILE"
  equal "hints without --notify" "$(grep -c -e '--download DIR$' <<<"$OUTPUT")" 3
}

test_the_reason_has_no_url() {
  notification_counts() { counts email 8 10 3; }
  journalctl() {
    printf 'level=WARN msg="Notify attempt failed" err="%s"\n' \
      'telegram[0]: Post \"https://api.telegram.org/bot1:AAb/sendMessage\": dial tcp: timeout'
  }
  fails is_delivered "$(counts email 7 9 2)"
  equal "reason" "$OUTPUT" 'telegram[0]: Post "https://…": dial tcp: timeout'
}

# systemd passes no missing file, and no larger one. amtool reports templates after the file itself.
test_an_error_has_a_reason() {
  SETTINGS["notify"]=$SCRATCH/notify
  systemd-run() { return 1; }
  contains "$(check_alertmanager 2>&1)" "configuration: amtool was not started: the file must exist"
  systemd-run() {
    printf '%s\n' "Checking '/run/notify'  SUCCESS" Found: " - route" "  SUCCESS" \
      "  FAILED: template: a.tmpl:1: bad character" "" "amtool: error: failed to validate 1 file(s)"
    return 1
  }
  contains "$(check_alertmanager 2>&1)" "configuration:   FAILED: template: a.tmpl:1: bad character
  hint: correct"
}
