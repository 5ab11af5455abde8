#!/usr/bin/env bash
# Disks that are full, things that are gone or in the way, and what a person is told then.
# shellcheck source-path=SCRIPTDIR disable=SC2016  # much of this is for shells in the container
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"
. "$E2E_DIR/lib/releases.sh"
. "$E2E_DIR/lib/interrupt.sh"

# script PATH: a program for the container, from standard input.
script() { in_container sh -c "cat >$1 && chmod 755 $1"; }

# /opt is a symlink to another file system from here on, the downloads and Prometheus' data are on
# disks of their own, and /etc and /var/lib are small, so that they can be filled.
lay_small_disks() {
  in_container sh -c 'mkdir /srv/opt && mount -t tmpfs -o size=3g,mode=755 none /srv/opt && rmdir /opt && ln -s /srv/opt /opt
    for folder in /etc:20m /var/lib:400m; do
      mount -t tmpfs -o mode=755,size=${folder#*:} none /mnt && cp -a ${folder%:*}/. /mnt && mount --bind /mnt ${folder%:*} && umount /mnt
    done
    for folder in /var/cache/metrics-stack /var/lib/private/metrics-stack/prometheus; do
      mkdir -p $folder && mount -t tmpfs -o mode=755 none $folder && mkdir $folder/lost+found
    done
    chmod 700 /var/lib/private'
}
fill() { in_container sh -c "fallocate -l \$(df --block-size=1 --output=avail $1 | tail -n 1) $1/filler || head -c 4G /dev/zero >>$1/filler 2>/dev/null; ! echo x >>$1/filler"; }

# full_disk FOLDER STEP WORDS: full from that step on; the way back needs no room.
full_disk() {
  local status=0 before
  before=$(state)
  begin "${INSTALL_NEXT[@]}"
  wait_until "$2"
  # To fill it takes longer than a step may.
  send STOP all
  fill "$1"
  resume
  wait "$JOB" || status=$?
  in_container rm "$1/filler"
  cat "$SCRATCH/cut"
  equal "exit status" "$status" 1
  contains "$(<"$SCRATCH/cut")" "$3"
  contains "$(<"$SCRATCH/cut")" "error: "
  equal "the host" "$(state)" "$before"
  # A full disk can end Prometheus at any write to a file that it maps into memory. systemd starts it again.
  eventually 60 get 9090/-/ready
  runs_from_its_trees
  verify --quick
}

purges_on_full_disks() {
  local folder
  for folder in /opt /etc /var/lib; do fill "$folder"; done
  keep purge uninstall --purge
  for folder in /var/cache/metrics-stack /var/lib/private/metrics-stack/prometheus; do
    contains "$(<"$SCRATCH/purge")" "kept: the mount point $folder"
    in_container umount "$folder"
  done
  lacks "$(<"$SCRATCH/purge")" "kept: data"
  in_container rmdir /var/cache/metrics-stack /var/lib/private/metrics-stack/{prometheus,}
  in_container rm -f /opt/filler /etc/filler /var/lib/filler
  equal "what is left of us" "$(in_container find / -name '*metrics-*' ! -path '/usr/*' ! -path '/proc/*' ! -path '/sys/*' ! -path '/run/systemd/*' ! -path '/run/log/*' ! -path '/run/credentials/*')" ""
}

# A program that is gone, one without its x bit, and notes of which a power cut has left half.
trees_are_mended() {
  local before
  before=$(invocations)
  in_container sh -c 'rm /opt/metrics-stack/prometheus/bin/promtool; chmod a-x /opt/metrics-stack/grafana/bin/grafana
    truncate --size 5 /opt/metrics-stack/alloy/.manifest; mkdir -p /run/metrics-stack/incomplete; printf metrics-al >/run/metrics-stack/incomplete/alloy'
  goes_on "${INSTALL[@]}"
  in_container test -x /opt/metrics-stack/prometheus/bin/promtool -a -x /opt/metrics-stack/grafana/bin/grafana
  runs_from_its_trees
  equal "units that were left alone" "$(comm -12 <(echo "$before") <(invocations) | grep -o 'Id=[a-z.-]*' | tr '\n' ' ')" "Id=metrics-alloy-ui.service Id=metrics-service.service "
}

things_in_the_way() {
  in_container sh -c 'rm /etc/metrics-stack/grafana/dashboards/host.json && mkdir /etc/metrics-stack/grafana/dashboards/host.json'
  goes_on "${INSTALL[@]}"
  contains "$(<"$SCRATCH/cut")" "keeping your changes to /etc/metrics-stack/grafana/dashboards/host.json"
  in_container rmdir /etc/metrics-stack/grafana/dashboards/host.json
  in_container ln -s /nowhere /etc/metrics-stack/alloy/mine.alloy
  refuses 1 "/etc/metrics-stack/alloy/mine.alloy" in_container "${INSTALL[@]}"
  in_container rm /etc/metrics-stack/alloy/mine.alloy
  in_container sh -c 'mv /opt/metrics-stack/alloy /opt/metrics-stack/alloy.off && mkdir /opt/metrics-stack/alloy'
  refuses 1 "/opt/metrics-stack/alloy is not a symlink of ours" in_container "${INSTALL[@]}"
  in_container sh -c 'rmdir /opt/metrics-stack/alloy && mv /opt/metrics-stack/alloy.off /opt/metrics-stack/alloy && mv /etc/metrics-stack/targets.d /etc/t && touch /etc/metrics-stack/targets.d'
  refuses 1 "/etc/metrics-stack/targets.d is not a folder" in_container "${INSTALL[@]}"
  in_container sh -c 'rm /etc/metrics-stack/targets.d && mv /etc/t /etc/metrics-stack/targets.d && sed -i s/3001/4001/ /etc/metrics-stack/grafana/grafana.ini'
  refuses 1 "has others: http_port=:4001" in_container "${INSTALL[@]}"
  in_container sed -i s/4001/3001/ /etc/metrics-stack/grafana/grafana.ini
  in_container sh -c 'sed -i "s/=15d/=15 d/" /etc/metrics-stack/prometheus/retention.env && umask 027 && echo "groups: []" >/etc/metrics-stack/prometheus/rules/mine.yml'
  refuses 1 'refuses the options of metrics-prometheus.service: unknown unit " d"' in_container "${INSTALL[@]}"
  contains "$(<"$SCRATCH/refusal")" "run: sudo chmod o+r /etc/metrics-stack/prometheus/rules/mine.yml"
  in_container sh -c 'sed -i "s/=15 d/=15d/" /etc/metrics-stack/prometheus/retention.env && rm /etc/metrics-stack/prometheus/rules/mine.yml'
}

# It is asked for its version as nobody, and what it says becomes no path.
service_is_not_trusted() {
  script /root/service <<<'#!/bin/sh
id -u >/tmp/who
echo metrics-service ../../../../etc'
  refuses 1 "does not run here, or is not the service" in_container "$CHECKOUT/install.sh" --from "$ARCHIVE_DIR" --versions "$ARCHIVE_DIR/versions.conf" --service-binary /root/service
  equal "who asked it" "$(in_container cat /tmp/who)" 65534
  in_container rm /root/service /tmp/who
}

report_is_complete() {
  in_container mkdir -p /etc/systemd/system/metrics-grafana.service.d
  in_container sh -c "printf '[Service]\nEnvironment=API_TOKEN=very-hidden\n' >/etc/systemd/system/metrics-grafana.service.d/mine.conf"
  in_container sh -c 'echo "# edited https://me:very-hidden@example.org" >>/etc/metrics-stack/alloy/outputs.alloy; rm /opt/metrics-stack/grafana
    systemctl daemon-reload; systemctl stop metrics-alloy-ui.socket metrics-alloy-ui.service'
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
  in_container rm -r /root/report /etc/systemd/system/metrics-grafana.service.d
  in_container sed -i '/very-hidden/d' /etc/metrics-stack/alloy/outputs.alloy
  goes_on "${INSTALL[@]}"
  verify --quick
}

# Five wrong logins would lock out whoever has the right one.
verify_locks_nobody_out() {
  local i
  get 3001/api/user/password --user admin:admin --request PUT --json '{"oldPassword":"admin","newPassword":"a long one","confirmNew":"a long one"}'
  contains "$(verify)" "password has been changed"
  for i in {1..6}; do verify >"$SCRATCH/verify-$i" & done
  wait
  for i in {1..6}; do contains "$(<"$SCRATCH/verify-$i")" "password has been changed"; done
  get 3001/api/org --user "admin:a long one" >/dev/null
}

purge_asks() {
  keep purge in_container script --quiet --return --command "$CHECKOUT/uninstall.sh --purge" /dev/null <<<no && return 1
  contains "$(<"$SCRATCH/purge")" "This deletes all samples"
  verify --quick
  keep purge in_container script --quiet --return --command "$CHECKOUT/uninstall.sh --purge --yes" /dev/null
  lacks "$(<"$SCRATCH/purge")" "This deletes all samples"
  in_container test ! -e /opt/metrics-stack
}

boot trixie
lay_small_disks
test "install; /opt is a symlink to another file system" goes_on "${INSTALL[@]}"
make_next
in_container sh -c "for file in prometheus/rules/host.yml grafana/dashboards/host.json; do echo >>$NEXT/etc/\$file; done"
test "a disk that is full while programs are unpacked" full_disk /opt "==> release" "is there room on the disk?"
test "a disk that is full while configuration is put" full_disk /etc "    prometheus" "No space left on device"
# Owned by the unit's user: Grafana can't write to a database whose log another user owns.
in_container sh -c 'cd /var/lib/private/metrics-stack/grafana && head -c 30M /dev/zero >grafana.db-wal && chown --reference=grafana.db grafana.db-wal'
test "a disk that is full while a database is copied" full_disk /var/lib "    alloy" "No space left on device"
test "programs that are gone, and notes that are torn" trees_are_mended
test "things in the way" things_in_the_way
test "a service that is not one" service_is_not_trusted
test "a report" report_is_complete
test "verify.sh spends no login twice" verify_locks_nobody_out
test "a purge on a terminal asks" purge_asks
test "install again" goes_on "${INSTALL[@]}"
test "a purge on full disks" purges_on_full_disks
