#!/usr/bin/env bash
# tests/e2e/try.sh, on a network of its own in place of this machine's.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"

# A trial whose verify.sh ends with a ✗ shows the stack all the same.
shows_the_stack_and_leaves_nothing() {
  local try port folder network
  { cat "$ROOT/lib/verify.sh" && echo 'verify_end_to_end() { check "a row that fails" 0 "none" false; }'; } >"$SCRATCH/verify.sh"
  # Without --default-signal, a job of a script ignores Ctrl-C.
  # shellcheck disable=SC2016  # for the shell in there
  env --default-signal unshare --net --mount sh -c 'ip link set lo up && mount --bind "$1" "$2" && shift 2 && exec "$@"' sh \
    "$SCRATCH/verify.sh" "$ROOT/lib/verify.sh" "$E2E_DIR/try.sh" >"$SCRATCH/try" 2>&1 &
  try=$!
  eventually 180 is_shown_or_over "$try"
  cat "$SCRATCH/try"
  contains "$(<"$SCRATCH/try")" "Ctrl-C ends it"
  contains "$(<"$SCRATCH/try")" "✗ a row that fails"
  contains "$(<"$SCRATCH/try")" "see the ✗ above"
  [[ -n ${ARCHIVES-} ]] || contains "$(<"$SCRATCH/try")" "Alloy and Grafana are fakes"
  for port in 8000 3000 9090/-/ready 3001/login; do
    nsenter --target "$try" --net curl --silent --show-error --fail --output /dev/null "http://127.0.0.1:$port"
  done
  # Otherwise the disks' panels of the dashboard Host would be empty.
  eventually 60 has_a_disk "$try"
  # The folder of the run is the one on which it holds a lock.
  folder=$(readlink "/proc/$try/fd/7") network=$(readlink "/proc/$try/ns/net")
  contains "$(leftovers "$folder" "$network")" "$folder"
  contains "$(leftovers "$folder" "$network")" "$network"
  kill -INT "$try"
  eventually 30 is_gone "$try"
  equal "what is left behind" "$(leftovers "$folder" "$network")" ""
}

has_a_disk() {
  nsenter --target "$1" --net curl --silent --get --data-urlencode 'query=node_filesystem_size_bytes{job="node",mountpoint="/"}' \
    http://127.0.0.1:9090/api/v1/query | grep -q '"mountpoint":"/"'
}
is_shown_or_over() { grep -q "Ctrl-C ends it" "$SCRATCH/try" || is_gone "$1"; }
# leftovers FOLDER NETWORK: of the run's folders, its control groups and its processes.
leftovers() {
  find "$CACHE" /sys/fs/cgroup -maxdepth 3 -name "*${1##*.}" 2>/dev/null || :
  readlink /proc/[0-9]*/ns/net | grep -F "$2" || :
}

test "try.sh shows the stack until Ctrl-C, and leaves nothing behind" shows_the_stack_and_leaves_nothing
