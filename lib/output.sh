# What a person sees while a long step is at work, and at the end.

# start_progress TEXT, stop_progress: between the two a terminal shows that it is at work and for how long; elsewhere it is one line.
TICKER=''
start_progress() {
  if [[ ! -t 8 ]]; then say "    $1" && return; fi
  # Without descriptor 9, which is the lock, and ending with this script, however that ends.
  (seconds=0 && while kill -0 "$$" 2>/dev/null && printf '\r    %s, %s s' "$1" "$seconds"; do sleep 1 && seconds=$((seconds + 1)); done) >&8 9<&- &
  TICKER=$!
}
stop_progress() {
  [[ -n $TICKER ]] || return 0
  kill "$TICKER" 2>/dev/null || :
  wait "$TICKER" 2>/dev/null || :
  TICKER=''
  echo >&8 || :
}

# print_summary CHANGED: the last lines of an install that is verified.
print_summary() {
  if [[ -z $1 ]]; then
    say "metrics-stack $VERSION runs, and nothing had to be changed.$(! role_has grafana || echo " Grafana: http://127.0.0.1:3001")"
    return
  fi
  if ! role_has grafana; then
    say "
metrics-stack $VERSION runs on this host as an agent and sends all samples to ${SETTINGS["url"]}, as those of $(uname -n).
Your own application:  a file in $ETC/targets.d, as example.yml.disabled there shows
When in doubt:         $SCRIPTS/verify.sh
Out again:             sudo $SCRIPTS/uninstall.sh, with --purge data and all"
    return
  fi
  say "
metrics-stack $VERSION runs on this host, and only this host reaches it:
  Grafana      http://127.0.0.1:3001  dashboards; login admin / admin, to be changed at /profile/password
  Alloy        http://127.0.0.1:3000  what is scraped and where it goes
  Prometheus   http://127.0.0.1:9090  samples and alerts
  the service  http://127.0.0.1:8000  /health, /metrics, /simulate-load
From your machine:     ssh -L 3001:127.0.0.1:3001 -L 3000:127.0.0.1:3000 -L 9090:127.0.0.1:9090 ${SUDO_USER:-root}@$(uname -n)
Something to look at:  curl 'http://127.0.0.1:8000/simulate-load?duration_ms=500'
Your own application:  a file in $ETC/targets.d, as example.yml.disabled there shows
When in doubt:         $SCRIPTS/verify.sh
Out again:             sudo $SCRIPTS/uninstall.sh, with --purge data and all"
}
