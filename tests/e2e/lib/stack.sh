# Tests of an installed stack that hold on every Debian.
# shellcheck shell=bash

readonly SERVICES=(metrics-{service,alloy,alloy-ui,prometheus,grafana})
readonly UNITS=(metrics-stack.target metrics-{service,alloy-ui}.socket "${SERVICES[@]/%/.service}")

# installs_verified OPTION...
installs_verified() {
  local start=$SECONDS
  keep install install "$@"
  measured "up and verified in $((SECONDS - start)) s"
  prints_next_steps
  contains "$(<"$SCRATCH/install")" "✓ 10 test requests reach Prometheus"
  contains "$(<"$SCRATCH/install")" "✓ Grafana answers a query"
}

# The last lines of an install: verified, and the next steps. They fit on a small screen.
prints_next_steps() {
  local end
  contains "$(<"$SCRATCH/install")" ", 0 failed"
  end=$(sed '1,/, 0 failed$/d' "$SCRATCH/install")
  at_most "lines of next steps" "$(wc -l <<<"$end")" 12
  contains "$end" http://127.0.0.1:3001
  contains "$end" "${LOGIN_HINT-login admin / admin}"
  contains "$end" "ssh -L "
  contains "$end" simulate-load
  contains "$end" /etc/metrics-stack/targets.d
  contains "$end" uninstall.sh
}

copy_in() { in_container sh -c "cat >$2" <"$1"; }

# The patterns match the secrets of the tests.
readonly WATCH='while [ ! -e /tmp/done ]; do
    cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\0" "\n" | grep -a "^.\{0,40\}fleet-9f[3].*word"
  done || :'
readonly SEARCH='grep -r -l -s "fleet-9f3.*word" /etc /opt /root /var /run /tmp
  systemctl show "metrics-*" | grep "fleet-9f3.*word"
  journalctl --quiet | grep "fleet-9f3.*word"
  cat /proc/[0-9]*/environ 2>/dev/null | tr "\0" "\n" | grep -a "fleet-9f3.*word"; :'
# installs_in_secret OPTION...: checks command lines during an install and a verification, and files
# as the user nobody after it.
installs_in_secret() {
  local watch
  in_container rm -f /tmp/done
  in_container sh -c "$WATCH" >"$SCRATCH/seen" &
  watch=$!
  # A command line that the watch must see. It ends when its input does.
  in_container sh -c 'cat; :' 'fleet-9f3 decoy word' \
    < <(eventually 30 grep decoy "$SCRATCH/seen")
  keep install install "$@"
  verify
  in_container touch /tmp/done
  wait "$watch"
  equal "command lines with the secret" "$(sort -u "$SCRATCH/seen")" "fleet-9f3 decoy word"
  contains "$(in_container sh -c "$SEARCH")" /var/lib/metrics-stack/install/credentials/
  equal "readable by nobody" "$(as_nobody sh -c "echo nothing; $SEARCH")" nothing
}

# installed_state: lists the files of an install with their checksums.
installed_state() {
  {
    in_container find /etc/metrics-stack /etc/systemd/system -type f -exec sha256sum {} +
    in_container find /opt/metrics-stack /var/lib/metrics-stack/install -maxdepth 2 \
      -printf '%p %y %l\n'
  } | sort
}

listens_as_designed() {
  local port
  for port in "${PORTS[@]}"; do contains "$(listening)" "127.0.0.1:$port"; done
  equal "other addresses" "$(listening | grep -v -E '^(127\.|\[::1\])' || :)" ""
}

units_are_up() {
  local unit
  for unit in "${UNITS[@]}"; do
    equal "$unit" "$(state_of "$unit")" "active enabled"
  done
}

is_hardened() {
  local service limit exposure
  for service in "${SERVICES[@]}"; do
    limit=1.6
    [[ $service != metrics-alloy ]] || limit=2.0
    exposure=$(in_container systemd-analyze security --no-pager "$service.service" |
      sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p')
    at_most "exposure of $service" "${exposure:-unknown}" "$limit"
    measured "${service#metrics-} $exposure"
  done
}

second_install_changes_nothing() {
  local before files start=$SECONDS
  before=$(invocations) files=$(installed_files)
  keep install install
  measured "$((SECONDS - start)) s"
  equal "invocations" "$(invocations)" "$before"
  equal "files" "$(installed_files)" "$files"
  equal "lines at the end" "$(sed '1,/, 0 failed$/d' "$SCRATCH/install" | wc -l)" 1
  contains "$(tail -n 1 "$SCRATCH/install")" "nothing had to be changed"
}
installed_files() {
  in_container find /opt/metrics-stack /etc/metrics-stack /etc/systemd/system \
    -printf '%p %i %T@ %s\n' | sort
}

# Restarts the service while eight clients send requests, each on a new connection.
restarts_lose_no_request() {
  local load i
  in_container rm -f /tmp/stop
  in_container "$HELPERS/load" 127.0.0.1:8000 / /tmp/stop >"$SCRATCH/load" 2>&1 &
  load=$!
  for ((i = 0; i < 20; i++)); do
    in_container systemctl restart metrics-service.service
    sleep 0.2
  done
  in_container touch /tmp/stop
  wait "$load"
  cat "$SCRATCH/load"
  contains "$(<"$SCRATCH/load")" " answered, 0 failed"
  at_most "minimum of requests" 500 "$(cut -d' ' -f1 "$SCRATCH/load")"
  measured "$(<"$SCRATCH/load")"
}

# longest_gap START END: prints the longest gap between samples from before START to after END, or
# 0 if there are none at either end.
longest_gap() { samples_of 'up{job="metrics_service"}[10m]' | gap_in "$@"; }
# no_gap_beyond SECONDS START END: the interval is 15 s, so a missing sample makes a gap of 30 s.
no_gap_beyond() { local gap && gap=$(longest_gap "$2" "$3") && ((gap > 0 && gap < $1)); }
gap_in() {
  awk -v start="$1" -v end="$2" '
    last && int($1) > start && $1 - last > longest { longest = $1 - last }
    { if (!last) first = $1; last = $1 }
    END { print (int(first) <= start && last >= end) ? int(longest) : 0 }'
}

purge_leaves_no_trace() {
  keep purge uninstall --purge
  same_traces "$1"
}
