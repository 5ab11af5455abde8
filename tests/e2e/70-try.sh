#!/usr/bin/env bash
# tests/e2e/try.sh, in a network namespace of its own.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"

# The stack also stays up when a check of verify.sh fails.
try_runs_until_ctrl_c() {
  local try port dir network
  {
    cat "$ROOT/lib/verify.sh"
    echo 'verify_end_to_end() { check "a row that fails" 0 "none" false; }'
  } >"$SCRATCH/verify.sh"
  # Without --default-signal, a job of a script ignores Ctrl-C.
  # shellcheck disable=SC2016  # for the inner shell
  env --default-signal unshare --net --mount sh -c '
    ip link set lo up && mount --bind "$1" "$2" && shift 2 && exec "$@"' sh \
    "$SCRATCH/verify.sh" "$ROOT/lib/verify.sh" "$E2E_DIR/try.sh" >"$SCRATCH/try" 2>&1 &
  try=$!
  eventually 600 is_running_or_gone "$try"
  cat "$SCRATCH/try"
  contains "$(<"$SCRATCH/try")" "Ctrl-C ends it"
  contains "$(<"$SCRATCH/try")" "✗ a row that fails"
  contains "$(<"$SCRATCH/try")" "Some checks failed"
  [[ -n ${ARCHIVES-} ]] || contains "$(<"$SCRATCH/try")" "Alloy and Grafana are fakes"
  for port in 8000 3000 9090/-/ready 3001/login; do
    on_try "$try" --show-error --fail --output /dev/null "http://127.0.0.1:$port"
  done
  # Without a disk, panels of the Host dashboard are empty.
  eventually 60 has_a_disk "$try"
  # The run holds a lock on its directory.
  dir=$(readlink "/proc/$try/fd/7") network=$(readlink "/proc/$try/ns/net")
  contains "$(leftovers "$dir" "$network")" "$dir"
  contains "$(leftovers "$dir" "$network")" "$network"
  kill -INT "$try"
  eventually 120 is_gone "$try"
  equal "what is left behind" "$(leftovers "$dir" "$network")" ""
}

# on_try PROCESS CURL-OPTION...
on_try() { nsenter --target "$1" --net curl --silent "${@:2}"; }
has_a_disk() {
  on_try "$1" --get http://127.0.0.1:9090/api/v1/query \
    --data-urlencode 'query=node_filesystem_size_bytes{job="node",mountpoint="/"}' |
    grep -q '"mountpoint":"/"'
}
is_running_or_gone() { grep -q "Ctrl-C ends it" "$SCRATCH/try" || is_gone "$1"; }
# leftovers DIR NETWORK: prints the run's directories, control groups and processes.
leftovers() {
  find "$CACHE" /sys/fs/cgroup -maxdepth 3 -name "*${1##*.}" 2>/dev/null || :
  readlink /proc/[0-9]*/ns/net | grep -F "$2" || :
}

test "try.sh runs the stack until Ctrl-C, and leaves nothing behind" try_runs_until_ctrl_c
