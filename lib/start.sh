# Starts and restarts what an install changed, one component after the other, each waited for.
# shellcheck shell=bash

# A large write-ahead log takes minutes to be read; a program that keeps failing is noticed at once.
readonly READY_TIMEOUT=300

# fingerprint COMPONENT: equal before and after the placing when nothing that the component reads has changed.
fingerprint() {
  {
    readlink "$OPT/$1"
    cat "$UNIT_DIR/metrics-${1#metrics-}".*
    find "$ETC/$1" -type f ! -name '*.new' -exec sha256sum {} + | sort -k 2 || : # none of it is there on a first install
  } 2>/dev/null | sha256sum
}

declare -A BEFORE=()
remember_fingerprints() {
  local component
  for component in "${COMPONENTS[@]}" alloy-ui; do BEFORE[$component]=$(fingerprint "$component"); done
}
is_changed() { [[ ${BEFORE[$1]} != "$(fingerprint "$1")" ]]; }

start() {
  local component
  for component in "${COMPONENTS[@]}" alloy-ui; do
    if is_changed "$component"; then
      restart_component "$component"
    elif is_enabled "$component" && ! systemctl --quiet is-active "$(unit_of "$component")"; then
      restart_component "$component"
    fi
  done
  if systemctl --quiet is-enabled metrics-stack.target && ! systemctl --quiet is-active metrics-stack.target; then
    note_run metrics-stack.target
    systemctl start metrics-stack.target
  fi
}

# A component that a person has switched off is neither started nor waited for.
is_enabled() { systemctl --quiet is-enabled metrics-stack.target && systemctl --quiet is-enabled "$(unit_of "$1")"; }

restart_component() {
  local unit socket
  unit=$(unit_of "$1")
  is_enabled "$1" || systemctl --quiet is-active "$unit" || return 0
  say "    $1"
  [[ $1 != alloy ]] || wait_for_remote_write
  # In this order, as on the way back the unit has to stop before its data goes.
  note_state "$1"
  note_run "$unit"
  socket=${unit%.service}.socket
  # The port is let go of only where the socket itself is new: its service has to be stopped for that.
  if [[ " ${CHANGED_UNITS[*]} " == *" $socket "* ]]; then
    note_run "$socket"
    systemctl stop "$unit" "$socket"
    systemctl start "$socket" || unit_failed "$socket"
  fi
  STARTED_AT=$(date +%s)
  # Its count of restarts begins anew.
  systemctl reset-failed "$unit" 2>/dev/null || :
  systemctl restart "$unit" || unit_failed "$unit"
  wait_until_ready "$1"
}

note_run() { if systemctl --quiet is-active "$1"; then note run "$1" active; else note run "$1" inactive; fi; }

note_state() {
  [[ $1 != metrics-service && $1 != alloy-ui ]] || return 0
  if [[ ! -d $PRIVATE ]]; then
    note rmdir "$PRIVATE"
    MADE_DIRS+=("$PRIVATE")
  fi
  # A drop-in with a user of its own keeps the data below $VAR itself.
  [[ -e $PRIVATE/metrics-stack/$1 || -e $VAR/$1 ]] || note state "$1"
}

wait_until_ready() {
  local unit url failures
  unit=$(unit_of "$1") url=$(readiness_of "$1")
  [[ -n $url ]] || return 0
  while ! local_get "$url" >/dev/null 2>&1; do
    failures=$(systemctl show --property NRestarts --value "$unit")
    ((failures < 3)) || unit_failed "$unit"
    (($(date +%s) - STARTED_AT < READY_TIMEOUT)) || unit_failed "$unit"
    sleep 0.2
  done
}

# What Alloy has not sent when it stops is lost: it is restarted only when Prometheus, back again, has it all.
wait_for_remote_write() {
  local tries=100
  while local_get 12345/metrics 2>/dev/null | grep '^prometheus_remote_storage_samples_pending{.* [1-9]' >/dev/null; do
    ((--tries)) || return 0
    sleep 0.3
  done
}

unit_failed() {
  echo "the last lines of $1's journal:" >&2
  journalctl --quiet --unit "$1" --since "@${STARTED_AT:-0}" --lines 15 --output cat --no-pager | sed 's/^/  | /' >&2
  die "$1 does not get ready" "its journal above says why"
}
