#!/usr/bin/env bash
# The service killed, frozen, and flooded beyond each limit of its unit: systemd brings it back, and who comes meanwhile waits and is answered.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"

# See dashboards.
exec 5>"$WORK/kills" && flock --timeout 600 5

main_pid() { in_container systemctl show --property MainPID --value metrics-service.service; }
socket_stayed() { equal "the socket's invocation" "$(in_container systemctl show --property InvocationID --value metrics-service.socket)" "$1"; }

# restarts_after SIGNAL: a client that comes right after the signal is answered, by another process, through the same socket.
restarts_after() {
  local before socket
  before=$(main_pid) socket=$(in_container systemctl show --property InvocationID --value metrics-service.socket)
  in_container sh -c "kill -s $1 $before"
  # The watchdog takes half a minute to miss a frozen process.
  contains "$(get 8000/health --max-time 90)" '{"status":"ok"}'
  [[ $(main_pid) != "$before" ]] || { echo "the process is the same" && return 1; }
  socket_stayed "$socket"
}

# Control groups limit nothing inside a container where this host has the controllers of version 1. There the container's PID 1
# enters groups of version 1 with the unit's own limits, and every process that it starts from then on is in them.
limit_as_the_unit_does() {
  local folder
  in_container systemctl show --property MemoryMax --value metrics-service.service >"$(group_of memory)/memory.limit_in_bytes"
  in_container systemctl show --property TasksMax --value metrics-service.service >"$(group_of pids)/pids.max"
  for folder in "$(group_of memory)" "$(group_of pids)"; do leader >"$folder/cgroup.procs"; done
  in_container systemctl restart metrics-service.service
}
group_of() {
  local folder
  folder=$(control_groups | grep "^/sys/fs/cgroup/$1/") && mkdir -p "$folder/limited" && echo "$folder/limited"
}
limits_itself() { in_container test -s /sys/fs/cgroup/system.slice/metrics-service.service/memory.max; }

# is_contained KIND CONNECTIONS WORDS: a flood that exceeds a limit ends the service, which is back within a second, has refused
# nobody, and has left these words in the journal.
is_contained() {
  local before socket cursor
  before=$(main_pid) socket=$(in_container systemctl show --property InvocationID --value metrics-service.socket)
  cursor=$(in_container journalctl --quiet --lines 0 --show-cursor | sed -n 's/^-- cursor: //p')
  on_network python3 "$E2E_DIR/lib/flood.py" "$1" "$2" | tee "$SCRATCH/flood"
  in_container journalctl --quiet --no-pager --output cat --after-cursor "$cursor" --unit metrics-service.service | tee "$SCRATCH/journal"
  contains "$(<"$SCRATCH/flood")" " 0 refused"
  contains "$(<"$SCRATCH/journal")" "$3"
  [[ $(main_pid) != "$before" ]] || { echo "the process is the same" && return 1; }
  at_most "the seconds until it was back" "$(seconds_away)" 1
  contains "$(get 8000/health)" '{"status":"ok"}'
  socket_stayed "$socket"
  measured "back after $(seconds_away) s; $(<"$SCRATCH/flood")"
}
seconds_away() {
  in_container systemctl show --property ActiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic metrics-service.service |
    awk -F= '{ at[$1] = $2 } END { printf "%.2f", (at["ActiveEnterTimestampMonotonic"] - at["ActiveExitTimestampMonotonic"]) / 1e6 }'
}

samples_go_on() { eventually 60 query_is "min(up{job=\"metrics_service\"} and timestamp(up{job=\"metrics_service\"}) > $1)" 1; }

boot trixie
test "install" installs_verified
test "SIGKILL" restarts_after KILL
test "SIGSTOP: systemd's watchdog notices" restarts_after STOP
test "more connections than descriptors" is_contained silent 4200 "Too many open files"
if limits_itself || { group_of memory && group_of pids; } >/dev/null; then
  limits_itself || test "limits for the service" limit_as_the_unit_does
  test "more memory than it may have" is_contained heads 50 "code=killed, status=9/KILL"
  test "more threads than it may have" is_contained bodies 2500 "Resource temporarily unavailable"
else
  skip "more memory and threads than it may have" "no writable controller of memory here"
fi
test "samples go on" samples_go_on "$(in_container date +%s)"
