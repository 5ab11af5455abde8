#!/usr/bin/env bash
# The service is killed, frozen, and flooded beyond each limit of its unit. systemd restarts it, and
# its socket queues new connections meanwhile.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"
. "$E2E_DIR/lib/interrupt.sh"

# See dashboards.
exec 5>"$WORK/kills" && flock --timeout 600 5

main_pid() { in_container systemctl show --property MainPID --value metrics-service.service; }
socket_invocation() {
  in_container systemctl show --property InvocationID --value metrics-service.socket
}

# restarts_after SIGNAL: the next request gets a response, from a new process on the same socket.
restarts_after() {
  local before socket
  before=$(main_pid) socket=$(socket_invocation)
  in_container sh -c "kill -s $1 $before"
  # A thread that has not stopped yet might still accept the next connection, and reset it later.
  eventually 10 is_halted "$before"
  # systemd's watchdog takes half a minute to notice a frozen process.
  contains "$(get 8000/health --max-time 90)" '{"status":"ok"}'
  [[ $(main_pid) != "$before" ]] || { echo "the process is the same" && return 1; }
  equal "socket invocation" "$(socket_invocation)" "$socket"
}

# is_halted PID: it is gone, or each of its threads is stopped (T) or has ended (Z, X).
is_halted() {
  ! in_container sh -c "cat /proc/$1/task/*/status 2>/dev/null || :" | grep '^State:' |
    grep -v '[TZX] (' >/dev/null
}

# On a host with controllers of version 1, control groups limit nothing inside a container. There
# the container's PID 1 enters groups of version 1 with the limits of the service's unit, and so do
# all processes that it starts later.
limit_as_the_unit_does() {
  local memory pids dir
  memory=$(group_of memory) pids=$(group_of pids)
  in_container systemctl show --property MemoryMax --value metrics-service.service \
    >"$memory/memory.limit_in_bytes"
  in_container systemctl show --property TasksMax --value metrics-service.service >"$pids/pids.max"
  for dir in "$memory" "$pids"; do leader >"$dir/cgroup.procs"; done
  in_container systemctl restart metrics-service.service
}
group_of() {
  local dir
  dir=$(control_groups | grep "^/sys/fs/cgroup/$1/")/limited && mkdir -p "$dir" && echo "$dir"
}
has_limits() {
  in_container test -e /sys/fs/cgroup/system.slice/metrics-service.service/memory.max
}

# threads_are_contained: with more memory than the unit allows, because 4,500 threads took 251 MB of
# its 268 MB (256M), half of it in the kernel, so either limit could end the service.
threads_are_contained() {
  if has_limits; then
    in_container systemctl set-property --runtime metrics-service.service MemoryMax=1G
  else
    echo 1G >"$(group_of memory)/memory.limit_in_bytes"
  fi
  is_contained bodies 2500 "Resource temporarily unavailable"
}

# is_contained KIND CONNECTIONS WORDS: a flood that exceeds a limit ends the service. It is back
# within a second, refuses no connection, and the journal contains the words.
is_contained() {
  local before socket cursor
  before=$(main_pid) socket=$(socket_invocation)
  cursor=$(in_container journalctl --quiet --lines 0 --show-cursor | sed -n 's/^-- cursor: //p')
  on_network python3 "$E2E_DIR/lib/flood.py" "$1" "$2" | tee "$SCRATCH/flood"
  in_container journalctl --quiet --no-pager --output cat --after-cursor "$cursor" \
    --unit metrics-service.service | tee "$SCRATCH/journal"
  contains "$(<"$SCRATCH/flood")" " 0 refused"
  contains "$(<"$SCRATCH/journal")" "$3"
  [[ $(main_pid) != "$before" ]] || { echo "the process is the same" && return 1; }
  contains "$(get 8000/health)" '{"status":"ok"}'
  eventually 10 in_container systemctl --quiet is-active metrics-service.service
  at_most "downtime in seconds" "$(downtime)" 1
  equal "socket invocation" "$(socket_invocation)" "$socket"
  measured "back after $(downtime) s; $(<"$SCRATCH/flood")"
}
downtime() {
  in_container systemctl show metrics-service.service \
    --property ActiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic |
    awk -F= '/Exit/ { from = $2 } /Enter/ { to = $2 } END { printf "%.2f", (to - from) / 1e6 }'
}

new_samples_arrive() {
  local up='up{job="metrics_service"}'
  eventually 60 query_is "min($up and timestamp($up) > $1)" 1
}

boot trixie
test "install" run_until_verify "${INSTALL[@]}"
test "SIGKILL" restarts_after KILL
test "SIGSTOP, which triggers systemd's watchdog" restarts_after STOP
test "more connections than file descriptors" is_contained silent 4200 "Too many open files"
if has_limits || { group_of memory && group_of pids; } >/dev/null; then
  has_limits || test "limits for the service" limit_as_the_unit_does
  test "more memory than the limit" is_contained heads 50 "code=killed, status=9/KILL"
  test "more threads than the limit" threads_are_contained
else
  skip "more memory and threads than the limits" "no writable memory controller on this host"
fi
test "new samples arrive" new_samples_arrive "$(in_container date +%s)"
