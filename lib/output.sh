# Messages, the log of a run, and the summary at its end.

say() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
# error WHAT HINT
error() {
  ERROR_SHOWN=1
  printf 'error: %s\n  hint: %s\n' "$1" "$2" >&2
}
die() {
  error "$@"
  exit 1
}
usage_error() {
  error "$1" "$(call_of --help) lists the options"
  exit 2
}
# need_value OPTION [VALUE...]
need_value() { [[ -n ${2-} ]] || usage_error "$1 needs a value"; }
# need_path TEST KIND OPTION [VALUE...]
need_path() {
  need_value "${@:3}"
  { test "$1" "$4" && test -r "$4"; } || usage_error "$3: no readable $2: $4"
}
# fail_check WHAT HINT: lets a step report all problems before exit_on_problems ends it.
fail_check() {
  error "$@"
  PROBLEMS=$((PROBLEMS + 1))
}
exit_on_problems() { ((PROBLEMS == 0)) || exit 1; }

# start_log NAME: copies the output from here on to a log file. The copying process ignores signals,
# so it outlives the terminal. File descriptor 7 leads to it.
exec 7>&1
start_log() {
  mkdir -p "$LOGS" 2>/dev/null || return 0
  LOG=$LOGS/$(date +%Y%m%d-%H%M%S)-$1.log
  exec 7> >(trap '' INT TERM HUP PIPE && exec 9<&- && copy_lines)
  LOGGER=$!
  restore_output
}

# An interrupted command might have had its output redirected.
restore_output() { exec >&7 2>&1; }

# Like tee, but the tee of uutils coreutils 0.8 exits after its first read.
copy_lines() {
  local line
  while IFS= read -r line || [[ -n $line ]]; do
    printf '%s\n' "$line" >>"$LOG" || :
    printf '%s\n' "$line" || :
  done 2>/dev/null
}

# finish_log STATUS: waits up to 1 s for the last lines.
finish_log() {
  if (($1 != 0)) && [[ -n $LOG ]]; then say "log of this run: $LOG"; fi
  exec >/dev/null 2>&1 7>&1
  for _ in {1..10}; do ! kill -0 "$LOGGER" 2>/dev/null || sleep 0.1; done
}

print_summary() {
  local login="login admin / admin, change it at /profile/password"
  local tunnel='-L 3001:127.0.0.1:3001 -L 3000:127.0.0.1:3000 -L 9090:127.0.0.1:9090'
  if [[ -z $CHANGED ]]; then
    say "metrics-stack $VERSION is running; nothing had to be changed"
    return
  fi
  if [[ -n ${SETTINGS["admin-password"]-} ]] ||
    { role_has grafana && is_login_rejected admin:admin ''; }; then
    login="login admin, with your password"
  fi
  if role_has grafana; then
    cat <<END

metrics-stack $VERSION is running, reachable from this host only:
  Grafana     http://127.0.0.1:3001  $login
  Alloy       http://127.0.0.1:3000  scrape targets and pipeline
  Prometheus  http://127.0.0.1:9090  samples and alerts
  Service     http://127.0.0.1:8000  /health, /metrics, /simulate-load
END
    ! role_has alertmanager || say "  Alerts      http://127.0.0.1:9093  notifications, silences"
    cat <<END
SSH tunnel:          ssh $tunnel ${SUDO_USER:-root}@$(uname -n)
Generate traffic:    curl 'http://127.0.0.1:8000/simulate-load?duration_ms=500'
END
  else
    say "
metrics-stack $VERSION is running as an agent, which sends the samples of $(uname -n)" \
      "to ${SETTINGS["url"]}"
  fi
  cat <<END
Add an application:  a file in $ETC/targets.d (see example.yml.disabled there)
Verify:              $SCRIPTS/verify.sh
Uninstall:           sudo $SCRIPTS/uninstall.sh (--purge also deletes data)
END
}
