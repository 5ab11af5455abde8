# Versions, places, memory, time and names on a host.
# shellcheck shell=bash disable=SC2153,SC2317  # lib/ calls the functions that tests replace

# A release archive, or the program of a host, can be of any of these.
test_versions_are_ordered() {
  local newer older
  while read -r newer older; do
    at_least "$newer" "$newer"
    at_least "$newer" "$older" || { echo "$newer counts as older than $older" && return 1; }
    ! at_least "$older" "$newer" || { echo "$older counts as newer than $newer" && return 1; }
  done <<'END'
3.13.4 3.13.4-rc.0
1.20.0 1.20.0-rc.1
1.20.0-rc.2 1.20.0-rc.1
1.20.0-rc.10 1.20.0-rc.9
1.20.0-rc.0 1.20.0-beta.3
1.20.0-rc.1 1.19.9
1.20.1-rc.0 1.20.0
3.13.10 3.13.9
3.13 3.12.9
3.13.1 3.13
12.4.0+security-01 12.4.0
12.4.0+security-02 12.4.0+security-01
12.4.1 12.4.0+security-02
v1.20.0 1.19.0
99.0.0 0.0.1-fake
1.85.0+dfsg3 1.75
END
}

# A release from one pre-release to its release, or onwards, is no downgrade; back is.
test_downgrades_are_told() {
  local ran new expected output
  mkdir -p "$OPT" "$SCRATCH/pins"
  ARCHIVE_COMPONENTS=(prometheus) VERSIONS=$SCRATCH/pins/versions.conf
  systemctl() { :; }
  while read -r ran new expected; do
    ln -sfn "$STORE/prometheus-$ran-12345678" "$OPT/prometheus"
    echo "prometheus $new $(architecture) $(printf '0%.0s' {1..64}) https://example.org/x" \
      >"$VERSIONS"
    output=$(check_data 2>&1 && echo "$PROBLEMS")
    equal "problems from $ran to $new" "${output##*$'\n'}" "$expected"
  done <<'END'
3.13.4-rc.0 3.13.4 0
3.13.4-rc.0 3.13.4-rc.1 0
3.13.4 3.13.4 0
3.13.4 3.13.4-rc.0 1
3.13.4-rc.1 3.13.4-rc.0 1
3.14.0 3.13.4 1
END
}

# Alloy's log goes aside for an older version only, wherever the components keep theirs.
test_write_ahead_logs_go_aside() {
  local ran new expected data=$PRIVATE/metrics-stack/alloy output
  rm -rf "${SCRATCH:?}"/{opt,etc,var}
  mkdir -p "$OPT" "$STATE"
  ln -sfn "$PRIVATE/metrics-stack/alloy" "$VAR/alloy"
  while read -r ran new expected; do
    rm -rf "$data"
    mkdir -p "$data"/prometheus.remote_write.{local,forward}/wal \
      "$data/import.file.more/prometheus.remote_write.x/wal/wal"
    touch "$data/prometheus.remote_write.local/wal/00000001"
    ln -sfn "$STORE/alloy-$ran-12345678" "$OPT/alloy"
    output=$(set_wal_aside "$STORE/alloy-$new-87654321")
    equal "logs aside from $ran to $new" "$(find "$data" -name wal-backup | wc -l)" "$expected"
    equal "logs in use from $ran to $new" \
      "$(find "$data" -name wal-backup -prune -o -name wal -print -prune | wc -l)" \
      "$((3 - expected))"
    equal "lines from $ran to $new" \
      "$(grep -c "alloy $new starts without the write-ahead log of $ran" <<<"$output" || :)" \
      "$expected"
  done <<'END'
1.19.2 1.19.2 0
1.19.2 1.20.1 0
1.20.0-rc.1 1.20.0 0
1.20.1 1.19.2 3
1.20.0 1.19.0-rc.3 3
END
  # Interrupted before the switch, done again with a log that was begun meanwhile.
  mkdir "$data/prometheus.remote_write.local/wal"
  set_wal_aside "$STORE/alloy-1.19.2-87654321"
  [[ ! -e $data/prometheus.remote_write.local/wal ]]
  [[ ! -e $data/prometheus.remote_write.local/wal-backup/00000001 ]]
  # After an uninstall a note says what has run.
  mkdir "$data/prometheus.remote_write.local/wal"
  rm "$OPT/alloy"
  echo "$STORE/alloy-1.20.1-12345678" >"$STATE/last-version-alloy"
  contains "$(set_wal_aside "$STORE/alloy-1.19.2-87654321")" "the write-ahead log of 1.20.1"
  # An uninstall, and the first install, leave it.
  mkdir "$data/prometheus.remote_write.local/wal"
  set_wal_aside ''
  rm "$STATE/last-version-alloy"
  set_wal_aside "$STORE/alloy-1.19.2-87654321"
  [[ -d $data/prometheus.remote_write.local/wal ]]
}

# Memory that small VMs have, in a full role and as an agent.
test_memory_is_judged() {
  local total role expected output
  getconf() { case $1 in LONG_BIT) echo 64 ;; *) echo glibc 2.41 ;; esac }
  systemctl() { echo "systemd 257 (257)"; }
  total_memory() { echo "$total"; }
  for name in pins disk ports places data; do eval "check_$name() { :; }"; done
  while read -r total role expected; do
    SETTINGS=(["role"]=${role#full})
    output=$(preflight 2>&1) || :
    [[ -d /run/systemd/system ]] || output=${output#*$'\n'*$'\n'}
    case $expected in
    nothing) lacks "$output" "MB of memory" ;;
    *) contains "$output" "$expected: the host has $total MB of memory" ;;
    esac
  done <<'END'
230 full error
399 full error
440 full warning
899 full warning
960 full nothing
190 agent error
210 agent warning
440 agent nothing
END
}

# on_disks: the MB that are asked of each directory that exists, as if each were a file system.
on_disks() {
  df() { printf 'Avail Mounted on\n0 %s\n' "${*: -1}"; }
  check_disk 2>&1 |
    sed -n "s,^error: $SCRATCH\(.*\) has 0 MB of free disk space; \([0-9]*\) MB.*,\1 \2,p" | sort
}

test_disks_are_asked_where_data_goes() {
  local part=$((NEED_STATE / 3))
  ARCHIVE_COMPONENTS=(prometheus alloy grafana)
  is_missing() { true; }
  rm -rf "${SCRATCH:?}"/{opt,etc,var}
  mkdir -p "$SCRATCH"/{opt,etc,var/{lib,cache,log}}
  equal "a bare host" "$(on_disks)" "/etc 5
/opt $NEED_PROGRAMS
/var/cache $NEED_DOWNLOADS
/var/lib $((3 * part + 1))
/var/log 1"
  # On disks of their own, by a mount or a symlink.
  mkdir -p "$OPT" "$CACHE" "$PRIVATE/metrics-stack/prometheus" "$LOGS" "$SCRATCH/big"
  ln -s "$SCRATCH/big" "$STORE"
  equal "directories of their own" "$(on_disks)" "/etc 5
/opt/metrics-stack/store $NEED_PROGRAMS
/var/cache/metrics-stack $NEED_DOWNLOADS
/var/lib 1
/var/lib/private/metrics-stack $((2 * part))
/var/lib/private/metrics-stack/prometheus $part
/var/log/metrics-stack 1"
  # What an earlier run downloaded.
  head --bytes=5M /dev/urandom >"$CACHE/alloy.part"
  contains "$(on_disks)" "/var/cache/metrics-stack $((NEED_DOWNLOADS - 5))"
  is_missing() { false; }
  lacks "$(on_disks)" /opt
}

# A loop of symlinks, and one that leads upwards.
test_loops_of_symlinks_are_named() {
  local path
  systemctl() { :; }
  rm -rf "${SCRATCH:?}"/{opt,etc,var}
  mkdir -p "$ETC/targets.d" "$SCRATCH/elsewhere"
  ln -s /nowhere "$ETC/targets.d/dangling.yml"
  ln -s "$SCRATCH/elsewhere" "$ETC/grafana"
  equal "without a loop" "$(check_places 2>&1 && echo "$PROBLEMS")" 0
  for path in loop.yml up; do
    if [[ $path == up ]]; then
      ln -s .. "$ETC/targets.d/up"
    else
      ln -s "$path" "$ETC/targets.d/$path"
    fi
    OUTPUT=$(check_places 2>&1 && echo "$PROBLEMS")
    contains "$OUTPUT" "$ETC/targets.d/$path"
    echo "$OUTPUT"
    equal "problems" "${OUTPUT##*$'\n'}" 1
    rm "$ETC/targets.d/$path"
  done
}

# Another implementation's `install -D` replaces a symlink to a directory by a directory.
test_install_makes_no_directories() {
  local found
  cd "$ROOT" || return
  found=$(grep -rnE '\binstall( -[a-zA-Z0-9]+( [0-7]+)?)* -[a-zA-Z]*D|/dev/stdin' \
    lib docs README.md ./*.sh || :)
  equal "install -D, or from /dev/stdin" "$found" ""
}

# The clock is set by an hour, either way, while a unit is waited for.
test_waiting_takes_no_notice_of_the_clock() {
  local step tries
  systemctl() { echo 0; }
  unit_failed() { echo "it did not wait" && exit 1; }
  for step in 3600 -3600; do
    tries=0
    curl_local() { ((tries++ >= 3)); }
    sleep() { SECONDS=$((SECONDS + step)); }
    date() { echo $(($(command date +%s) + SECONDS)); }
    STARTED_AT=$(uptime_now)
    wait_until_ready metrics-grafana.service
    tries=0
    is_late() {
      [[ -e $SCRATCH/late.$step ]] || { touch "$SCRATCH/late.$step" && echo late && return 1; }
    }
    contains "$(check "something late" 5 nothing is_late)" "✓ something late"
  done
  # Nor does it wait for ever.
  uptime_now() { echo $((STARTED_AT + READY_TIMEOUT)); }
  curl_local() { false; }
  fails wait_until_ready metrics-grafana.service
}

# What a run prints goes to the screen and to its log, however slowly it comes, and to the log alone
# where there is no screen any more.
test_a_log_is_written() {
  LOG=$SCRATCH/log
  slowly() { echo one && sleep 0.1 && echo two && sleep 0.1 && printf 'no end'; }
  equal "screen" "$(slowly | copy_lines)" $'one\ntwo\nno end'
  equal "log" "$(<"$LOG")" $'one\ntwo\nno end'
  rm "$LOG"
  slowly | (trap '' PIPE && copy_lines) | true
  equal "log without a screen" "$(<"$LOG")" $'one\ntwo\nno end'
}

# cargo's configuration of the builder can name a target, a directory, or both.
test_the_build_is_where_it_is_taken_from() {
  as_builder() {
    case "$*" in
    *--version*) printf 'cargo 1.90.0\nrelease: 1.90.0\nhost: riscv64gc-here\n' ;;
    *) echo "$*" >"$SCRATCH/cargo" ;;
    esac
  }
  build_service
  contains "$(<"$SCRATCH/cargo") " " --target riscv64gc-here "
  contains "$(<"$SCRATCH/cargo") " " --target-dir $ROOT/target "
  equal "the program" "$SERVICE_BINARY" "$ROOT/target/riscv64gc-here/release/metrics-service"
}

# Scripts without their x bits, in a directory with blanks.
test_hints_can_be_copied() {
  local copy="$SCRATCH/my stack"
  mkdir -p "$copy"
  cp -r "$ROOT"/{install,verify,uninstall}.sh "$ROOT"/{lib,etc,systemd,Cargo.toml} "$copy"
  hint() {
    local drop=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    ((EUID == 0)) || drop=()
    env METRICS_STACK_ENV=clean PATH="$PATH" "${drop[@]}" bash "$@" 2>&1 || :
  }
  chmod -R a+rX "$SCRATCH"
  cd "$copy" || return
  contains "$(hint install.sh --from 'my archives' --dry-run)" "no readable directory: my archives"
  contains "$(hint install.sh --nonsense)" "hint: $SCRATCH/my\ stack/install.sh --help lists"
  contains "$(hint "$copy/uninstall.sh" --yes)" \
    "hint: run: sudo $SCRATCH/my\ stack/uninstall.sh --yes"
  chmod a-x ./*.sh
  contains "$(hint install.sh --dry-run)" \
    "hint: run: sudo bash $SCRATCH/my\ stack/install.sh --dry-run"
  contains "$(hint verify.sh --nonsense)" "hint: bash $SCRATCH/my\ stack/verify.sh --help lists"
}

test_the_summary_has_commands_of_this_directory() {
  CHANGED=1
  is_login_rejected() { false; }
  contains "$(print_summary)" "login admin / admin"
  is_login_rejected() { [[ $1 == admin:admin ]]; }
  contains "$(print_summary)" "login admin, with your password"
  contains "$(print_summary)" "sudo $SCRIPTS/uninstall.sh (--purge"
  contains "$(print_summary)" $'\nVerify:              '"$SCRIPTS/verify.sh"
}

test_a_preview_stops_only_what_runs() {
  local running=none
  systemctl() { grep --extended-regexp "metrics-($running)" >/dev/null <<<"$*"; }
  DRY_RUN=1 PLAN=$(printf '%s\n' 'grafana write etc/grafana/grafana.ini' \
    'alloy-ui write systemd/metrics-alloy-ui.service' 'prometheus link ' \
    'metrics-service link x' 'stack write etc/targets.d/a.yml')
  lacks "$(print_plan)" "would stop"
  running='grafana.service|alloy-ui.socket|prometheus.service|service.s|stack'
  equal "preview" "$(print_plan)" "\
    would stop metrics-grafana.service, and write $ETC/grafana/grafana.ini
    would stop metrics-alloy-ui.socket metrics-alloy-ui.service, and write \
$UNIT_DIR/metrics-alloy-ui.service
    would stop metrics-prometheus.service, and remove $OPT/prometheus
    would link x
    would write $ETC/targets.d/a.yml"
  PLAN=''
  mkdir -p "$OPT"
  contains "$(print_plan)" "would change nothing else"
  ln -sfn releases/1 "$OPT/pending"
  contains "$(print_plan)" "would complete an interrupted run"
}

test_invalid_calls_are_refused() {
  local call expected
  echo word >"$SCRATCH/word"
  while IFS='|' read -r call expected; do
    # shellcheck disable=SC2086  # words
    fails env METRICS_STACK_ENV=clean PATH="$PATH" bash $call
    contains "$OUTPUT" "$expected"
    contains "$OUTPUT" "--help lists the options"
  done <<END
$ROOT/install.sh --from $SCRATCH --download x|--from and --download exclude each other
$ROOT/install.sh --dry-run --download x|--dry-run and --download exclude each other
$ROOT/install.sh --notify $SCRATCH/word --no-notify|--notify and --no-notify exclude each other
$ROOT/install.sh --role|--role needs a value
$ROOT/install.sh --versions|--versions needs a value
$ROOT/install.sh --nonsense|unknown option --nonsense
$ROOT/verify.sh --grafana-login|--grafana-login needs a value
$ROOT/verify.sh --grafana-login $SCRATCH/none|no readable file: $SCRATCH/none
$ROOT/verify.sh --grafana-login $SCRATCH/word|is not user:password in UTF-8
$ROOT/verify.sh --report|--report needs a value
$ROOT/verify.sh --report $SCRATCH/none/report|--report: cannot write to $SCRATCH/none/report
$ROOT/uninstall.sh --nonsense|unknown option --nonsense
END
}

# Restores the database of the older version, and keeps the newer one. Interrupted or not.
test_a_downgrade_restores_the_database() {
  local data=$VAR/grafana
  rm -rf "${SCRATCH:?}"/{opt,var}
  mkdir -p "$OPT/current" "$data"
  ln -s "$STORE/old" "$OPT/current/grafana" && ln -s "$STORE/old" "$OPT/grafana"
  echo old >"$data/grafana.db"
  change_database "$STORE/new"
  ln -sfn "$STORE/new" "$OPT/grafana"
  echo new >"$data/grafana.db"
  change_database "$STORE/old"
  mkdir "$data/database-backup"
  change_database "$STORE/old"
  equal "database" "$(<"$data/grafana.db")" old
  equal "newer database" "$(<"$data/database-backup.newer")" new
}

# After a reboot, the power having failed before its units were enabled.
test_units_of_an_interrupted_update_are_enabled() {
  rm -rf "${SCRATCH:?}"/{opt,etc,var,run}
  mkdir -p "$RELEASES/1" "$OPT" "$UNIT_DIR"
  cp -r "$ROOT/systemd" "$RELEASES/1" && cp "$ROOT"/systemd/* "$UNIT_DIR"
  ln -s releases/1 "$OPT/pending"
  systemctl() { echo "$*" >>"$SCRATCH/calls"; }
  selinux_allow_proxy() { :; }
  sync() { :; }
  start_group() { :; }
  activate "$RELEASES/1"
  contains "$(<"$SCRATCH/calls")" "--quiet enable metrics-prometheus.service"
  contains "$(<"$SCRATCH/calls")" "--quiet enable metrics-stack.target"
}

# While an upgrade waits for a unit.
test_edits_since_the_plan_stay() {
  rm -rf "${SCRATCH:?}"/{opt,etc,var,run}
  RELEASE=$RELEASES/2
  mkdir -p "$RELEASES"/{1,2}/etc "$ETC"
  echo shipped | tee "$RELEASES/1/etc/a" >"$RELEASES/1/etc/b"
  echo news >"$RELEASE/etc/a"
  echo edited | tee "$ETC/a" >"$ETC/b"
  write_file etc/a
  remove_file etc/b
  equal "files" "$(cat "$ETC/a" "$ETC/b" | paste -sd' ')" "edited edited"
}

# A purge stops and deletes no unit of another program, and an interrupted one can be followed by an
# install.
test_a_purge_leaves_foreign_units() {
  local output
  rm -rf "${SCRATCH:?}"/{opt,etc,var,run}
  mkdir -p "$RELEASES/1/systemd" "$UNIT_DIR"
  ln -s releases/1 "$OPT/current"
  echo mine >"$UNIT_DIR/metrics-service.service"
  cp "$ROOT/systemd/metrics-alloy.service" "$UNIT_DIR"
  systemctl() {
    case $* in
    *FragmentPath*) echo "$UNIT_DIR/${!#}" ;;
    *show*) echo active ;;
    stop*) echo "$*" ;;
    esac
  }
  drain() { :; }
  # Called in between.
  selinux_allow_proxy() { ls "$OPT"; }
  output=$(purge)
  contains "$output" releases
  lacks "$output" current
  lacks "$output" metrics-service.service
  equal "units" "$(ls "$UNIT_DIR")" metrics-service.service
}

# A directory without files stays while the active release has it.
test_empty_directories_stay() {
  rm -rf "${SCRATCH:?}"/{opt,etc,var}
  mkdir -p "$RELEASES"/{1,2}/etc/targets.d "$RELEASES/1/etc/old.d" "$ETC"/{targets,old}.d
  ln -s releases/2 "$OPT/current"
  remove_unused
  equal "after an upgrade" "$(ls "$ETC")" targets.d
  rm "$OPT/current"
  remove_unused
  [[ ! -e $ETC ]]
}

# The target stops all units. Without a wait, Alloy would lose what it has not sent.
test_alloy_stops_first_when_all_are_removed() {
  systemctl() {
    case $* in
    *show*) echo active ;;
    stop*) echo "$*" ;;
    esac
  }
  drain() { echo drain; }
  rm -rf "${SCRATCH:?}/run"
  RELEASE=$EMPTY_RELEASE
  equal "removed" "$(stop_group stack)" \
    $'drain\nstop metrics-alloy.service\nstop metrics-stack.target'
  contains "$(purge)" $'drain\nstop metrics-alloy.service\nstop metrics-stack.target'
  RELEASE=$ROOT
  equal "updated" "$(stop_group stack)" ""
}

test_drop_ins_and_settings_are_listed() {
  rm -rf "${SCRATCH:?}"/{opt,etc,var}
  lacks "$(print_kept)" settings
  mkdir -p "$UNIT_DIR/metrics-grafana.service.d"
  contains "$(print_kept)" "your drop-ins: $UNIT_DIR/metrics-grafana.service.d"
  has_stored role agent
  contains "$(print_kept)" "kept: settings and credentials"
}

# Git lists a file that was deleted in the checkout.
test_deleted_files_are_not_shipped() {
  ROOT=$SCRATCH/checkout SERVICE_PATH=$STORE/service
  mkdir -p "$ROOT/etc/alloy" && touch "$ROOT/.git" "$ROOT/etc/alloy/config.alloy"
  as_builder() { printf 'etc/alloy/%s.alloy\n' config deleted; }
  stage_release
  equal "staged" "$(ls "$STAGED/etc/alloy")" config.alloy
}

# A purge empties mounts and symlinked directories, names the mounts, and goes on.
test_purge_empties_mounts() {
  # The harness runs where nothing can be mounted, as well.
  unshare --mount true 2>/dev/null || return 0
  local output
  systemctl() { echo inactive; }
  getsebool() { false; }
  rm -rf "${SCRATCH:?}"/{opt,etc,var}
  mkdir -p "$PRIVATE/metrics-stack/prometheus/wal" "$ETC/grafana" "$OPT" "$LOGS" "$SCRATCH/disk" \
    "$VAR/install" "$SCRATCH/cache" "$(dirname "$CACHE")" "$UNIT_DIR"
  ln -s "$SCRATCH/disk" "$STORE"
  ln -s "$SCRATCH/cache" "$CACHE"
  touch "$PRIVATE/metrics-stack/prometheus/wal/1" "$ETC/grafana/grafana.ini" "$LOGS/a.log" \
    "$SCRATCH"/{disk,cache}/file
  on_mount() {
    # Its words would get into what purge reads.
    trap - ERR
    mount -t tmpfs none "$PRIVATE/metrics-stack/prometheus"
    trap 'umount "$PRIVATE/metrics-stack/prometheus"' EXIT
    mkdir "$PRIVATE/metrics-stack/prometheus/lost+found"
    touch "$PRIVATE/metrics-stack/prometheus/lost+found/1"
    purge
    print_kept
    remove_traces
    purge >/dev/null
    equal "errors" "$LEFT" "" || exit 1
    find "$SCRATCH"/{disk,cache,opt,etc,var} ! -type d
  }
  output=$(on_mount)
  equal "mounts that are named" \
    "$(grep -c "^kept: mount point $PRIVATE/metrics-stack/prometheus$" <<<"$output")" 1
  lacks "$output" "kept: data"
  lacks "$output" "kept: configuration"
  equal "files that are left" "$(grep -c "^$SCRATCH" <<<"$output" || :)" 0
  [[ ! -e $ETC && ! -e $OPT && ! -e $LOGS && ! -L $CACHE && -d $PRIVATE/metrics-stack/prometheus ]]
}

test_an_unknown_architecture_is_refused() {
  uname() { echo riscv64; }
  fails check_architecture_and_exit
  contains "$OUTPUT" "unsupported architecture: riscv64"
}

test_download_needs_a_directory() {
  touch "$SCRATCH/a-file"
  fails download prometheus "$SCRATCH/a-file/archives"
  contains "$OUTPUT" "error: cannot create $SCRATCH/a-file/archives"
}
check_architecture_and_exit() { check_architecture && exit_on_problems; }

# transferred STATUS CODE: what a failed transfer leaves of a partial download.
transferred() {
  local part=$SCRATCH/part tries=$SCRATCH/tries
  echo half >"$part"
  : >"$tries"
  eval "curl() { echo >>'$tries' && printf %s $2 && return $1; }"
  sleep() { :; }
  ! transfer http://a.example/file "$part" || return 1
  echo "$([[ ! -e $part ]] || echo kept) after $(wc -l <"$tries")"
}
test_transfers_keep_what_arrived() {
  equal "unavailable" "$(transferred 22 503)" "kept after 5"
  equal "interrupted" "$(transferred 18 206)" "kept after 5"
  equal "not found" "$(transferred 22 404)" "kept after 1"
  equal "range refused" "$(transferred 22 416)" " after 5"
}

test_an_edited_unit_of_an_earlier_release_is_accepted() {
  UNITS=(metrics-alertmanager.service)
  mkdir -p "$UNIT_DIR"
  systemctl() { echo "$UNIT_DIR/metrics-alertmanager.service"; }
  echo "ExecStart=/usr/bin/alertmanager" >"$UNIT_DIR/metrics-alertmanager.service"
  OUTPUT=$(check_places 2>&1)
  contains "$OUTPUT" "was not installed by metrics-stack"
  echo "ExecStart=$OPT/alertmanager/bin/alertmanager" >"$UNIT_DIR/metrics-alertmanager.service"
  equal "errors" "$(check_places 2>&1)" ""
}

# Alertmanager's unit also has an empty --cluster.listen-address.
test_changed_ports_are_named() {
  systemctl() {
    echo "argv[]=prometheus --web.listen-address=127.0.0.1:9090 --web.external-url=http://a:1 ;"
    echo "argv[]=alertmanager --web.listen-address=127.0.0.1:$port --cluster.listen-address= ;"
  }
  local port=9093
  equal "ports" "$(changed_ports)" ""
  port=9094
  equal "ports" "$(changed_ports)" "listen-address=127.0.0.1:9094"
}
