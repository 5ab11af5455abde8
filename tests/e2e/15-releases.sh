#!/usr/bin/env bash
# Upgrade and downgrade on a host with edits of an administrator.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"
. "$E2E_DIR/lib/releases.sh"
. "$E2E_DIR/lib/interrupt.sh"

# Edits, a deletion, a new file, a drop-in, a disabled unit, a password.
edit_host() {
  in_container sed -i 's/15d/6d/' /etc/metrics-stack/prometheus/retention.env
  in_container sed -i 's/^Description=.*/Description=Mine/' \
    /etc/systemd/system/metrics-alloy-ui.service
  in_container rm /etc/metrics-stack/targets.d/example.yml.disabled
  in_container sh -c 'echo "groups: []" >/etc/metrics-stack/prometheus/rules/mine.yml'
  in_container mkdir -p /etc/systemd/system/metrics-grafana.service.d /opt/metrics-stack/mine
  in_container sh -c "
    printf '[Service]\nNice=5\n' >/etc/systemd/system/metrics-grafana.service.d/mine.conf"
  in_container ln -s /nowhere /etc/metrics-stack/targets.d/mine.disabled
  in_container sh -c 'cat >/etc/metrics-stack/grafana/dashboards.d/mine.json' \
    <<<'{"uid": "mine", "title": "Mine", "schemaVersion": 36, "panels": []}'
  in_container systemctl --quiet disable --now metrics-alloy-ui.socket metrics-alloy-ui.service
  in_container systemctl daemon-reload
  change_grafana_password
  in_container systemctl restart metrics-prometheus metrics-grafana
  eventually 30 verify --quick
}
host_edits_are_kept() {
  contains "$(in_container cat /etc/metrics-stack/prometheus/retention.env)" 6d
  contains "$(in_container cat /etc/systemd/system/metrics-alloy-ui.service)" Description=Mine
  in_container test ! -e /etc/metrics-stack/targets.d/example.yml.disabled
  in_container test -e /etc/metrics-stack/prometheus/rules/mine.yml -a -d /opt/metrics-stack/mine \
    -a -L /etc/metrics-stack/targets.d/mine.disabled
  equal "Nice of Grafana" "$(in_container systemctl show --property Nice --value metrics-grafana)" 5
  equal "Alloy's UI" "$(state_of metrics-alloy-ui.service metrics-alloy-ui.socket)" \
    "inactive disabled"
  get 3001/api/dashboards/uid/mine --user "admin:a long one" >/dev/null
}

# The next checkout changes a rule file, removes the host dashboard and adds a unit.
change_next() {
  in_container sh -c "echo '# news' >>$NEXT/etc/prometheus/rules/host.yml"
  in_container rm "$NEXT/etc/grafana/dashboards/host.json"
  in_container sh -c "cat >$NEXT/systemd/metrics-extra.service" <<'INI'
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=metrics-stack.target
INI
  in_container sed -i -e 's/UNIT_GROUPS=(stack/& extra/' \
    -e 's/^  \*) echo stack/  systemd\/metrics-extra.*) echo extra ;;\n&/' "$NEXT/lib/plan.sh"
}

dry_run_changes_nothing() {
  traces >"$SCRATCH/before-dry"
  keep dry install_next --dry-run
  same_traces "$SCRATCH/before-dry"
  contains "$(<"$SCRATCH/dry")" "would fetch and unpack grafana 99.0.0"
  contains "$(<"$SCRATCH/dry")" \
    "would stop metrics-prometheus.service, and write /etc/metrics-stack/prometheus/rules/host.yml"
  contains "$(<"$SCRATCH/dry")" \
    "would stop metrics-grafana.service, and remove /etc/metrics-stack/grafana/dashboards/host.json"
  contains "$(<"$SCRATCH/dry")" \
    "    would write /etc/systemd/system/metrics-extra.service"
  contains "$(<"$SCRATCH/dry")" \
    "would stop metrics-grafana.service, and link /opt/metrics-stack/store/grafana-99.0.0-"
  lacks "$(<"$SCRATCH/dry")" retention.env:
}

# While eight clients send requests to the service, and Alloy scrapes it.
upgrade_loses_nothing() {
  local load start end
  # No gap can be measured without a sample before the upgrade.
  eventually 60 query_is 'up{job="metrics_service"}' 1
  start=$(in_container date +%s)
  in_container rm -f /tmp/stop
  in_container "$HELPERS/load" 127.0.0.1:8000 / /tmp/stop >"$SCRATCH/load" 2>&1 &
  load=$!
  keep upgrade install_next
  in_container touch /tmp/stop
  wait "$load"
  contains "$(<"$SCRATCH/load")" " answered, 0 failed"
  contains "$(<"$SCRATCH/upgrade")" ", 0 failed"
  end=$(in_container date +%s)
  # One scrape can be missing, because Alloy itself restarts; two would make 45 s.
  eventually 60 no_gap_beyond 40 "$start" "$end"
  measured "$(<"$SCRATCH/load"), longest gap $(longest_gap "$start" "$end") s"
  host_edits_are_kept
  runs_from_store
}

old_release_is_gone() {
  equal "releases" "$(in_container ls /opt/metrics-stack/releases | cut -d- -f1)" 99.0.0
  equal "store" \
    "$(in_container ls /opt/metrics-stack/store | sed 's/-[0-9a-f]*$//' | tr '\n' ' ')" \
    "alloy-99.0.0 grafana-99.0.0 metrics-service-0.1.0 prometheus-99.0.0 "
  in_container test ! -e /etc/metrics-stack/grafana/dashboards/host.json
  equal "the new unit" "$(state_of metrics-extra)" "active enabled"
  lacks "$(in_container find /etc/metrics-stack /etc/systemd/system)" .metrics-stack
}

restarts_only_changed_units() {
  local before
  before=$(invocations)
  in_container sh -c "echo '# more' >>$NEXT/etc/prometheus/rules/host.yml"
  run_until_verify "${INSTALL_NEXT[@]}"
  equal "restarted units" "$(comm -13 <(echo "$before") <(invocations) | grep -o 'Id=[a-z.-]*')" \
    Id=metrics-prometheus.service
}

downgrade_is_refused() {
  refuses 1 "refusing to downgrade prometheus from 99.0.0 to " in_container "${INSTALL[@]}"
  contains "$(<"$SCRATCH/refusal")" "refusing to downgrade grafana from 99.0.0 to "
  contains "$(<"$SCRATCH/refusal")" --allow-downgrade
}

downgrade_is_allowed() {
  run_until_verify "${INSTALL[@]}" --allow-downgrade
  equal "the extra unit" "$(in_container systemctl is-active metrics-extra || :)" inactive
  equal "its files" "$(in_container find /etc/systemd -name '*metrics-extra*')" ""
  host_edits_are_kept
  runs_from_store
  contains "$(<"$SCRATCH/run")" "starts without the write-ahead log of 99.0.0"
  in_container sh -c 'find /var/lib/private/metrics-stack/alloy -name wal-backup | grep -q .'
  # That is the installed version now.
  keep install install
  contains "$(<"$SCRATCH/install")" "nothing had to be changed"
}

# A new Grafana changes its database and then does not start. The rollback restores the database.
broken_grafana_is_rolled_back() {
  local before status=0
  before=$(host_state)
  in_container sh -c "cd $NEXT_ARCHIVES && mkdir g && tar xf grafana-*.gz -C g && cd g/* &&
    mv bin/grafana bin/real && cat >bin/grafana && chmod 755 bin/grafana && cd .. &&
    tar c * | gzip -1 >\$(echo ../grafana-*.gz) && cd .. && rm -r g &&
    sum=\$(sha256sum grafana-*.gz | cut -d' ' -f1) &&
    sed -i \"/^grafana/s/[0-9a-f]\{64\}/\$sum/\" versions.conf" <<'END'
#!/bin/sh
echo migrated >/var/lib/metrics-stack/grafana/grafana.db
echo no luck with this database >&2
exit 3
END
  keep upgrade install_next || status=$?
  equal "exit status" "$status" 1
  contains "$(<"$SCRATCH/upgrade")" "| no luck with this database"
  contains "$(<"$SCRATCH/upgrade")" "error: metrics-grafana.service did not become ready"
  contains "$(<"$SCRATCH/upgrade")" "starts without the write-ahead log of 99.0.0"
  contains "$(<"$SCRATCH/upgrade")" "rollback complete"
  contains "$(<"$SCRATCH/upgrade")" "log of this run: /var/log/metrics-stack/"
  equal "the host" "$(host_state)" "$before"
  host_edits_are_kept
  runs_from_store
  equal "copies of the database" \
    "$(in_container find /var/lib/private/metrics-stack/grafana -name 'database*' -printf %f)" \
    database-backup.newer
  verify --quick
}

uninstall_keeps_edits() {
  keep uninstall uninstall
  equal "files in /etc" "$(in_container find /etc/metrics-stack /etc/systemd/system \
    -name 'metrics-*' -o -path '/etc/metrics-stack/*' ! -type d | sort)" "/etc/metrics-stack
/etc/metrics-stack/grafana/dashboards.d/mine.json
/etc/metrics-stack/prometheus/retention.env
/etc/metrics-stack/prometheus/rules/mine.yml
/etc/metrics-stack/targets.d/mine.disabled
/etc/systemd/system/metrics-alloy-ui.service
/etc/systemd/system/metrics-grafana.service.d"
  equal "files in /opt" "$(in_container find /opt/metrics-stack -maxdepth 1 | sort | tr '\n' ' ')" \
    "/opt/metrics-stack /opt/metrics-stack/mine /opt/metrics-stack/releases "
  equal "running units" "$(in_container systemctl list-units --no-legend 'metrics-*')" ""
}

# The downgraded data is accepted, and so is an edited unit that was kept.
reinstall_keeps_edits() {
  run_until_verify "${INSTALL[@]}"
  verify --quick
  contains "$(in_container cat /etc/metrics-stack/prometheus/retention.env)" 6d
  contains "$(in_container cat /etc/systemd/system/metrics-alloy-ui.service)" Description=Mine
  new_password_works
}

# The archive's release differs only in the program of the service.
archive_replaces_checkout_and_back() {
  local before first
  before=$(host_state)
  first=$(samples_of 'up{job="metrics_service"}[1h]' | sed -n 1p)
  unpack_archive
  run_until_verify "${INSTALL_ARCHIVE[@]}"
  in_container cmp "$UNPACKED/bin/metrics-service" \
    /opt/metrics-stack/metrics-service/bin/metrics-service
  equal "files in /etc" "$(grep -v '^opt/' <<<"$(host_state)")" "$(grep -v '^opt/' <<<"$before")"
  host_edits_are_kept
  run_until_verify "${INSTALL[@]}"
  verify --quick
  equal "the host" "$(host_state)" "$before"
  host_edits_are_kept
  runs_from_store
  equal "the first sample" "$(samples_of 'up{job="metrics_service"}[1h]' | sed -n 1p)" "$first"
}

boot trixie
traces >"$SCRATCH/before"
test "install" run_until_verify "${INSTALL[@]}"
test "an administrator edits the host" edit_host
make_next
change_next
test "--dry-run prints changes, and makes none" dry_run_changes_nothing
test "an upgrade fails no request and keeps samples, edits and deletions" upgrade_loses_nothing
test "the old release is removed" old_release_is_gone
test "an upgrade of one file restarts one unit" restarts_only_changed_units
test "a downgrade is refused" downgrade_is_refused
test "--allow-downgrade accepts a downgrade" downgrade_is_allowed
test "a release archive replaces a checkout's release, and the reverse" \
  archive_replaces_checkout_and_back
test "a Grafana that does not start is rolled back, with its database" broken_grafana_is_rolled_back
test "an uninstall keeps edits" uninstall_keeps_edits
test "a later install reuses them" reinstall_keeps_edits
in_container rm -rf "$NEXT" "$NEXT_ARCHIVES" "$NEXT_SERVICE"
test "a purge by the release archive leaves no trace" purge_by_archive "$SCRATCH/before"
