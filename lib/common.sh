# Names, paths and the small vocabulary that install.sh, verify.sh and uninstall.sh share.

umask 022
# Nothing of the caller's environment is trusted but what says who called, and how the network is reached.
if [[ ${METRICS_STACK_ENV-} != clean ]]; then
  exec env -i METRICS_STACK_ENV=clean LC_ALL=C PATH="$PATH" HOME="${HOME:-/root}" TERM="${TERM:-dumb}" SUDO_USER="${SUDO_USER-}" \
    http_proxy="${http_proxy-${HTTP_PROXY-}}" https_proxy="${https_proxy-${HTTPS_PROXY-}}" no_proxy="${no_proxy-${NO_PROXY-}}" /bin/bash "$0" "$@"
fi

readonly OPT=/opt/metrics-stack ETC=/etc/metrics-stack VAR=/var/lib/metrics-stack CACHE=/var/cache/metrics-stack
readonly LOGS=/var/log/metrics-stack RUN=/run/metrics-stack UNIT_DIR=/etc/systemd/system
readonly STORE=$OPT/store RELEASES=$OPT/releases
readonly STATE=$VAR/install                  # what a purge has to know: packages, SELinux' booleans
readonly PRIVATE=/var/lib/private            # where systemd keeps the state folders of DynamicUser= units

# Each has a tree. The service is the only one that is built from this checkout.
readonly COMPONENTS=(prometheus metrics-service alloy grafana)
UNITS=(metrics-stack.target metrics-prometheus.service metrics-service.socket metrics-service.service
  metrics-alloy.service metrics-alloy-ui.socket metrics-alloy-ui.service metrics-grafana.service)

# shell_words WORD...: prints them as a shell reads them, for a command that a hint repeats.
shell_words() { local words && printf -v words '%q ' "$@" && printf '%s\n' "${words% }"; }

VERSION=$(sed -n '/^version *=/{s/.*"\(.*\)".*/\1/p;q}' "$ROOT/Cargo.toml")
readonly VERSION
# The checkout as hints name it: quoted, and after `bash` where a zip or a share has dropped the x bits.
SCRIPTS=$(shell_words "$ROOT")
[[ -x $ROOT/install.sh && -x $ROOT/verify.sh && -x $ROOT/uninstall.sh ]] || SCRIPTS="bash $SCRIPTS"
readonly SCRIPTS

say() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }

# error WHAT HINT: an error and what to do about it; the caller goes on.
error() {
  ERROR_SHOWN=1
  [[ -z ${TICKER-} ]] || stop_progress
  printf 'error: %s\n  remedy: %s\n' "$1" "$2" >&2
}
die() {
  error "$@" || :
  exit 1
}
usage_error() {
  error "$1" "$(call_of --help) lists the options"
  exit 2
}

# The comment at the head of the calling script is its manual.
manual() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }

# call_of ARGUMENT...: how to call the running script again, with these.
call_of() { echo "$SCRIPTS/$(shell_words "${0##*/}" "$@")"; }

has() { command -v "$1" >/dev/null; }
exists() { [[ -e $1 || -L $1 ]]; }
# text_of FILE: prints it without what some editors add: a byte order mark, and a CR at each line's end.
text_of() { sed $'1s/^\xEF\xBB\xBF//; s/\r$//' "$1"; }
# uptime_now: prints the seconds since boot. The clock, and SECONDS with it, can be set during a wait.
uptime_now() {
  local seconds
  read -r seconds _ </proc/uptime && echo "${seconds%.*}"
}
sha256() { sha256sum "$1" 2>/dev/null | cut -d' ' -f1; }

# curl_local PATH-OF-URL [CURL-OPTION...]: asks a server of this host, e.g. curl_local 9090/-/ready.
curl_local() { curl --disable --noproxy '*' --fail --silent --show-error --max-time 10 "${@:2}" "http://127.0.0.1:$1"; }

require_root() { [[ $EUID -eq 0 ]] || die "this needs root" "run: sudo $(call_of "$@")"; }

# One install or uninstall at a time; a program that one of them started and left behind counts, too.
lock() {
  mkdir -p "$RUN"
  (umask 077 && : >>"$RUN/lock")
  exec 9<"$RUN/lock"
  # Whoever had it may just have taken the file away.
  { flock --nonblock 9 && [[ $RUN/lock -ef /dev/fd/9 ]]; } ||
    die "another install.sh or uninstall.sh is running" "wait for it to end, then run this again; who it is: fuser $RUN/lock"
}

# start_log NAME: what this run prints, on descriptor 7 from then on, goes to a file as well, by a program that outlives the terminal,
# or whoever reads here, going away in the middle. Descriptor 8 stays the screen alone, for what changes on it.
LOG='' TEE=''
exec 7>&1 8>&1
start_log() {
  mkdir -p "$LOGS" 2>/dev/null || return 0
  LOG=$LOGS/$(date +%Y%m%d-%H%M%S)-$1.log
  exec 7> >(trap '' INT TERM HUP PIPE && exec 9<&- && copy_lines)
  TEE=$!
  exec >&7 2>&1
}

# Not tee: that of uutils 0.8 ends after its first read.
copy_lines() {
  local line
  while IFS= read -r line || [[ -n $line ]]; do
    printf '%s\n' "$line" >>"$LOG" || :
    printf '%s\n' "$line" || :
  done 2>/dev/null
}

# finish_log STATUS: the last lines are to be there before the prompt is, but a program that was left behind may hold on to its output.
finish_log() {
  (($1 == 0)) || [[ -z $LOG ]] || say "the whole output of this run: $LOG"
  exec >/dev/null 2>&1 7>&1
  for _ in {1..10}; do ! kill -0 "$TEE" 2>/dev/null || sleep 0.1; done
}
