# What a bug report needs to know of this host, in one text, read only, however broken the install is.

# report FILE ARGUMENT-OF-VERIFY_ALL...
report() {
  local unit
  {
    echo "metrics-stack $VERSION, reported on $(date --utc --iso-8601=seconds)"
    section "host" sh -c 'grep ^PRETTY_NAME /etc/os-release; uname -srm; systemctl --version | head -n 1; getconf GNU_LIBC_VERSION; nproc; head -n 3 /proc/meminfo'
    section "release" find "$OPT" -maxdepth 2 -printf '%p %l\n'
    section "what differs from the release" plan "$(realpath "$OPT/current")"
    section "units" systemctl list-units --all --full --no-pager 'metrics-*'
    section "drop-ins" systemctl show --property Id,DropInPaths,NRestarts,Result,UnitFileState 'metrics-*'
    section "ports" sh -c 'ss --listening --tcp --numeric || cat /proc/net/tcp /proc/net/tcp6'
    section "disk" df --human-readable "$OPT" "$VAR" "$ETC" "$LOGS"
    for unit in "${UNITS[@]}"; do section "journal of $unit" journalctl --quiet --no-pager --lines 30 --output short-iso --unit "$unit"; done
    # Their names begin with their times.
    section "the last run" sh -c "tail -n 60 \"\$(ls $LOGS/*.log | tail -n 1)\""
    section "verify" verify_all "${@:2}"
  } 2>&1 | without_secrets >"$1"
  say "the report is in $1; read it before you attach it anywhere"
}

section() { printf '\n== %s\n' "$1" && { "${@:2}" || echo "(could not be told)"; }; }

# Nobody should have put any where these come from; some do.
without_secrets() {
  sed -E 's#(://[^/@ ]*:)[^/@ ]*@#\1…@#g; s#((passw|secret|token|api_?key|authorization|credential)[^ =:]*["'\'']?[ ]*[=:][ ]*).*#\1…#I'
}
