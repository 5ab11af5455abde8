#!/usr/bin/env bash
# Hosts on which an install can't succeed: it prints the reason and a hint, and changes nothing.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"

as_an_unprivileged_user() {
  refuses 1 "root is required" as_nobody "${INSTALL[@]}"
}

without_systemd() {
  local status=0
  keep refusal run_without_systemd trixie "${INSTALL[@]}" || status=$?
  equal "exit status" "$status" 1
  contains "$(<"$SCRATCH/refusal")" "this host was not booted with systemd"
  contains "$(<"$SCRATCH/refusal")" "/etc/wsl.conf"
  contains "$(<"$SCRATCH/refusal")" tests/e2e/try.sh
}

# Systems that can't be booted here, so commands and files report them.
unsupported_systems() {
  script /usr/local/bin/getconf <<'END'
#!/bin/sh
[ "$1" != LONG_BIT ] || echo 32
END
  refuses 1 ", 32-bit" in_container "${INSTALL[@]}"
  contains "$(<"$SCRATCH/refusal")" "error: glibc is required, but was not found"
  contains "$(<"$SCRATCH/refusal")" "Alpine has musl"
  in_container rm /usr/local/bin/getconf
  script /usr/local/bin/systemctl <<'END'
#!/bin/sh
[ "$1" != --version ] || { echo "systemd 248 (248.3)" && exit; }
exec /usr/bin/systemctl "$@"
END
  refuses 1 "error: systemd 248 is too old; 249 or newer is required" in_container "${INSTALL[@]}"
  in_container rm /usr/local/bin/systemctl
}

port_taken_by_a_program() {
  in_container systemd-run --quiet --unit=other "$HELPERS/web" 127.0.0.1:9090 /usr/src
  eventually 10 in_container curl --silent --output /dev/null http://127.0.0.1:9090/
  refuses 1 "port 9090 is in use by web (PID " in_container "${INSTALL[@]}"
  in_container systemctl stop other
}

# As Cockpit's socket, which systemd holds.
port_taken_by_a_socket_unit() {
  in_container systemd-run --quiet --unit=cockpit --socket-property=ListenStream=9090 true
  refuses 1 "port 9090 is in use by cockpit.socket" in_container "${INSTALL[@]}"
  contains "$(<"$SCRATCH/refusal")" "hint: free it: sudo systemctl disable --now"
  in_container systemctl stop cockpit.socket
}

disk_is_small() {
  in_container mount -t tmpfs -o size=50m none /opt
  refuses 1 "MB of free disk space" in_container "${INSTALL[@]}"
  in_container umount /opt
}

disk_is_read_only() {
  in_container mount -t tmpfs -o ro none /opt
  refuses 1 "/opt/metrics-stack is on a read-only file system" in_container "${INSTALL[@]}"
  in_container umount /opt
}

memory_is_small() {
  in_container sh -c 'sed "s/^MemTotal:.*/MemTotal: 400000 kB/" /proc/meminfo >/run/meminfo'
  # shellcheck disable=SC2016  # for the shell in the container
  refuses 1 "MB of memory" in_container unshare --mount sh -c '
    mount --bind /run/meminfo /proc/meminfo && exec "$@"' sh "${INSTALL[@]}"
  contains "$(<"$SCRATCH/refusal")" "error: the host has 390 MB of memory; 400 MB are required"
}

foreign_unit_exists() {
  in_container sh -c 'echo "# mine" >/etc/systemd/system/metrics-grafana.service'
  refuses 1 "metrics-grafana.service already exists and was not installed by metrics-stack" \
    in_container "${INSTALL[@]}"
  in_container rm /etc/systemd/system/metrics-grafana.service
}

archive_is_missing() {
  in_container mkdir -p /root/empty
  refuses 1 "/root/empty has no archive of prometheus" in_container "$CHECKOUT/install.sh" \
    --from /root/empty --service-binary "$SERVICE"
  # All problems are reported at once.
  contains "$(<"$SCRATCH/refusal")" "/root/empty has no archive of alloy"
  contains "$(<"$SCRATCH/refusal")" "/root/empty has no archive of grafana"
}

archive_differs() {
  local zeros
  zeros=$(printf '0%.0s' {1..64})
  in_container sh -c "sed -E '/^prometheus/s/[0-9a-f]{64}/$zeros/' $ARCHIVE_DIR/versions.conf \
    >/root/versions.conf"
  refuses 1 "checksum mismatch: " \
    in_container "${INSTALL[@]}" --versions /root/versions.conf
}

network_is_missing() {
  refuses 1 "could not be downloaded from any of its URLs" in_container "$CHECKOUT/install.sh" \
    --service-binary "$SERVICE"
  contains "$(<"$SCRATCH/refusal")" "--download DIR elsewhere and --from DIR here"
  contains "$(<"$SCRATCH/refusal")" "nothing has been changed"
}

configuration_is_wrong() {
  in_container sh -c "echo 'prometheus.scrape {' >$CHECKOUT/etc/alloy/wrong.alloy"
  # The next test needs the valid configuration.
  trap 'in_container rm "$CHECKOUT/etc/alloy/wrong.alloy"' EXIT
  refuses 1 "Alloy refuses its configuration" in_container "${INSTALL[@]}"
  contains "$(<"$SCRATCH/refusal")" wrong.alloy:
}

# It prints its version, but does not start.
service_does_not_start() {
  script /root/broken <<'END'
#!/bin/sh
[ "$1" != --version ] || { echo metrics-service 0.1.0; exit; }
echo no luck today >&2
exit 3
END
  in_container sh -c 'echo "a password" >/root/password'
  local status=0
  traces | sed '\,^/var/log/metrics-stack,d' >"$SCRATCH/before"
  keep refusal in_container "${INSTALL[@]}" --service-binary /root/broken \
    --grafana-password-file /root/password || status=$?
  equal "exit status" "$status" 1
  contains "$(<"$SCRATCH/refusal")" "no luck today"
  contains "$(<"$SCRATCH/refusal")" "error: metrics-service"
  contains "$(<"$SCRATCH/refusal")" "rollback complete"
  contains "$(<"$SCRATCH/refusal")" "kept: data in /var/lib/metrics-stack"
  equal "units, programs, configuration and settings that are left" "$(in_container sh -c \
    'find /etc/systemd/system /etc/metrics-stack -name "*metrics*"
    find /opt/metrics-stack /var/lib/metrics-stack/install/credentials' 2>/dev/null || :)" ""
  purge_leaves_no_trace "$SCRATCH/before"
}

boot trixie
test "an unknown option" refuses 2 "unknown option --nonsense" \
  in_container "$CHECKOUT/install.sh" --nonsense
test "not root" as_an_unprivileged_user
test "no systemd" without_systemd
test "32 bits, another C library" unsupported_systems
test "a port in use by a program" port_taken_by_a_program
test "a port in use by a socket unit" port_taken_by_a_socket_unit
test "too little disk" disk_is_small
test "a read-only file system" disk_is_read_only
test "too little memory" memory_is_small
test "a foreign unit with the name of a shipped one" foreign_unit_exists
test "missing archives" archive_is_missing
test "an archive with another checksum" archive_differs
test "no network" network_is_missing
test "a configuration that Alloy refuses" configuration_is_wrong
test "a service that does not start: its journal, and a rollback" service_does_not_start
test "a purge where nothing is" refuses 0 "==> purge" in_container "$CHECKOUT/uninstall.sh" --purge
