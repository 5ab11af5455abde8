# Stops and starts the parts of the stack, and waits until they are ready.

# A file for each part that is half moved, with those of its units that were active. A reboot rightly forgets them.
readonly INCOMPLETE=$RUN/incomplete
# In seconds. A large write-ahead log takes minutes to be read; a program that keeps failing is noticed at once.
readonly READY_TIMEOUT=300

# Sockets first: a connection that comes meanwhile would start their service again.
units_of() {
  case $1 in
  stack) echo metrics-stack.target ;;
  metrics-service | alloy-ui) echo "metrics-${1#metrics-}.socket metrics-${1#metrics-}.service" ;;
  *) echo "metrics-$1.service" ;;
  esac
}

declare -A READY_URLS=(["metrics-service.service"]=8000/health ["metrics-prometheus.service"]=9090/-/ready
  ["metrics-alloy.service"]=12345/-/ready ["metrics-grafana.service"]=3001/api/health)

is_active() { systemctl --quiet is-active "$1"; }
is_enabled() { systemctl --quiet is-enabled "$1" 2>/dev/null; }

# is_wanted UNIT PART: what a person has switched off is neither started nor waited for, but what ran before its move is.
is_wanted() {
  [[ -f $UNIT_DIR/$1 && -e $RELEASE/systemd/$1 ]] || return 1
  { is_enabled metrics-stack.target && is_enabled "$1"; } || grep --quiet --line-regexp --fixed-strings "$1" "$INCOMPLETE/$2" 2>/dev/null
}

mark_incomplete() {
  local unit
  [[ ! -e $INCOMPLETE/$1 ]] || return 0
  for unit in $(units_of "$1"); do ! is_active "$unit" || echo "$unit"; done >"$INCOMPLETE/.new"
  mv "$INCOMPLETE/.new" "$INCOMPLETE/$1"
}

stop_group() {
  case $1 in
  # To stop the target would stop all.
  stack) return ;;
  # Its socket stays, and with it who comes meanwhile. As it reads nothing but its program, a restart is enough then.
  metrics-service) [[ $RELEASE == "$EMPTY_RELEASE" || $(changes "$1") == *" systemd/metrics-service.socket"* ]] || return 0 ;;
  # Where Prometheus goes for good, Alloy stops first, while it can still send.
  prometheus) if [[ ! -e $RELEASE/systemd/metrics-prometheus.service ]]; then mark_incomplete alloy && stop_group alloy; fi ;;
  alloy) ! is_active metrics-alloy.service || drain ;;
  esac
  # shellcheck disable=SC2046  # units are words
  stop_units $(units_of "$1")
}

stop_units() {
  local unit
  for unit; do
    [[ $(systemctl show --property ActiveState --value "$unit") =~ ^(inactive|failed)$ ]] || systemctl stop "$unit"
  done
}

# drain: waits until Alloy has sent its queues, for 30 s at most, because what it has not sent when it stops is lost. The queue of a
# receiver that does not answer can't empty, so it is not waited for.
drain() {
  local tries=100 url queues=''
  while read -r url; do ! is_answering "$url" || queues+="url=\"$url\""$'\n'; done < <(pending | sed -n 's/.*[{,]url="\([^"]*\)".*/\1/p')
  [[ -n $queues ]] || return 0
  while pending | grep --fixed-strings "${queues%$'\n'}" >/dev/null; do
    ((--tries)) || return 0
    sleep 0.3
  done
}
pending() { curl_local 12345/metrics 2>/dev/null | grep '^prometheus_remote_storage_samples_pending{.* [1-9]'; }
# is_answering URL: whether a server is there. It gets neither a login nor samples, so its certificate does not matter.
is_answering() { [[ $(curl --disable --globoff --noproxy '*' --insecure --silent --max-time 5 --output /dev/null --write-out '%{http_code}' "$1") != @(000|5??) ]]; }

# start_group PART: of its units those that are wanted and do not run, or may run from what was there before it was moved.
start_group() {
  local unit
  for unit in $(units_of "$1"); do
    if [[ ! -e $INCOMPLETE/$1 ]] && is_active "$unit"; then continue; fi
    is_wanted "$unit" "$1" || continue
    CHANGED=1 STARTED_AT=$(uptime_now)
    JOURNAL_END=$(journalctl --quiet --lines 1 --show-cursor --no-pager 2>/dev/null | sed -n 's/^-- cursor: //p') || :
    # Its count of restarts begins anew.
    systemctl reset-failed "$unit" 2>/dev/null || :
    case $unit in
    *.service) systemctl restart "$unit" ;;
    *.socket) is_active "$unit" || { stop_units "${unit%.socket}.service" && systemctl start "$unit"; } ;;
    *) systemctl start "$unit" ;;
    esac || unit_failed "$unit"
    wait_until_ready "$unit"
  done
}

wait_until_ready() {
  local url=${READY_URLS[$1]-} restarts
  until [[ -z $url ]] || get "$url" >/dev/null 2>&1; do
    restarts=$(systemctl show --property NRestarts --value "$1")
    ((restarts < 3 && $(uptime_now) - STARTED_AT < READY_TIMEOUT)) || unit_failed "$1"
    sleep 0.2
  done
}

unit_failed() {
  echo "the last lines of $1's journal:" >&2
  journalctl --quiet --unit "$1" ${JOURNAL_END:+--after-cursor="$JOURNAL_END"} --lines 15 --output cat --no-pager | sed 's/^/  | /' >&2
  die "$1 does not get ready" "its journal above says why"
}

# A drop-in with a user of its own keeps the data where the symlink is otherwise.
grafana_data() { realpath --quiet "$VAR/grafana" || echo "$VAR/grafana"; }

alloy_data() { realpath --quiet "$VAR/alloy" || echo "$VAR/alloy"; }

# change_database TREE: Grafana migrates its database, which an older one can't read then: what it was goes back with the release before.
# Both ways can be cut off anywhere and done again.
change_database() {
  local data before
  data=$(grafana_data) before=$data/database-backup
  if [[ $1 == "$(readlink "$OPT/current/grafana")" ]]; then
    [[ -d $before ]] || return 0
    # That may have been long ago: what was made since is not lost.
    [[ -n $ROLLING_BACK ]] || ln "$data/grafana.db" "$before.newer" 2>/dev/null || :
    rm -f "$data"/grafana.db-*
    find "$before" -type f -exec mv --force --target-directory="$data" {} +
    rmdir "$before"
    sync "$data"
  elif [[ -n $1 && -e $data/grafana.db && (! -d $before || $OPT/grafana -ef $OPT/current/grafana) ]]; then
    rm -rf "$before" "$before.part"
    mkdir "$before.part"
    cp --archive "$data"/grafana.db* "$before.part"
    sync "$before.part"/*
    replace_file "$before.part" "$before"
  fi
}

# set_wal_aside TREE: an older Alloy can take records of a newer one's write-ahead log for corruption
# and not start. No sample is lost: Alloy never sends after a start what it had not sent before. The
# next upgrade deletes the old log. This can be interrupted anywhere and done again.
set_wal_aside() {
  local ran log version
  version=$(version_in "$1" alloy)
  ran=$(version_that_ran alloy) || return 0
  [[ -n $1 ]] && ! at_least "$version" "$ran" || return 0
  while read -r log; do
    rm -rf "$log-backup"
    mv --no-target-directory "$log" "$log-backup"
    sync "${log%/*}"
    say "    alloy $version starts without the write-ahead log of $ran: it is kept in $log-backup"
  done < <(find "$(alloy_data)" -name wal-backup -prune -o -name wal -type d -print -prune 2>/dev/null)
}

# selinux_allow_proxy on|off: SELinux lets systemd's socket proxy connect only with these booleans. Those that were off are noted, and put back.
selinux_allow_proxy() {
  local boolean
  for boolean in systemd_socket_proxyd_{bind,connect}_any; do
    case $1:$(getsebool "$boolean" 2>/dev/null) in
    on:*" off") echo "$boolean" >>"$STATE/selinux-booleans" && setsebool -P "$boolean" on ;;
    # A purge on a full disk goes on.
    off:*) ! grep --quiet "$boolean" "$STATE/selinux-booleans" 2>/dev/null || setsebool -P "$boolean" off || say "    to be put back by hand: setsebool -P $boolean off" ;;
    esac
  done
  [[ $1 == on ]] || rm -f "$STATE/selinux-booleans"
}
