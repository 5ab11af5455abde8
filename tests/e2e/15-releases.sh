#!/usr/bin/env bash
# From one release to the next and back, on a host that people have made theirs.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"
. "$E2E_DIR/lib/releases.sh"
. "$E2E_DIR/lib/interrupt.sh"

# Edits, a deletion, a file of their own, a drop-in, a unit switched off, a password.
make_it_theirs() {
  in_container sed -i 's/15d/6d/' /etc/metrics-stack/prometheus/retention.env
  in_container sed -i 's/^Description=.*/Description=Mine/' /etc/systemd/system/metrics-alloy-ui.service
  in_container rm /etc/metrics-stack/targets.d/example.yml.disabled
  in_container sh -c 'echo "groups: []" >/etc/metrics-stack/prometheus/rules/mine.yml'
  in_container mkdir -p /etc/systemd/system/metrics-grafana.service.d /opt/metrics-stack/mine
  in_container sh -c "printf '[Service]\nNice=5\n' >/etc/systemd/system/metrics-grafana.service.d/mine.conf"
  in_container ln -s /nowhere /etc/metrics-stack/targets.d/mine.disabled
  in_container sh -c "echo '{\"uid\": \"mine\", \"title\": \"Mine\", \"schemaVersion\": 36, \"panels\": []}' >/etc/metrics-stack/grafana/dashboards.d/mine.json"
  in_container systemctl --quiet disable --now metrics-alloy-ui.socket metrics-alloy-ui.service
  in_container systemctl daemon-reload
  get 3001/api/user/password --user admin:admin --request PUT --json '{"oldPassword":"admin","newPassword":"a long one","confirmNew":"a long one"}'
  in_container systemctl restart metrics-prometheus metrics-grafana
  eventually 30 verify --quick
}
is_theirs() {
  contains "$(in_container cat /etc/metrics-stack/prometheus/retention.env)" 6d
  contains "$(in_container cat /etc/systemd/system/metrics-alloy-ui.service)" Description=Mine
  in_container test ! -e /etc/metrics-stack/targets.d/example.yml.disabled
  in_container test -e /etc/metrics-stack/prometheus/rules/mine.yml -a -d /opt/metrics-stack/mine -a -L /etc/metrics-stack/targets.d/mine.disabled
  equal "Nice of Grafana" "$(in_container systemctl show --property Nice --value metrics-grafana)" 5
  equal "Alloy's UI" "$(in_container systemctl is-active metrics-alloy-ui.service || :) $(in_container systemctl is-enabled metrics-alloy-ui.socket || :)" "inactive disabled"
  get 3001/api/dashboards/uid/mine --user "admin:a long one" >/dev/null
}

# The next checkout has another rule, no host dashboard any more, and a unit that this one has not.
change_next() {
  in_container sh -c "echo '# news' >>$NEXT/etc/prometheus/rules/host.yml"
  in_container rm "$NEXT/etc/grafana/dashboards/host.json"
  in_container sh -c "printf '[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=metrics-stack.target\n' >$NEXT/systemd/metrics-extra.service"
  in_container sed -i -e 's/UNIT_GROUPS=(stack/& extra/' -e 's/^  \*) echo stack/  systemd\/metrics-extra.*) echo extra ;;\n&/' "$NEXT/lib/plan.sh"
}

dry_run_changes_nothing() {
  traces >"$SCRATCH/before-dry"
  keep dry install_next --dry-run
  same_traces "$SCRATCH/before-dry"
  contains "$(<"$SCRATCH/dry")" "would fetch and unpack grafana 99.0.0"
  contains "$(<"$SCRATCH/dry")" "would stop metrics-prometheus.service, and write /etc/metrics-stack/prometheus/rules/host.yml"
  contains "$(<"$SCRATCH/dry")" "would stop metrics-grafana.service, and remove /etc/metrics-stack/grafana/dashboards/host.json"
  contains "$(<"$SCRATCH/dry")" "would stop metrics-extra.service, and write /etc/systemd/system/metrics-extra.service"
  contains "$(<"$SCRATCH/dry")" "would stop metrics-grafana.service, and link /opt/metrics-stack/store/grafana-99.0.0-"
  lacks "$(<"$SCRATCH/dry")" retention.env:
}

# While eight clients ask the service for something, and Alloy scrapes it.
upgrade_loses_nothing() {
  local load start end
  # The install that came before was not waited for: without a sample before the upgrade there would be no gap to measure.
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
  # A scrape that falls into Alloy's own restart is not made; all that are made arrive.
  eventually 60 no_gap_beyond 31 "$start" "$end"
  measured "$(<"$SCRATCH/load"), longest gap $(longest_gap "$start" "$end") s"
  is_theirs
  runs_from_its_trees
}

only_the_new_is_there() {
  equal "releases" "$(in_container ls /opt/metrics-stack/releases | cut -d- -f1)" 99.0.0
  equal "trees" "$(in_container ls /opt/metrics-stack/store | sed 's/-[0-9a-f]*$//' | tr '\n' ' ')" "alloy-99.0.0 grafana-99.0.0 metrics-service-0.1.0 prometheus-99.0.0 "
  in_container test ! -e /etc/metrics-stack/grafana/dashboards/host.json
  equal "the unit that is new" "$(in_container systemctl is-active metrics-extra) $(in_container systemctl is-enabled metrics-extra)" "active enabled"
  lacks "$(in_container find /etc/metrics-stack /etc/systemd/system)" .metrics-stack
}

moves_only_what_changed() {
  local before
  before=$(invocations)
  in_container sh -c "echo '# more' >>$NEXT/etc/prometheus/rules/host.yml"
  goes_on "${INSTALL_NEXT[@]}"
  equal "units that were started again" "$(comm -13 <(echo "$before") <(invocations) | grep -o 'Id=[a-z.-]*')" Id=metrics-prometheus.service
}

older_is_refused() {
  refuses 1 "prometheus 99.0.0 has run on the data here" in_container "${INSTALL[@]}"
  contains "$(<"$SCRATCH/refusal")" "grafana 99.0.0 has run on the data here"
  contains "$(<"$SCRATCH/refusal")" --allow-downgrade
}

goes_back_when_allowed() {
  goes_on "${INSTALL[@]}" --allow-downgrade
  equal "what is left of the extra unit" "$(in_container systemctl is-active metrics-extra || :)$(in_container find /etc/systemd -name '*metrics-extra*')" inactive
  is_theirs
  runs_from_its_trees
  contains "$(<"$SCRATCH/cut")" "starts without the write-ahead log of 99.0.0"
  in_container sh -c 'find /var/lib/private/metrics-stack/alloy -name wal-backup | grep -q .'
  # From now on that is what has run.
  keep install install
  contains "$(<"$SCRATCH/install")" "nothing had to be changed"
}

# A new Grafana that changes its database and then does not start: all is as it was, and so is the database.
broken_grafana_is_taken_back() {
  local before status=0
  before=$(state)
  in_container sh -c "cd $NEXT_ARCHIVES && mkdir g && tar xf grafana-*.gz -C g && cd g/* && mv bin/grafana bin/real && cat >bin/grafana && chmod 755 bin/grafana && cd .. &&
    tar c * | gzip -1 >\$(echo ../grafana-*.gz) && cd .. && rm -r g && sed -i \"/^grafana/s/[0-9a-f]\{64\}/\$(sha256sum grafana-*.gz | cut -d' ' -f1)/\" versions.conf" <<'END'
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
  contains "$(<"$SCRATCH/upgrade")" "everything is back as it was"
  contains "$(<"$SCRATCH/upgrade")" "the whole output of this run: /var/log/metrics-stack/"
  equal "the host" "$(state)" "$before"
  is_theirs
  runs_from_its_trees
  equal "copies of the database" "$(in_container find /var/lib/private/metrics-stack/grafana -name 'database*')" ""
  verify --quick
}

uninstall_leaves_what_is_theirs() {
  keep uninstall uninstall
  equal "what is left in /etc" "$(in_container find /etc/metrics-stack /etc/systemd/system -name 'metrics-*' -o -path '/etc/metrics-stack/*' ! -type d | sort | tr '\n' ' ')" \
    "/etc/metrics-stack /etc/metrics-stack/grafana/dashboards.d/mine.json /etc/metrics-stack/prometheus/retention.env /etc/metrics-stack/prometheus/rules/mine.yml /etc/metrics-stack/targets.d/mine.disabled /etc/systemd/system/metrics-alloy-ui.service /etc/systemd/system/metrics-grafana.service.d "
  equal "what is left in /opt" "$(in_container find /opt/metrics-stack -maxdepth 1 | sort | tr '\n' ' ')" "/opt/metrics-stack /opt/metrics-stack/mine /opt/metrics-stack/releases "
  equal "units that run" "$(in_container systemctl list-units --no-legend 'metrics-*')" ""
}

# Older data is still that of a newer version, and an edited unit that was kept is ours.
comes_back() {
  goes_on "${INSTALL[@]}"
  verify --quick
  contains "$(in_container cat /etc/metrics-stack/prometheus/retention.env)" 6d
  contains "$(in_container cat /etc/systemd/system/metrics-alloy-ui.service)" Description=Mine
  get 3001/api/org --user "admin:a long one" >/dev/null
}

boot trixie
traces >"$SCRATCH/before"
test "install" goes_on "${INSTALL[@]}"
test "people make it theirs" make_it_theirs
make_next
change_next
test "--dry-run tells what would change, and changes nothing" dry_run_changes_nothing
test "an upgrade refuses no request and loses no sample, edit, deletion or choice" upgrade_loses_nothing
test "after it the host has what the new release has, and nothing of the old one" only_the_new_is_there
test "an upgrade of one file starts one unit anew" moves_only_what_changed
test "an older version is refused by name" older_is_refused
test "it is taken when that is allowed" goes_back_when_allowed
test "a Grafana that does not start is taken back, with its database" broken_grafana_is_taken_back
test "an uninstall leaves what is people's" uninstall_leaves_what_is_theirs
test "an install goes on with it" comes_back
in_container rm -rf "$NEXT" "$NEXT_ARCHIVES" "$NEXT_SERVICE"
test "a purge leaves no trace" purge_leaves_no_trace "$SCRATCH/before"
