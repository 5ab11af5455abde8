# What a bug report needs to know of this host, in one text, read only, however broken the install is.
# shellcheck shell=bash

# report FILE
report() {
  {
    echo "metrics-stack $VERSION, reported on $(date --utc --iso-8601=seconds)"
    section "host" host
    section "release" find "$OPT" -maxdepth 2 -printf '%p %l\n'
    section "what differs from the release" differences
    section "units" systemctl list-units --all --full --no-pager 'metrics-*'
    section "drop-ins" systemctl show --property Id,DropInPaths,NRestarts,Result,UnitFileState 'metrics-*'
    section "sockets" sockets
    section "disk" df --human-readable "$OPT" "$VAR" "$ETC" "$LOGS"
    for unit in "${UNITS[@]}"; do section "journal of $unit" journalctl --quiet --no-pager --lines 30 --output short-iso --unit "$unit"; done
    section "the last run" last_log
    section "verify" verify_all "${@:2}"
  } 2>&1 | without_secrets >"$1"
  say "the report is in $1; read it before you attach it anywhere"
}

section() { printf '\n== %s\n' "$1" && { "${@:2}" || echo "(could not be told)"; }; }

host() { sed -n 's/^PRETTY_NAME=//p' /etc/os-release && uname -srm && systemctl --version | sed 1q && getconf GNU_LIBC_VERSION && nproc && sed 3q /proc/meminfo; }
sockets() { if has ss; then ss --listening --tcp --numeric; else cat /proc/net/tcp /proc/net/tcp6; fi; }
# Their names begin with their times.
last_log() { local logs=("$LOGS"/*.log) && tail -n 60 "${logs[-1]}"; }

differences() {
  [[ -e $OPT/current ]] || { echo "no release is active" && return; }
  plan "$(realpath "$OPT/current")" | grep . || echo "nothing"
}

# Nobody should have put any where these come from; some do.
without_secrets() {
  sed -E 's#(://[^/@ ]*:)[^/@ ]*@#\1…@#g; s#((passw|secret|token|api_?key|authorization|credential)[^ =:]*["'\'']?[ ]*[=:][ ]*).*#\1…#I'
}
