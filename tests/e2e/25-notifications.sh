#!/usr/bin/env bash
# Notifications by mail and webhook, to a real mail server with STARTTLS and a login.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"
. "$E2E_DIR/lib/interrupt.sh"
. "$E2E_DIR/lib/releases.sh"

readonly MESSAGES=$SCRATCH/messages PASSWORD=fleet-9f3-mail-word
readonly AMTOOL=(/opt/metrics-stack/alertmanager/bin/amtool
  --alertmanager.url=http://127.0.0.1:9093)
readonly DROP_IN=/etc/systemd/system/metrics-alertmanager.service.d/notify.conf
# copy_secret PATH: copies standard input into the container, for root.
copy_secret() { in_container sh -c "umask 077 && cat >$1"; }

# The receivers run on this host, in the container's network. The container trusts their certificate
# as it trusts those of public servers.
start_receivers() {
  mkdir "$MESSAGES"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
    -subj /CN=mail.example -addext subjectAltName=DNS:mail.example \
    -keyout "$SCRATCH/mail.key" -out "$SCRATCH/mail.pem" 2>"$SCRATCH/receivers"
  in_container sh -c 'cat >/usr/local/share/ca-certificates/mail.crt && update-ca-certificates' \
    <"$SCRATCH/mail.pem" >>"$SCRATCH/receivers" 2>&1
  in_container sh -c 'echo 127.0.0.1 mail.example >>/etc/hosts'
  on_network /usr/bin/python3 "$E2E_DIR/lib/receivers.py" "$MESSAGES" "$SCRATCH/mail.pem" \
    "$SCRATCH/mail.key" alerts "$PASSWORD" >>"$SCRATCH/receivers" 2>&1 &
  eventually 20 receivers_listen
}
receivers_listen() { [[ $(listening) == *:2525*:2580* ]]; }
# received KIND WORDS: prints the path of a message, if one has the words.
received() { grep -l -s -e "$2" "$MESSAGES/$1"-* | head -n 1 | grep .; }

# block LANGUAGE NUMBER: prints a block of docs/notifications.md.
block() {
  awk -v open='```'"$1" -v number="$2" '
    /^```/ { inside = $0 == open && ++count == number; next } inside' "$ROOT/docs/notifications.md"
}
# example NUMBER: prints a YAML block for the receivers of this test.
example() {
  block yaml "$1" | sed "s/mail.example.org:587/mail.example:2525/; s/\"the password\"/$PASSWORD/
    s,https://example.org/.*,http://mail.example:2580/hook,; s/group_wait: 30s/group_wait: 1s/"
}
# The whole file for mail, with the parts for the dead man's switch.
watchdog_example() {
  example 4 >"$SCRATCH/routes"
  example 1 | sed "/^  routes:/r $SCRATCH/routes"
  example 5
}
# run_block NUMBER: runs an sh block in the container.
run_block() { in_container bash -euo pipefail -c "sudo() { \"\$@\"; }; $(block sh "$1")"; }

# The pins lack Alertmanager.
default_install_has_nothing_of_it() {
  in_container sh -c "grep -v ^alertmanager $ARCHIVE_DIR/versions.conf >/usr/src/versions.conf"
  run_until_verify "${INSTALL[@]}" --versions /usr/src/versions.conf
  contains "$(<"$SCRATCH/run")" "the stack is running, but not verified"
  verify --quick
  plain_state >"$SCRATCH/plain"
  equal "files" "$(in_container find /opt /etc /var/lib /var/cache -path '*/releases/*' -prune \
    -o -name '*alertmanager*' -print)" /etc/metrics-stack/prometheus/alertmanagers.d
  equal "units" "$(in_container systemctl list-units --all --no-legend '*alertmanager*')" ""
  lacks "$(listening)" :9093
  lacks "$(get 9090/api/v1/rules)" Alertmanager
  contains "$(get 9090/api/v1/alertmanagers)" '"activeAlertmanagers":[]'
  keep journal in_container journalctl --quiet --output cat --unit metrics-prometheus
  contains "$(<"$SCRATCH/journal")" level=INFO
  equal "complaints" "$(grep -E 'level=(WARN|ERROR)' "$SCRATCH/journal" || :)" ""
  keep verify verify --notify-test && return 1
  contains "$(<"$SCRATCH/verify")" "notifications are not configured"
}
# What a plain install has as well.
plain_state() {
  installed_state | grep -v -E '/(last-version-alertmanager|releases/.*)|\.keep|releases/'
}

host_label_is_the_present_name() {
  local name
  for name in web-2 web-1; do
    in_container hostname "$name"
    in_container systemctl restart metrics-prometheus.service
    eventually 20 has_host_label "$name"
  done
}
has_host_label() { get 9090/api/v1/status/config | grep "host: $1"; }

mistakes_are_refused() {
  example 1 | sed 's/smtp_from/smtp_form/' | copy_secret /usr/src/wrong.yml
  refuses 1 "line 3: field smtp_form not found" install --notify /usr/src/wrong.yml
  contains "$(<"$SCRATCH/refusal")" "correct /usr/src/wrong.yml"
  example 1 | sed "s/send_resolved: true/send_resolved: $PASSWORD/" | copy_secret /usr/src/wrong.yml
  refuses 1 "cannot unmarshal !!str … into bool" install --notify /usr/src/wrong.yml
  refuses 1 "must have one valid line for alertmanager" \
    install --notify /usr/src/mail.yml --versions /usr/src/versions.conf
  refuses 2 "no readable file: /usr/src/none" install --notify /usr/src/none
  refuses 2 "exclude each other" install --notify /usr/src/mail.yml --no-notify
  refuses 2 "the central server notifies" install --notify /usr/src/mail.yml \
    --role agent --forward-url https://central.example/api/v1/write
  refuses 0 "write $DROP_IN" install --notify /usr/src/webhook.yml --dry-run
}

mail_arrives() {
  keep install install --notify /usr/src/mail.yml
  contains "$(<"$SCRATCH/install")" ", 0 failed"
  contains "$(<"$SCRATCH/install")" "✓ test message delivered to mail (email)"
  decoded "$(received mail 'Subject: .FIRING. metrics-stack: test message from web-1')"
  contains "$(listening)" 127.0.0.1:9093
  equal "other addresses" "$(listening | grep -v -E '^(127\.|\[::1\])' || :)" ""
  contains "$(get 3001/api/datasources/uid/alertmanager --user admin:admin)" http://127.0.0.1:9093
  local exposure
  exposure=$(in_container systemd-analyze security --no-pager metrics-alertmanager.service |
    sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p')
  at_most "exposure" "$exposure" 1.6
  measured "exposure $exposure"
  # For alert_arrives, because an alert fires after a minute.
  in_container systemctl stop metrics-service.socket metrics-service.service
}

alert_arrives() {
  local mail
  eventually 120 received mail 'Subject: .FIRING. The service on web-1 does not respond'
  mail=$(decoded "$(received mail 'Subject: .FIRING. The service on web-1 does not respond')")
  echo "$mail"
  contains "$mail" "alertname = ServiceDown"
  contains "$mail" "journalctl -u metrics-service -n 50"
  contains "$mail" "host = web-1"
  in_container systemctl start metrics-service.socket metrics-service.service
}
# decoded MAIL: prints its subject, and its HTML as text.
decoded() {
  /usr/bin/python3 - "$1" <<'END'
import email, email.policy, html, re, sys
mail = email.message_from_binary_file(open(sys.argv[1], "rb"), policy=email.policy.default)
body = re.sub(r"(?s)<(style|head).*?</\1>|<[^>]*>", "", mail.get_body().get_content())
print(mail["Subject"], *filter(str.strip, html.unescape(body).splitlines()), sep="\n")
END
}

later_install_keeps_it() {
  local before
  second_install_changes_nothing
  before=$(invocations)
  keep install install --notify /usr/src/mail.yml
  equal "invocations with the same file" "$(invocations)" "$before"
  equal "directories" "$(in_container ls /var/lib/metrics-stack/install/credentials | wc -l)" 1
  keep verify as_nobody "$CHECKOUT/verify.sh"
  contains "$(<"$SCRATCH/verify")" "✓ Prometheus sends alerts to Alertmanager"
  contains "$(<"$SCRATCH/verify")" "✓ no notification failed in the last 15 minutes"
  contains "$(<"$SCRATCH/verify")" "✓ Grafana answers a query"
  lacks "$(<"$SCRATCH/verify")" "test message"
}

examples_are_valid() {
  local number
  for number in 1 2 3; do
    block yaml "$number" | in_container sh -c 'cat >/tmp/example.yml'
    in_container "${AMTOOL[0]}" check-config /tmp/example.yml
  done
  in_container rm /tmp/example.yml
  contains "$(run_block 2)" "HostFilesystem.*"
  keep silences in_container "${AMTOOL[@]}" silence query --quiet
  equal "silences" "$(<"$SCRATCH/silences")" ""
}

silence_survives_restarts() {
  local i
  in_container "${AMTOOL[@]}" silence add --author=me --comment=test --duration=2h \
    alertname=Silenced
  for i in 1 2; do
    in_container systemctl restart metrics-alertmanager.service
    eventually 20 is_silenced
  done
}
silence_survives_an_upgrade() {
  make_next
  run_until_verify "${INSTALL_NEXT[@]}"
  contains "$(in_container readlink /opt/metrics-stack/alertmanager)" alertmanager-99.0.0
  eventually 20 is_silenced
}
is_silenced() { in_container "${AMTOOL[@]}" silence query | grep Silenced; }

failures_have_their_reason() {
  example 1 | sed "s/$PASSWORD/another/" | copy_secret /usr/src/wrong.yml
  ! keep install install --notify /usr/src/wrong.yml || return 1
  contains "$(<"$SCRATCH/install")" \
    "✗ test message delivered to mail (email): *smtp.plainAuth auth: 535"
  contains "$(<"$SCRATCH/install")" ", 1 failed"
  contains "$(<"$SCRATCH/install")" "/verify.sh --notify-test"
  # The file is stored by now.
  ! keep install install --notify /usr/src/wrong.yml || return 1
  contains "$(<"$SCRATCH/install")" "✗ test message delivered to mail (email)"
  example 1 | sed 's/mail.example:/nowhere.example:/' | copy_secret /usr/src/wrong.yml
  fails_with "mail (email): .*lookup nowhere.example"
  example 3 | sed 's,/hook,/none,' | copy_secret /usr/src/wrong.yml
  fails_with "webhook (webhook): .*404"
}
# fails_with WORDS: the test message of /usr/src/wrong.yml.
fails_with() {
  run_until_verify "${INSTALL[@]}" --notify /usr/src/wrong.yml
  ! keep verify verify --quick --notify-test || return 1
  contains "$(<"$SCRATCH/verify")" ", 1 failed"
  grep -e "✗ test message delivered to $1" "$SCRATCH/verify"
}

# Alertmanager does not start with it, although amtool accepts it.
rollback_restores_it() {
  local before
  before=$(in_container cat "$DROP_IN")
  example 3 | sed 's,# http_config:.*,http_config: {tls_config: {ca_file: /none}},' |
    copy_secret /usr/src/wrong.yml
  ! keep install install --notify /usr/src/wrong.yml || return 1
  contains "$(<"$SCRATCH/install")" "rollback complete"
  equal "drop-in" "$(in_container cat "$DROP_IN")" "$before"
  eventually 20 get 9093/-/ready
}

nobody_reads_the_password() {
  installs_in_secret --notify /usr/src/watchdog.yml
  equal "mode" "$(in_container find /var/lib/metrics-stack/install/credentials -type f \
    -printf '%m %u')" "600 root"
  keep report verify --report /dev/stdout
  contains "$(<"$SCRATCH/report")" "== verify"
  lacks "$(<"$SCRATCH/report")" "$PASSWORD"
  keep status get 9093/api/v2/status
  contains "$(<"$SCRATCH/status")" smarthost
  lacks "$(<"$SCRATCH/status")" "$PASSWORD"
}

dead_mans_switch_pings() {
  run_block 3
  eventually 60 received webhook '"Notifications of web-1 work"'
  in_container rm /etc/metrics-stack/prometheus/rules/watchdog.yml
  in_container systemctl reload metrics-prometheus.service
}

webhook_arrives() {
  run_until_verify "${INSTALL_NEXT[@]}" --notify /usr/src/webhook.yml
  keep verify verify --quick --notify-test
  contains "$(<"$SCRATCH/verify")" "✓ test message delivered to webhook (webhook)"
  cat "$(received webhook 'metrics-stack: test message from web-1')"
}

notifications_end() {
  run_until_verify "${INSTALL[@]}" --allow-downgrade --no-notify
  verify --quick
  lacks "$(listening)" :9093
  contains "$(get 9090/api/v1/alertmanagers)" '"activeAlertmanagers":[]'
  plain_state | diff "$SCRATCH/plain" - ||
    { echo "< a plain install, > after notifications" && return 1; }
  in_container test -e /var/lib/metrics-stack/alertmanager/silences
}

compgen -G "$WORK/payload$ARCHIVE_DIR/alertmanager-*" >/dev/null ||
  { skip "notifications" "the archives lack Alertmanager" && exit; }
boot trixie --private-network --hostname=web-1
start_receivers
example 1 | copy_secret /usr/src/mail.yml
example 3 | copy_secret /usr/src/webhook.yml
watchdog_example | copy_secret /usr/src/watchdog.yml
traces >"$SCRATCH/before"
test "a default install has nothing of Alertmanager" default_install_has_nothing_of_it
test "a restart of Prometheus renews the label host" host_label_is_the_present_name
test "a test message arrives by mail" mail_arrives
test "mistakes are refused before anything changes" mistakes_are_refused
test "the examples of docs/notifications.md are valid" examples_are_valid
test "a silence survives two restarts" silence_survives_restarts
test "the alert of a stopped service arrives by mail" alert_arrives
test "a later install keeps the configuration" later_install_keeps_it
test "a failed delivery is reported with its reason" failures_have_their_reason
test "a rollback restores the configuration" rollback_restores_it
test "other users can't read the password" nobody_reads_the_password
test "the dead man's switch sends requests" dead_mans_switch_pings
test "the silence survives an upgrade" silence_survives_an_upgrade
test "a test message arrives by webhook" webhook_arrives
test "--no-notify leaves the files of a plain install" notifications_end
test "a purge leaves no trace" purge_leaves_no_trace "$SCRATCH/before"
