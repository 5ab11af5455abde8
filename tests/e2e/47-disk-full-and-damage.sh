#!/usr/bin/env bash
# Full disks, and missing or unexpected files.
# shellcheck source-path=SCRIPTDIR disable=SC2016  # much of this is for shells in the container
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"
. "$E2E_DIR/lib/releases.sh"
. "$E2E_DIR/lib/interrupt.sh"

# /opt is a symlink to another file system from here on, the downloads and Prometheus' data are on
# disks of their own, and /etc and /var/lib are small, so that they can be filled.
mount_small_disks() {
  in_container sh -c 'mkdir /srv/opt && mount -t tmpfs -o size=3g,mode=755 none /srv/opt &&
    rmdir /opt && ln -s /srv/opt /opt
    for folder in /etc:20m /var/lib:400m; do
      mount -t tmpfs -o mode=755,size=${folder#*:} none /mnt && cp -a ${folder%:*}/. /mnt &&
        mount --bind /mnt ${folder%:*} && umount /mnt
    done
    for folder in /var/cache/metrics-stack /var/lib/private/metrics-stack/prometheus; do
      mkdir -p $folder && mount -t tmpfs -o mode=755 none $folder && mkdir $folder/lost+found
    done
    chmod 700 /var/lib/private'
}
fill() {
  in_container sh -c "
    fallocate -l \$(df --block-size=1 --output=avail $1 | tail -n 1) $1/filler ||
      head -c 4G /dev/zero >>$1/filler 2>/dev/null
    ! echo x >>$1/filler"
}

# full_disk DIR STEP WORDS: the disk is full from that step on. If the rollback needs space as well,
# the next run with space completes it.
full_disk() {
  local status=0 before
  before=$(host_state)
  start_run "${INSTALL_NEXT[@]}"
  wait_until "$2"
  # Filling the disk takes longer than a step.
  send_signal STOP all
  fill "$1"
  resume_run
  wait "$JOB" || status=$?
  in_container rm "$1/filler"
  cat "$SCRATCH/run"
  equal "exit status" "$status" 1
  contains "$(<"$SCRATCH/run")" "$3"
  contains "$(<"$SCRATCH/run")" "error: "
  if in_container test -L /opt/metrics-stack/pending; then
    contains "$(<"$SCRATCH/run")" "the rollback failed too"
    run_until_verify "${INSTALL[@]}" --allow-downgrade
  fi
  equal "the host" "$(host_state)" "$before"
  # Writes to memory-mapped files can crash Prometheus on a full disk. systemd restarts it.
  eventually 60 get 9090/-/ready
  runs_from_store
  verify --quick
}

purges_on_full_disks() {
  local folder
  for folder in /opt /etc /var/lib; do fill "$folder"; done
  keep purge uninstall --purge
  for folder in /var/cache/metrics-stack /var/lib/private/metrics-stack/prometheus; do
    contains "$(<"$SCRATCH/purge")" "kept: mount point $folder"
    in_container umount "$folder"
  done
  lacks "$(<"$SCRATCH/purge")" "kept: data"
  in_container rmdir /var/cache/metrics-stack /var/lib/private/metrics-stack/{prometheus,}
  in_container rm -f /opt/filler /etc/filler /var/lib/filler
  equal "files of the stack" "$(in_container find / -name '*metrics-*' ! -path '/usr/*' \
    ! -path '/proc/*' ! -path '/sys/*' ! -path '/run/systemd/*' ! -path '/run/log/*' \
    ! -path '/run/credentials/*')" ""
}

# A missing program, one without its x bit, and manifests truncated by a power loss.
damaged_store_is_repaired() {
  local before
  before=$(invocations)
  in_container sh -c 'cd /opt/metrics-stack
    rm prometheus/bin/promtool; chmod a-x grafana/bin/grafana; truncate --size 5 alloy/.manifest
    mkdir -p /run/metrics-stack/incomplete; printf metrics-al >/run/metrics-stack/incomplete/alloy'
  run_until_verify "${INSTALL[@]}"
  in_container test -x /opt/metrics-stack/prometheus/bin/promtool -a \
    -x /opt/metrics-stack/grafana/bin/grafana
  runs_from_store
  equal "units that were not restarted" \
    "$(comm -12 <(echo "$before") <(invocations) | grep -o 'Id=[a-z.-]*' | tr '\n' ' ')" \
    "Id=metrics-alloy-ui.service Id=metrics-service.service "
}

obstacles_are_named() {
  in_container rm /etc/metrics-stack/grafana/dashboards/host.json
  in_container mkdir /etc/metrics-stack/grafana/dashboards/host.json
  run_until_verify "${INSTALL[@]}"
  contains "$(<"$SCRATCH/run")" \
    "keeping your changes to /etc/metrics-stack/grafana/dashboards/host.json"
  in_container rmdir /etc/metrics-stack/grafana/dashboards/host.json
  in_container ln -s /nowhere /etc/metrics-stack/alloy/mine.alloy
  refuses 1 "/etc/metrics-stack/alloy/mine.alloy" in_container "${INSTALL[@]}"
  in_container rm /etc/metrics-stack/alloy/mine.alloy
  in_container mv /opt/metrics-stack/alloy /opt/metrics-stack/alloy.off
  in_container mkdir /opt/metrics-stack/alloy
  refuses 1 "/opt/metrics-stack/alloy is not a symlink" in_container "${INSTALL[@]}"
  in_container rmdir /opt/metrics-stack/alloy
  in_container mv /opt/metrics-stack/alloy.off /opt/metrics-stack/alloy
  in_container mv /etc/metrics-stack/targets.d /etc/t
  in_container touch /etc/metrics-stack/targets.d
  refuses 1 "/etc/metrics-stack/targets.d is not a directory" in_container "${INSTALL[@]}"
  in_container rm /etc/metrics-stack/targets.d
  in_container mv /etc/t /etc/metrics-stack/targets.d
  in_container sed -i s/3001/4001/ /etc/metrics-stack/grafana/grafana.ini
  refuses 1 "must stay at their defaults: http_port=:4001" in_container "${INSTALL[@]}"
  in_container sed -i s/4001/3001/ /etc/metrics-stack/grafana/grafana.ini
  # The rule needs the flag, which promtool gets as well.
  in_container sh -c 'sed -i "s/=15d/=15 d/" /etc/metrics-stack/prometheus/retention.env &&
    sed -i "s/--web.enable-remote/--enable-feature=promql-experimental-functions &/" \
      /etc/systemd/system/metrics-prometheus.service &&
    systemctl daemon-reload && umask 027 &&
    echo "groups: [{name: a, rules: [{record: a, expr: sort_by_label(up)}]}]" \
      >/etc/metrics-stack/prometheus/rules/mine.yml'
  refuses 1 'refuses /etc/metrics-stack/prometheus/retention.env: unknown unit " d"' in_container \
    "${INSTALL[@]}"
  contains "$(<"$SCRATCH/refusal")" \
    "run: sudo chmod o+r /etc/metrics-stack/prometheus/rules/mine.yml"
  lacks "$(<"$SCRATCH/refusal")" "refuses its configuration"
  in_container sed -i "s/=15 d/=15d/" /etc/metrics-stack/prometheus/retention.env
  in_container rm /etc/metrics-stack/prometheus/rules/mine.yml
  in_container sed -i "s/--enable-feature=[a-z-]* //" /etc/systemd/system/metrics-prometheus.service
  in_container systemctl daemon-reload
}

# Its version is queried as nobody, and its output does not become a path.
service_is_not_trusted() {
  script /root/service <<<'#!/bin/sh
id -u >/tmp/who
echo metrics-service ../../../../etc'
  refuses 1 "does not run here, or is not the service" \
    in_container "${INSTALL[@]}" --service-binary /root/service
  equal "the user who ran it" "$(in_container cat /tmp/who)" 65534
  in_container rm /root/service /tmp/who
}

report_is_complete() {
  local drop_ins=/etc/systemd/system/metrics-grafana.service.d
  in_container mkdir -p "$drop_ins"
  in_container sh -c "printf '[Service]\nEnvironment=API_TOKEN=very-hidden\n' >$drop_ins/mine.conf
    echo '# edited https://me:very-hidden@example.org' >>/etc/metrics-stack/alloy/outputs.alloy"
  in_container rm /opt/metrics-stack/grafana
  in_container systemctl daemon-reload
  in_container systemctl stop metrics-alloy-ui.socket metrics-alloy-ui.service
  keep report verify --report /root/report || :
  keep report in_container cat /root/report
  lacks "$(<"$SCRATCH/report")" very-hidden
  contains "$(<"$SCRATCH/report")" "Debian GNU/Linux 13"
  contains "$(<"$SCRATCH/report")" "alloy modified etc/alloy/outputs.alloy"
  contains "$(<"$SCRATCH/report")" "grafana link /opt/metrics-stack/store/grafana-"
  contains "$(<"$SCRATCH/report")" "metrics-grafana.service.d/mine.conf"
  contains "$(<"$SCRATCH/report")" "✗ unit metrics-alloy-ui.socket: it is inactive"
  contains "$(<"$SCRATCH/report")" "== journal of metrics-prometheus.service"
  contains "$(<"$SCRATCH/report")" "Mounted on"
  contains "$(<"$SCRATCH/report")" "MemoryMax="
  in_container rm -r /root/report "$drop_ins"
  in_container sed -i '/very-hidden/d' /etc/metrics-stack/alloy/outputs.alloy
  run_until_verify "${INSTALL[@]}"
  verify --quick
}

purge_asks() {
  keep purge in_container script --quiet --return --command "$CHECKOUT/uninstall.sh --purge" \
    /dev/null <<<no && return 1
  contains "$(<"$SCRATCH/purge")" "Delete all samples"
  verify --quick
  keep purge in_container script --quiet --return --command "$CHECKOUT/uninstall.sh --purge --yes" \
    /dev/null
  lacks "$(<"$SCRATCH/purge")" "Delete all samples"
  in_container test ! -e /opt/metrics-stack
}

boot trixie
mount_small_disks
test "install; /opt is a symlink to another file system" run_until_verify "${INSTALL[@]}"
make_next
in_container sh -c "cd $NEXT/etc && echo >>prometheus/rules/host.yml &&
  echo >>grafana/dashboards/host.json"
test "a full disk while programs are unpacked" full_disk /opt "==> release" "is the disk full?"
test "a full disk while configuration is written" full_disk /etc "    prometheus" \
  "No space left on device"
# Owned by the unit's user: Grafana can't write to a database whose log another user owns.
in_container sh -c 'cd /var/lib/private/metrics-stack/grafana &&
  head -c 30M /dev/zero >grafana.db-wal && chown --reference=grafana.db grafana.db-wal'
test "a full disk while a database is copied" full_disk /var/lib "    alloy" \
  "No space left on device"
test "missing programs and truncated manifests are repaired" damaged_store_is_repaired
test "unexpected files are reported" obstacles_are_named
test "a program that is not the service" service_is_not_trusted
test "a report" report_is_complete
test "a purge on a terminal asks for confirmation" purge_asks
test "install again" run_until_verify "${INSTALL[@]}"
test "a purge on full disks" purges_on_full_disks
