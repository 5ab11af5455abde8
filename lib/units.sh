# Stops and starts the parts of the stack, and waits until they are ready.
# shellcheck shell=bash disable=SC2034  # install.sh uses BEGUN

# A file for each part that is half moved, with those of its units that were active. A reboot rightly forgets them.
readonly MARKS=$RUN/marks
# In seconds. A large write-ahead log takes minutes to be read; a program that keeps failing is noticed at once.
readonly READY_TIMEOUT=300

# Sockets first: a connection that comes meanwhile would start their service again.
units_of() {
  case $1 in
  stack) echo metrics-stack.target ;;
  metrics-service) echo metrics-service.socket metrics-service.service ;;
  alloy-ui) echo metrics-alloy-ui.socket metrics-alloy-ui.service ;;
  *) echo "metrics-$1.service" ;;
  esac
}

readiness_of() {
  case $1 in
  metrics-service) echo 8000/health ;;
  prometheus) echo 9090/-/ready ;;
  alloy) echo 12345/-/ready ;;
  grafana) echo 3001/api/health ;;
  esac
}

is_active() { systemctl --quiet is-active "$1"; }
is_enabled() { systemctl --quiet is-enabled "$1" 2>/dev/null; }

# is_wanted UNIT PART: what a person has switched off is neither started nor waited for, but what ran before its move is.
is_wanted() {
  [[ -f $UNIT_DIR/$1 ]] || return 1
  { is_enabled metrics-stack.target && is_enabled "$1"; } || grep --quiet --line-regexp --fixed-strings "$1" "$MARKS/$2" 2>/dev/null
}

mark() {
  local unit
  [[ -e $MARKS/$1 ]] || for unit in $(units_of "$1"); do ! is_active "$unit" || echo "$unit"; done >"$MARKS/$1"
}

stop_part() {
  case $1 in
  # To stop the target would stop all.
  stack) return ;;
  # Its socket stays, and with it who comes meanwhile. As it reads nothing but its program, a restart is enough then.
  metrics-service) [[ $RELEASE == "$NOTHING" || $(changes "$1") == *" systemd/metrics-service.socket"* ]] || return 0 ;;
  alloy) ! is_active metrics-alloy.service || drain ;;
  esac
  # shellcheck disable=SC2046  # units are words
  stop_units $(units_of "$1")
}

stop_units() {
  local unit
  for unit; do
    case $(systemctl show --property ActiveState --value "$unit") in
    inactive | failed) ;;
    *) systemctl stop "$unit" ;;
    esac
  done
}

# What Alloy has not sent when it stops is lost: Prometheus, back again, has to have it all.
drain() {
  local tries=100
  while local_get 12345/metrics 2>/dev/null | grep '^prometheus_remote_storage_samples_pending{.* [1-9]' >/dev/null; do
    ((--tries)) || return 0
    sleep 0.3
  done
}

start_part() {
  local unit
  for unit in $(units_of "$1"); do
    # The target comes last, when all that it would start is there.
    if [[ $1 != stack ]] && is_wanted "$unit" "$1"; then
      start_unit "$unit"
      wait_until_ready "$1" "$unit"
    fi
  done
}

# What nothing has changed of, and that does not run.
start_all() {
  local part unit
  for part in "${PARTS[@]:1}" stack; do
    for unit in $(units_of "$part"); do
      if ! is_active "$unit" && is_wanted "$unit" "$part"; then
        BEGUN=1
        start_unit "$unit"
        wait_until_ready "$part" "$unit"
      fi
    done
  done
}

start_unit() {
  STARTED_AT=$(date +%s)
  # Its count of restarts begins anew.
  systemctl reset-failed "$1" 2>/dev/null || :
  case $1 in
  *.service) systemctl restart "$1" || unit_failed "$1" ;;
  *.socket) is_active "$1" || { stop_units "${1%.socket}.service" && systemctl start "$1"; } || unit_failed "$1" ;;
  *) systemctl start "$1" || unit_failed "$1" ;;
  esac
}

# wait_until_ready PART UNIT
wait_until_ready() {
  local url failures
  url=$(readiness_of "$1")
  [[ $2 == *.service && -n $url ]] || return 0
  until local_get "$url" >/dev/null 2>&1; do
    failures=$(systemctl show --property NRestarts --value "$2")
    ((failures < 3 && $(date +%s) - STARTED_AT < READY_TIMEOUT)) || unit_failed "$2"
    sleep 0.2
  done
}

unit_failed() {
  echo "the last lines of $1's journal:" >&2
  journalctl --quiet --unit "$1" --since "@$STARTED_AT" --lines 15 --output cat --no-pager | sed 's/^/  | /' >&2
  die "$1 does not get ready" "its journal above says why"
}

# A drop-in with a user of its own keeps the data where the symlink is otherwise.
grafana_data() { realpath --quiet "$VAR/grafana" || echo "$VAR/grafana"; }

# change_database OLD-TREE NEW-TREE: Grafana migrates its database to its version, which an older one can't read then. Each tree's is
# kept until the next release is active, and goes back with it.
change_database() {
  local data old=${1##*/} new=${2##*/}
  data=$(grafana_data)
  [[ -n $old && -e $data/grafana.db ]] || return 0
  if [[ -e $data/database-of-$new/grafana.db ]]; then
    if [[ -z $RETREAT ]]; then
      # That may have been long ago: what was made since is not lost.
      rm -rf "$data/database-replaced"
      copy_database "$data" "$data/database-replaced"
      warn "Grafana's database is the one that ${new%-*} had; the one of ${old%-*} is kept in $data/database-replaced"
    fi
    rm -f "$data"/grafana.db-*
    mv --force "$data/database-of-$new"/* "$data"
    sync "$data"
  else
    rm -rf "$data/database-of-$old"
    copy_database "$data" "$data/database-of-$old"
  fi
}

# Copies that are of no activation that is open, and half ones.
forget_databases() {
  local data
  data=$(grafana_data)
  [[ -d $data ]] || return 0
  rm -rf "$data/database.part"
  [[ -L $OPT/open ]] || rm -rf "$data"/database-of-*
  sync "$data"
}

copy_database() {
  mkdir "$1/database.part"
  cp --archive "$1"/grafana.db* "$1/database.part"
  sync "$1"/database.part/*
  rename "$1/database.part" "$2"
}

# proxy_may on|off: SELinux lets systemd's socket proxy connect only where these booleans allow it. Those that were off are noted, and
# put back.
proxy_may() {
  local boolean
  for boolean in systemd_socket_proxyd_{bind,connect}_any; do
    if [[ $1 == on && $(getsebool "$boolean" 2>/dev/null) == *" off" ]]; then
      echo "$boolean" >>"$STATE/booleans"
      setsebool -P "$boolean" on
    elif [[ $1 == off ]] && grep --quiet --line-regexp "$boolean" "$STATE/booleans" 2>/dev/null; then
      setsebool -P "$boolean" off
    fi
  done
  [[ $1 == on ]] || rm -f "$STATE/booleans"
}
