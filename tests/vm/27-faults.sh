#!/usr/bin/env bash
# The service killed, frozen and without descriptors: systemd brings it back, and who comes meanwhile waits and is answered.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$VM_DIR/lib/stack.sh"

main_pid() { vm systemctl show --property MainPID --value metrics-service.service; }
socket_stayed() { equal "the socket's invocation" "$(vm systemctl show --property InvocationID --value metrics-service.socket)" "$1"; }

# comes_back SIGNAL: a client that comes right after the signal is answered, by another process, through the same socket.
comes_back() {
  local before socket
  before=$(main_pid) socket=$(vm systemctl show --property InvocationID --value metrics-service.socket)
  vm sh -c "kill -s $1 $before"
  # The watchdog takes half a minute to miss a frozen process.
  contains "$(get 8000/health --max-time 90)" '{"status":"ok"}'
  [[ $(main_pid) != "$before" ]] || { echo "the process is the same" && return 1; }
  socket_stayed "$socket"
}

# Connections that say nothing use up its descriptors, which are made few for this.
lives_without_descriptors() {
  local socket
  socket=$(vm systemctl show --property InvocationID --value metrics-service.socket)
  vm prlimit --nofile=100:100 --pid "$(main_pid)"
  # shellcheck disable=SC2016  # for the shell in there
  vm bash -c 'for i in {1..200}; do exec {fd}<>/dev/tcp/127.0.0.1/8000; done; sleep 20' &
  sleep 5
  contains "$(get 8000/health --max-time 90)" '{"status":"ok"}'
  wait
  contains "$(get 8000/health)" '{"status":"ok"}'
  socket_stayed "$socket"
}

samples_go_on() { eventually 60 query_is "min(up{job=\"metrics_service\"} and timestamp(up{job=\"metrics_service\"}) > $1)" 1; }

boot trixie
test "install" installs_verified
test "SIGKILL" comes_back KILL
test "SIGSTOP: systemd's watchdog notices" comes_back STOP
test "no descriptor left" lives_without_descriptors
test "samples go on" samples_go_on "$(vm date +%s)"
