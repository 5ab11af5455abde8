# The functions that scenarios are written with: boot a machine, run tests on it, compare results.
# shellcheck shell=bash disable=SC2120  # some calls have no options

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
print_errors() {
  trap 'echo "failed in ${FUNCNAME[0]-}, line $LINENO: $BASH_COMMAND" >&2' ERR
}
print_errors

# test NAME COMMAND...: runs one test and prints one line; on failure also its output and the
# journal of the stack's units.
test() {
  local name="$SCENARIO: $1" log=$SCRATCH/log start=$SECONDS status=0
  # Not in a condition, where a failing command would not end the test.
  set +e
  trap - ERR
  (
    set -e
    print_errors
    "${@:2}"
  ) >"$log" 2>&1
  status=$?
  set -e
  print_errors
  if ((status == 0)); then
    printf 'ok   %s (%s s)%s\n' "$name" "$((SECONDS - start))" \
      "$(sed -n 's/^measured: /, /p' "$log" | tr -d '\n')"
    echo ok >>"$WORK/results"
  else
    {
      printf 'FAIL %s (%s s)\n' "$name" "$((SECONDS - start))"
      tail -n 60 "$log" | sed 's/^/  | /'
      journal | sed 's/^/  > /'
    } >"$SCRATCH/report"
    # The lock keeps the output of other scenarios out of the report.
    flock "$WORK/results" cat "$SCRATCH/report"
    echo FAIL >>"$WORK/results"
  fi
  return 0
}

# skip NAME REASON: counts a test that can't run on this host.
skip() {
  printf 'skip %s: %s: %s\n' "$SCENARIO" "$1" "$2"
  echo skip >>"$WORK/results"
}

# The last lines of failed and starting units, or of all units of the stack.
journal() {
  [[ -n $DISK ]] || return 0
  local units
  units=$(in_container systemctl list-units --plain --no-legend --state=failed,activating \
    'metrics-*' 2>/dev/null | awk '{ printf "--unit %s ", $1 }') || return 0
  # shellcheck disable=SC2086  # units are words
  in_container journalctl --quiet --no-pager --lines 25 --output short-monotonic \
    ${units:---unit metrics-*} 2>/dev/null || :
}

measured() { echo "measured: $*"; }

# equal NAME ACTUAL EXPECTED
equal() {
  [[ $2 == "$3" ]] || { printf '%s: expected %s\nactual %s\n' "$1" "$3" "$2" && return 1; }
}
# at_most NAME ACTUAL LIMIT, also for fractions
at_most() {
  awk -v a="$2" -v b="$3" 'BEGIN { exit !(a ~ /^[0-9]/ && a + 0 <= b + 0) }' ||
    { echo "$1 is $2, the limit is $3" && return 1; }
}
# contains TEXT WORDS
contains() { [[ $1 == *"$2"* ]] || { printf 'expected: %s\nin:\n%s\n' "$2" "$1" && return 1; }; }
lacks() { [[ $1 != *"$2"* ]] || { printf 'not expected: %s\nin:\n%s\n' "$2" "$1" && return 1; }; }
# refuses STATUS WORDS COMMAND...: the command exits with the status, prints the words, and changes
# nothing on the machine except the log.
refuses() {
  local status=0
  traces | sed '\,^/var/log/metrics-stack,d' >"$SCRATCH/before-refusal"
  keep refusal "${@:3}" || status=$?
  equal "exit status" "$status" "$1"
  contains "$(<"$SCRATCH/refusal")" "$2"
  traces | sed '\,^/var/log/metrics-stack,d' | diff "$SCRATCH/before-refusal" - ||
    { echo "< before, > now" && return 1; }
}

# The commands of the project, as an administrator calls them, without network and without Rust.
readonly INSTALL=("$CHECKOUT/install.sh" --from "$ARCHIVE_DIR"
  --versions "$ARCHIVE_DIR/versions.conf" --service-binary "$SERVICE")
install() { in_container "${INSTALL[@]}" "$@"; }
verify() { in_container "$CHECKOUT/verify.sh" "$@"; }
as_nobody() { in_container setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
uninstall() { in_container "$CHECKOUT/uninstall.sh" "$@"; }

# script PATH: writes a program in the container from standard input.
script() { in_container sh -c "cat >$1 && chmod 755 $1"; }

# get PORT/PATH [CURL-OPTION...]
get() {
  in_container curl --silent --show-error --fail --max-time 20 "${@:2}" "http://127.0.0.1:$1"
}
# promql QUERY [PORT]: prints the response of Prometheus.
promql() { get "${2-9090}/api/v1/query" --get --data-urlencode "query=$1"; }
# query PROMQL: prints the value of the first series.
query() { promql "$1" | sed -n 's/.*"value":\[[0-9.]*,"\([^"]*\)"\].*/\1/p'; }
query_is() { [[ $(query "$1") == "$2" ]]; }
samples_of() { promql "$1" | sample_times; }
# labels NAME: prints the sorted values of a label in a response of Prometheus.
labels() { grep -o "\"$1\":\"[^\"]*\"" | cut -d'"' -f4 | sort | paste -sd' '; }
sample_times() { grep -o '\[[0-9.]*,"[^"]*"\]' | sed 's/^\[\([0-9.]*\).*/\1/'; }

# state_of UNIT [SOCKET]: prints whether it is active, and whether it or its socket is enabled.
state_of() {
  echo "$(in_container systemctl is-active "$1" || :)" \
    "$(in_container systemctl is-enabled "${2-$1}" || :)"
}
# invocations: prints an ID for each start of a unit.
invocations() {
  in_container systemctl show --property Id,InvocationID 'metrics-*.service' |
    paste -sd' ' | sed 's/  /\n/g' | sort
}
listening() {
  on_network ss --no-header --listening --tcp --numeric | awk '{ print $4 }' | sort -u
}

# traces: lists the file system, users and listening ports, without packages, their caches, the
# journal, and chunks that Prometheus writes at even hours. Files can vanish meanwhile.
traces() {
  in_container find / -ignore_readdir_race -xdev \( -path /proc -o -path /sys -o -path /dev \
    -o -path /run -o -path /tmp/systemd-private-* -o -path /var/tmp/systemd-private-* \
    -o -path /var/log/journal -o -path /var/cache/apt -o -path /var/lib/apt -o -path /usr/src \
    -o -path '*/metrics-stack/prometheus/chunks_head/*' \) \
    -prune -o -printf '%p %y %m %u %g %l\n' | sort
  in_container find /run /tmp /var/tmp -ignore_readdir_race -xdev -name '*metrics*' \
    ! -path '/run/systemd/journal/*' ! -path '/run/log/*' 2>/dev/null | sort
  in_container cut -d: -f1,3 /etc/passwd /etc/group
  in_container systemctl list-units --all --no-legend 'metrics-*'
  listening
}

# same_traces BEFORE: fails and prints the difference if anything was left behind.
same_traces() {
  traces >"$SCRATCH/after"
  diff "$1" "$SCRATCH/after" || { echo "< before, > now" && return 1; }
}

# keep NAME COMMAND...: writes its output to the test's log and to $SCRATCH/NAME.
keep() { "${@:2}" 2>&1 | tee "$SCRATCH/$1"; }
