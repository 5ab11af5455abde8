# Every reason why an install could not succeed on this host, found before anything changes.

# Sizes in MB, measured with the pinned archives: 0.7 GB of downloads, 2.2 GB unpacked.
NEED_DOWNLOADS=700 NEED_PROGRAMS=2300 NEED_STATE=200 NEED_ETC=5
# In MB, as MemTotal shows it: 440 to 470 on a VM of 512 MB. The stack ran in a control group of 300,
# and the system needs some 100. A VM of 1 GB shows more than 900.
NEED_MEMORY=400 WANT_MEMORY=900
readonly NEED_SYSTEMD=249 NEED_GLIBC=2.28

preflight() {
  local problems=0
  role_has prometheus || NEED_DOWNLOADS=150 NEED_PROGRAMS=500 NEED_MEMORY=200 WANT_MEMORY=400
  check_system
  check_pins
  check_disk
  check_ports
  check_places
  check_data
  ((problems == 0)) || exit 1
}
fail_check() { error "$@" && problems=$((problems + 1)); }

check_system() {
  local systemd glibc memory
  if [[ ! -d /run/systemd/system ]] && grep --quiet --ignore-case microsoft /proc/sys/kernel/osrelease; then
    fail_check "systemd is not the init of this WSL" "put the lines [boot] and systemd=true into /etc/wsl.conf, then run: wsl.exe --shutdown"
  elif [[ ! -d /run/systemd/system ]]; then
    fail_check "systemd is not the init of this host or container (PID 1 is $(cat /proc/1/comm))" \
      "install on a machine booted by systemd; to have a look without one, run tests/e2e/try.sh on a Debian host"
  elif systemd=$(systemctl --version | awk 'NR == 1 { print int($2) }') && ((systemd < NEED_SYSTEMD)); then
    fail_check "systemd is $systemd, $NEED_SYSTEMD is needed" "use a newer release of the distribution, e.g. Debian 12 or Ubuntu 22.04"
  fi
  { architecture >/dev/null && [[ $(getconf LONG_BIT) == 64 ]]; } ||
    fail_check "there are no archives for $(uname -m) with programs of $(getconf LONG_BIT) bits" "use a 64-bit system on x86_64 or aarch64"
  glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2) || :
  at_least "${glibc:-0}" "$NEED_GLIBC" ||
    fail_check "glibc is ${glibc:-not there}, Alloy needs $NEED_GLIBC" "use a newer release, or a distribution with glibc (Alpine has musl instead)"
  memory=$(total_memory)
  if ((memory < NEED_MEMORY)); then
    fail_check "the host has $memory MB of memory, $NEED_MEMORY MB are needed" "give the machine more"
  elif ((memory < WANT_MEMORY)); then
    warn "the host has $memory MB of memory, $WANT_MEMORY MB are recommended: it might be slow, and" \
      "large dashboards or queries might end a server; swap helps when the service is built here"
  fi
}
total_memory() { awk '$1 == "MemTotal:" { print int($2 / 1024) }' /proc/meminfo; }

# The architecture in the words of the archives.
architecture() {
  case $(uname -m) in
  x86_64) echo amd64 ;;
  aarch64) echo arm64 ;;
  *) return 1 ;;
  esac
}

# at_least A B: version A is B or newer. For sort -V a pre-release, such as 1.20.0-rc.1, is older
# than its release with ~ in place of -.
at_least() {
  local a=${1#v} b=${2#v}
  a=${a/-/"~"} b=${b/-/"~"}
  [[ $(printf '%s\n' "$a" "$b" | sort -V | head -n 1) == "$b" ]]
}

# versions.conf has exactly one line with a sum and a URL for each archive; with --from, one of its files is there.
check_pins() {
  local component architecture
  architecture=$(architecture) || return 0
  for component in "${ARCHIVE_COMPONENTS[@]}"; do
    if [[ ! $(pin "$component" line) =~ ^[a-z]+\ [A-Za-z0-9.+~-]+\ [a-z0-9]+\ [0-9a-f]{64}(\ https?://[^\ ]+)+$ ]]; then
      fail_check "$VERSIONS has no valid line (or more than one) for $component on $architecture" \
        "give it one: component version architecture SHA-256 URL"
    elif [[ -n $FROM ]] && is_missing "$component" && [[ ! -f $FROM/$(file_name "$component") ]]; then
      fail_check "$FROM has no archive of $component $(pin "$component" version)" \
        "put $(file_name "$component") there, e.g. by ./install.sh --download $(shell_words "$FROM") on a host with network"
    fi
  done
}

# Counts what has yet to be placed, by file system: each directory can be a mount or a symlink.
check_disk() {
  local -A need=(["$STATE"]=1 ["$LOGS"]=1 ["$ETC"]=$NEED_ETC) sum=() free=() name=()
  local component path place device
  for component in "${ARCHIVE_COMPONENTS[@]}"; do
    path=$VAR/$component
    exists "$path" || path=$PRIVATE/metrics-stack/$component
    need["$path"]=$((NEED_STATE / ${#ARCHIVE_COMPONENTS[@]}))
    ! is_missing "$component" || need+=(["$STORE"]=$NEED_PROGRAMS ["$CACHE"]=$NEED_DOWNLOADS)
  done
  for path in "${!need[@]}"; do
    place=$(existing "$path")
    device=$(stat --dereference --format %d "$place")
    sum["$device"]=$((${sum["$device"]-0} + need["$path"]))
    free["$device"]=$(df --block-size=1M --output=avail "$place" | tail -n 1)
    name["$device"]=$(df --output=target "$place" | tail -n 1)
  done
  for device in "${!sum[@]}"; do
    ((free["$device"] >= sum["$device"])) ||
      fail_check "${name["$device"]} has $((free["$device"])) MB of free disk, ${sum["$device"]} MB are needed" \
        "make room there, or attach a larger disk"
  done
}
# existing PATH: it, or its nearest parent that exists.
existing() {
  local path=$1
  while [[ ! -e ${path:=/} ]]; do path=${path%/*}; done
  echo "$path"
}

# As ss tells; without it, a server that finds its port taken says so. Who listens on every address of IPv4 keeps us away, too.
check_ports() {
  local port line pid unit tries=120
  has ss || return 0
  # What a run that was cut off has asked of systemd may be under way.
  while [[ -n $(systemctl list-jobs --no-legend 'metrics-*' 2>/dev/null) ]] && ((--tries)); do sleep 0.5; done
  for port in 8000 3000 12345 9090:prometheus 3001:grafana; do
    role_has "$port" || continue
    port=${port%:*}
    line=$(ss --no-header --listening --tcp --numeric --processes "sport = :$port" | grep -E ' (127\.0\.0\.1|0\.0\.0\.0|\*|\[::ffff:127\.0\.0\.1\]):[0-9]+ ') || continue
    [[ $line =~ \(\"([^\"]+)\",pid=([0-9]+) ]] || { fail_check "port $port is taken by a program of another container" "stop it, or give it another port" && continue; }
    pid=${BASH_REMATCH[2]}
    if ((pid == 1)); then
      unit=$(systemctl list-sockets --full --no-legend | awk -v port="$port" '$1 ~ "(^|:)" port "$" && !found++ { print $2 }')
      is_known "$unit" || fail_check "port $port is taken by the systemd unit $unit" "free it: systemctl disable --now $(shell_words "$unit")"
    else
      # It may have ended by now.
      unit=$(sed -n '$s,.*/,,p' "/proc/$pid/cgroup" 2>/dev/null) || continue
      is_known "$unit" || fail_check "port $port is taken by ${BASH_REMATCH[1]} (process $pid)" "stop that program, or give it another port; systemctl status $pid tells its unit"
    fi
  done
}

# Whether a release says that the unit is ours.
is_known() { [[ -n $1 ]] && compgen -G "$RELEASES/*/systemd/$1" >/dev/null; }

# What is where ours should be. Links to folders are a person's choice.
check_places() {
  local unit path
  for unit in "${UNITS[@]}"; do
    path=$(systemctl show --property FragmentPath --value "$unit" 2>/dev/null) || :
    [[ -z $path ]] || { [[ $path == "$UNIT_DIR/$unit" ]] && is_known "$unit"; } || fail_check "$path is there and is not ours" "rename that unit, or remove it"
  done
  for path in "${COMPONENTS[@]/#/$OPT/}" "$OPT"/{current,pending}; do
    [[ -L $path || ! -e $path ]] || fail_check "$path is not a symlink of ours" "rename it"
  done
  while read -r path; do
    ! exists "$path" || [[ -d $path ]] || fail_check "$path is not a folder" "rename it"
  done < <(printf '%s\n' "${OPT%/*}" "$OPT" "$STORE" "$RELEASES" "$VAR" "$STATE" "$LOGS" "$CACHE" "$ETC" && find "$ROOT/etc" -mindepth 1 -type d -printf "$ETC/%P\n")
  # The check of the configuration follows symlinks, and fails at a loop of them.
  [[ ! -d $ETC ]] || while read -r path; do
    fail_check "the configuration can't be read: ${path#find: }" "remove or correct that symlink"
  done < <(find -L "$ETC" -false 2>&1 || :)
}

# version_in TREE COMPONENT: as the name of a tree has it.
version_in() {
  local version=${1##*/"$2"-}
  echo "${version%-*}"
}
# version_that_ran COMPONENT: the last one that has run on the data.
version_that_ran() {
  local tree
  tree=$(readlink "$OPT/$1" || cat "$STATE/last-version-$1" 2>/dev/null) && version_in "$tree" "$1"
}

# What an older version can't read any more is not given to it, and what listens elsewhere would be waited for in vain.
check_data() {
  local component ran elsewhere
  for component in "${ARCHIVE_COMPONENTS[@]}"; do
    ran=$(version_that_ran "$component") || continue
    [[ -n $ALLOW_DOWNGRADE ]] || at_least "$(pin "$component" version)" "$ran" ||
      fail_check "$component $ran has run on the data here, and $(pin "$component" version) is older: it may not be able to read it" \
        "install a release that has $component $ran or newer, or take the risk with --allow-downgrade"
  done
  [[ -n ${SETTINGS["url"]-} || ! -e $ETC/alloy/forward.alloy ]] || is_unmodified etc/alloy/forward.alloy ||
    fail_check "$ETC/alloy/forward.alloy was edited, and would go on forwarding" "move it away"
  elsewhere=$({ systemctl show --property ExecStart --value metrics-{prometheus,alloy}.service && text_of "$ETC/grafana/grafana.ini" | sed 's/^\(http_port\) *= */\1=:/'; } 2>/dev/null |
    grep -oE '(listen-addr[a-z]*|^http_port)=[^ ]*' | grep -vE ':(9090|12345|3001)$' | paste -sd' ') || :
  [[ -z $elsewhere ]] || fail_check "the stack finds its parts by their ports, and an edit or a drop-in has others: $elsewhere" \
    "set them back to 9090 (Prometheus), 12345 (Alloy) and 3001 (Grafana); for another address, put a proxy in front"
}
