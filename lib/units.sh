# Stops and starts the unit groups.

# A file for each group whose update is incomplete, with its units that were active before.
readonly INCOMPLETE=$RUN/incomplete
# Replaying a large write-ahead log takes minutes.
readonly READY_TIMEOUT=300

# units_of GROUP: prints its units. Sockets come first: an open one would start its service again.
units_of() {
  case $1 in
  stack) echo metrics-stack.target ;;
  metrics-service | alloy-ui) echo "metrics-${1#metrics-}".{socket,service} ;;
  *) echo "metrics-$1.service" ;;
  esac
}
# shellcheck disable=SC2207  # units are words
UNITS=($(for group in "${UNIT_GROUPS[@]}"; do units_of "$group"; done))

# ready_url UNIT
ready_url() {
  case $1 in
  metrics-service.service) echo 8000/health ;;
  metrics-prometheus.service) echo 9090/-/ready ;;
  metrics-alloy.service) echo 12345/-/ready ;;
  metrics-grafana.service) echo 3001/api/health ;;
  metrics-alertmanager.service) echo 9093/-/ready ;;
  esac
}

# is_active UNIT...: whether one of them is.
is_active() { systemctl --quiet is-active "$@"; }
is_enabled() { systemctl --quiet is-enabled "$1" 2>/dev/null; }

# is_wanted UNIT GROUP: whether it is enabled, or was active before the update.
is_wanted() {
  [[ -f $UNIT_DIR/$1 && -e $RELEASE/systemd/$1 ]] || return 1
  { is_enabled metrics-stack.target && is_enabled "$1"; } ||
    grep --quiet --line-regexp --fixed-strings "$1" "$INCOMPLETE/$2" 2>/dev/null
}

mark_incomplete() {
  local unit
  [[ ! -e $INCOMPLETE/$1 ]] || return 0
  mkdir -p "$INCOMPLETE"
  for unit in $(units_of "$1"); do
    if is_active "$unit"; then echo "$unit"; fi
  done >"$INCOMPLETE/.new"
  mv "$INCOMPLETE/.new" "$INCOMPLETE/$1"
}

stop_group() {
  case $1 in
  # Stopping the target stops everything. If the target or Prometheus is removed, Alloy has to stop
  # while it can still send.
  stack | prometheus)
    if [[ ! -e $RELEASE/systemd/$(units_of "$1") ]]; then
      mark_incomplete alloy
      stop_group alloy
    elif [[ $1 == stack ]]; then
      return
    fi
    ;;
  # The socket stays open and queues new connections. The service reads no files, so a restart after
  # the update is enough.
  metrics-service)
    [[ $RELEASE == "$EMPTY_RELEASE" || $(changes "$1") == *metrics-service.socket* ]] || return 0
    ;;
  alloy) if is_active metrics-alloy.service; then drain; fi ;;
  esac
  # shellcheck disable=SC2046  # units are words
  stop_units $(units_of "$1")
}

stop_units() {
  local unit
  for unit; do
    is_foreign "$unit" ||
      [[ $(systemctl show --property ActiveState --value "$unit") =~ ^(inactive|failed)$ ]] ||
      systemctl stop "$unit"
  done
  # A unit that had to be killed has failed, and would stay listed without its file.
  systemctl reset-failed "$@" 2>/dev/null || :
}

# drain: waits up to 30 s until Alloy's queues to responding servers are empty, because Alloy loses
# unsent samples when it stops.
drain() {
  local url urls=()
  for url in $(pending_urls); do
    if is_responding "$url"; then urls+=(-e "$url"); fi
  done
  ((${#urls[@]})) || return 0
  for _ in {1..100}; do
    grep --quiet --line-regexp --fixed-strings "${urls[@]}" <<<"$(pending_urls)" || return 0
    sleep 0.3
  done
}
# pending_urls: prints the URL of each of Alloy's queues that is not empty.
pending_urls() {
  curl_local 12345/metrics 2>/dev/null | awk -F'"' '
    /^prometheus_remote_storage_samples_pending\{/ && !/\} 0$/ {
      for (i = 1; i < NF; i++) if ($i ~ /[{,]url=$/) print $(i + 1)
    }' || :
}
# is_responding URL: sends neither credentials nor samples, so it ignores the certificate.
is_responding() {
  [[ $(curl --disable --globoff --noproxy '*' --insecure --silent --max-time 5 --output /dev/null \
    --write-out '%{http_code}' "$1") != @(000|5??) ]]
}

# start_group GROUP: starts its wanted units that are stopped or might still run the old files.
start_group() {
  local unit action
  for unit in $(units_of "$1"); do
    if [[ ! -e $INCOMPLETE/$1 ]] && is_active "$unit"; then continue; fi
    is_wanted "$unit" "$1" || continue
    CHANGED=1 STARTED_AT=$(uptime_now)
    JOURNAL_END=$(journalctl --quiet --lines 1 --show-cursor 2>/dev/null |
      sed -n 's/^-- cursor: //p') || :
    # Also resets the count of restarts.
    systemctl reset-failed "$unit" 2>/dev/null || :
    action=start
    case $unit in
    *.service) action=restart ;;
    *.socket) is_active "$unit" || stop_units "${unit%.socket}.service" ;;
    esac
    systemctl "$action" "$unit" || unit_failed "$unit"
    wait_until_ready "$unit"
  done
}

wait_until_ready() {
  local url restarts
  url=$(ready_url "$1")
  until [[ -z $url ]] || get "$url" >/dev/null 2>&1; do
    restarts=$(systemctl show --property NRestarts --value "$1")
    ((restarts < 3 && $(uptime_now) - STARTED_AT < READY_TIMEOUT)) || unit_failed "$1"
    sleep 0.2
  done
}

unit_failed() {
  say "the last lines of $1's journal:" >&2
  journalctl --sync 2>/dev/null || :
  journalctl --quiet --unit "$1" ${JOURNAL_END:+--after-cursor="$JOURNAL_END"} --lines 15 \
    --output cat | sed 's/^/  | /' >&2
  die "$1 did not become ready" "see its journal above"
}

# data_of COMPONENT: prints its state directory, which systemd makes a symlink for dynamic users.
data_of() { realpath --canonicalize-missing "$VAR/$1"; }

# change_database STORE-PATH: copies Grafana's database before an upgrade, which migrates it, and
# restores it for a rollback. Can be interrupted and repeated.
change_database() {
  local data copy
  data=$(data_of grafana) copy=$data/database-backup
  if [[ $1 == "$(readlink "$OPT/current/grafana")" ]]; then
    [[ -d $copy ]] || return 0
    # Grafana might have run with the newer database for days.
    if [[ -e $copy/grafana.db ]] && ln --force "$data/grafana.db" "$copy.newer"; then
      say "    restoring Grafana's database; the newer one is kept as $copy.newer"
    fi
    rm -f "$data"/grafana.db-*
    find "$copy" -type f -exec mv --force --target-directory="$data" {} +
    rmdir "$copy"
    sync "$data"
  elif [[ -n $1 && -e $data/grafana.db ]] &&
    [[ ! -d $copy || $OPT/grafana -ef $OPT/current/grafana ]]; then
    rm -rf "$copy" "$copy.part"
    mkdir "$copy.part"
    cp --archive "$data"/grafana.db* "$copy.part"
    sync "$copy.part"/*
    replace_file "$copy.part" "$copy"
  fi
}

# set_wal_aside STORE-PATH: an older Alloy might not start with a newer write-ahead log. No sample
# is lost, because Alloy sends none of it after a start. Can be interrupted and repeated.
set_wal_aside() {
  local ran log version
  ran=$(version_that_ran alloy) && [[ -n $1 ]] || return 0
  version=$(version_in "$1" alloy)
  ! at_least "$version" "$ran" || return 0
  while read -r log; do
    rm -rf "$log-backup"
    mv --no-target-directory "$log" "$log-backup"
    sync "${log%/*}"
    say "    alloy $version starts without the write-ahead log of $ran, moved to $log-backup"
  done < <(find "$(data_of alloy)" -name wal-backup -prune -o -name wal -type d -print -prune \
    2>/dev/null)
}

# selinux_allow_proxy on|off: sets the SELinux booleans that systemd-socket-proxyd needs, or resets
# those that it has set.
selinux_allow_proxy() {
  local boolean list=$STATE/selinux-booleans
  for boolean in systemd_socket_proxyd_{bind,connect}_any; do
    if [[ $1 == on && $(getsebool "$boolean" 2>/dev/null) == *" off" ]]; then
      echo "$boolean" >>"$list"
      setsebool -P "$boolean" on
    elif [[ $1 == off ]] && grep --quiet "$boolean" "$list" 2>/dev/null; then
      # On a full disk this can fail.
      setsebool -P "$boolean" off || say "    to reset by hand: sudo setsebool -P $boolean off"
    fi
  done
  [[ $1 == on ]] || rm -f "$list"
}
