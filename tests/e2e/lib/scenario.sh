# What a scenario is written in: a machine, tests on it one after the other, and few words for what is expected.
# shellcheck shell=bash disable=SC2120  # options are for those who need them

set -euo pipefail
. "$(dirname "$0")/lib/base.sh"
. "$E2E_DIR/lib/sandbox.sh"
. "$E2E_DIR/lib/images.sh"
. "$E2E_DIR/lib/machine.sh"

[[ -n ${WORK-} ]] || die "a scenario is started by tests/e2e/run.sh NAME"
SCENARIO=$(basename "$0" .sh)
SCENARIO=${SCENARIO#[0-9][0-9]-}
# Files that tests leave for later ones.
SCRATCH=$(mktemp -d "$WORK/notes.XXXXXX")
DISK=''
trap '[[ -z $DISK ]] || power_off' EXIT
set -E
say_errors() { trap 'echo "failed in ${FUNCNAME[0]-}, line $LINENO: $BASH_COMMAND" >&2' ERR; }
say_errors

# test NAME COMMAND...: one test, one line; on failure with what it printed and the journal of our units.
test() {
  local name="$SCENARIO: $1" log=$SCRATCH/log start=$SECONDS status=0
  # Not in a condition, where a failing command would not end the test.
  set +e
  trap - ERR
  (
    set -e
    say_errors
    "${@:2}"
  ) >"$log" 2>&1
  status=$?
  set -e
  say_errors
  if ((status == 0)); then
    printf 'ok   %s (%s s)%s\n' "$name" "$((SECONDS - start))" "$(sed -n 's/^measured: /, /p' "$log" | tr -d '\n')"
    echo ok >>"$WORK/results"
  else
    {
      printf 'FAIL %s (%s s)\n' "$name" "$((SECONDS - start))"
      tail -n 60 "$log" | sed 's/^/  | /'
      journal | sed 's/^/  > /'
    } >"$SCRATCH/report"
    # In one piece, as another scenario prints at the same time.
    flock "$WORK/results" cat "$SCRATCH/report"
    echo FAIL >>"$WORK/results"
  fi
  return 0
}

# skip NAME WHY: what can't be tested here must not look tested.
skip() {
  printf 'skip %s: %s: %s\n' "$SCENARIO" "$1" "$2"
  echo skip >>"$WORK/results"
}

# The last lines of the units that are in trouble, or of all of ours.
journal() {
  [[ -n $DISK ]] || return 0
  local units
  units=$(in_container systemctl list-units --plain --no-legend --state=failed,activating 'metrics-*' 2>/dev/null | awk '{ printf "--unit %s ", $1 }') || return 0
  # shellcheck disable=SC2086  # units are words
  in_container journalctl --quiet --no-pager --lines 25 --output short-monotonic ${units:---unit metrics-*} 2>/dev/null || :
}

measured() { echo "measured: $*"; }

# equal WHAT SEEN EXPECTED
equal() { [[ $2 == "$3" ]] || { printf '%s: expected %s\nseen %s\n' "$1" "$3" "$2" && return 1; }; }
# at_most WHAT SEEN LIMIT, for numbers with or without a fraction
at_most() { awk -v a="$2" -v b="$3" 'BEGIN { exit !(a <= b) }' || { echo "$1 is $2, at most $3 is allowed" && return 1; }; }
# contains TEXT WORDS
contains() { [[ $1 == *"$2"* ]] || { printf 'expected to read: %s\nread:\n%s\n' "$2" "$1" && return 1; }; }
lacks() { [[ $1 != *"$2"* ]] || { printf 'expected not to read: %s\nread:\n%s\n' "$2" "$1" && return 1; }; }
# refuses STATUS WORDS COMMAND...: fails in this way, and leaves this machine as it was, but for the log.
refuses() {
  local status=0
  traces | sed '\,^/var/log/metrics-stack,d' >"$SCRATCH/before-refusal"
  keep refusal "${@:3}" || status=$?
  equal "exit status" "$status" "$1"
  contains "$(<"$SCRATCH/refusal")" "$2"
  traces | sed '\,^/var/log/metrics-stack,d' | diff "$SCRATCH/before-refusal" - || { echo "< was there before, > is there now" && return 1; }
}

# The commands of the project, as a person calls them, without network and without Rust.
readonly INSTALL=("$CHECKOUT/install.sh" --from "$ARCHIVE_DIR" --versions "$ARCHIVE_DIR/versions.conf" --service-binary "$SERVICE")
install() { in_container "${INSTALL[@]}"; }
verify() { in_container "$CHECKOUT/verify.sh" "$@"; }
uninstall() { in_container "$CHECKOUT/uninstall.sh" "$@"; }

# get PORT/PATH [CURL-OPTION...]
get() { in_container curl --silent --show-error --fail --max-time 20 "${@:2}" "http://127.0.0.1:$1"; }
# query PROMQL: the value of the first series
query() { get 9090/api/v1/query --get --data-urlencode "query=$1" | sed -n 's/.*"value":\[[0-9.]*,"\([^"]*\)"\].*/\1/p'; }
query_is() { [[ $(query "$1") == "$2" ]]; }
samples_of() { get 9090/api/v1/query --get --data-urlencode "query=$1" | grep -o '\[[0-9.]*,"[^"]*"\]' | sed 's/^\[\([0-9]*\).*/\1/'; }

# Every start of a unit has an ID of its own.
invocations() { in_container systemctl show --property Id,InvocationID 'metrics-*.service' | paste -sd' ' | sed 's/  /\n/g' | sort; }
listening() { on_network ss --no-header --listening --tcp --numeric | awk '{ print $4 }' | sort -u; }

# A listing of the file system, of users and of listening ports, without what packages, their caches and the journal change.
traces() {
  in_container find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp/systemd-private-* -o -path /var/tmp/systemd-private-* \
    -o -path /var/log/journal -o -path /var/cache/apt -o -path /var/lib/apt -o -path /usr/src \) -prune -o -printf '%p %y %m %u %g %l\n' | sort
  in_container find /run /tmp /var/tmp -xdev -name '*metrics*' ! -path '/run/systemd/journal/*' ! -path '/run/log/*' 2>/dev/null | sort
  in_container cut -d: -f1,3 /etc/passwd /etc/group
  in_container systemctl list-units --all --no-legend 'metrics-*'
  listening
}

# same_traces BEFORE: what is left behind, by name.
same_traces() {
  traces >"$SCRATCH/after"
  diff "$1" "$SCRATCH/after" || { echo "< was there before, > is there now" && return 1; }
}

# keep NAME COMMAND...: its output goes to the test's log and to the file $SCRATCH/NAME.
keep() { "${@:2}" 2>&1 | tee "$SCRATCH/$1"; }
