#!/usr/bin/env bash
# tests/vm/try.sh, on a network of its own in place of this machine's.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"

shows_the_stack_and_leaves_nothing() {
  local before try port
  before=$(left_overs)
  # Without --default-signal a job of a script could not be ended by Ctrl-C.
  env --default-signal=INT unshare --net sh -c 'ip link set lo up && exec "$@"' sh "$VM_DIR/try.sh" >"$NOTES/try" 2>&1 &
  try=$!
  eventually 180 is_shown_or_over "$try"
  cat "$NOTES/try"
  contains "$(<"$NOTES/try")" "Ctrl-C ends it"
  [[ -n ${ARCHIVES-} ]] || contains "$(<"$NOTES/try")" "Alloy and Grafana are stand-ins"
  for port in 8000 3000 9090/-/ready 3001/login; do
    nsenter --target "$try" --net curl --silent --show-error --fail --output /dev/null "http://127.0.0.1:$port"
  done
  kill -INT "$try"
  eventually 30 is_gone "$try"
  equal "what is left behind" "$(left_overs)" "$before"
}

is_shown_or_over() { grep -q "Ctrl-C ends it" "$NOTES/try" || is_gone "$1"; }
left_overs() {
  find "$CACHE" -maxdepth 1 -name 'run.*'
  find /sys/fs/cgroup -maxdepth 3 -name 'metrics-stack-tests-*'
  grep -l metrics-stack-trial /proc/[0-9]*/cmdline 2>/dev/null || :
}

test "try.sh shows the stack until Ctrl-C, and leaves nothing behind" shows_the_stack_and_leaves_nothing
