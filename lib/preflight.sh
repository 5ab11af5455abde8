# Every reason why an install could not succeed on this host, found before anything changes.
# shellcheck shell=bash

# Sizes in MB, measured with the pinned archives: 0.7 GB of downloads, 2.2 GB unpacked.
NEED_DOWNLOADS=700 NEED_PROGRAMS=2300 NEED_STATE=200 NEED_ETC=5
# 1 GB of memory, less what the kernel keeps for itself.
NEED_MEMORY=900
readonly NEED_SYSTEMD=249 NEED_GLIBC=2.28

preflight() {
  local problems=0
  refuse() { problem "$@" && problems=$((problems + 1)); }
  in_role prometheus || NEED_DOWNLOADS=150 NEED_PROGRAMS=500 NEED_MEMORY=400
  check_system
  check_pins
  check_disk
  check_ports
  check_places
  check_data
  ((problems == 0)) || exit 1
}

check_system() {
  local systemd
  if [[ ! -d /run/systemd/system ]] && grep --quiet --ignore-case microsoft /proc/sys/kernel/osrelease; then
    refuse "systemd is not the init of this WSL" "put the lines [boot] and systemd=true into /etc/wsl.conf, then run: wsl.exe --shutdown"
  elif [[ ! -d /run/systemd/system ]]; then
    refuse "systemd is not the init of this host or container (PID 1 is $(cat /proc/1/comm))" \
      "install on a machine booted by systemd; to have a look without one, run tests/vm/try.sh on a Debian host"
  elif systemd=$(systemctl --version | awk 'NR == 1 { print int($2) }') && ((systemd < NEED_SYSTEMD)); then
    refuse "systemd is $systemd, $NEED_SYSTEMD is needed" "use a newer release of the distribution, e.g. Debian 12 or Ubuntu 22.04"
  fi
  { architecture >/dev/null && [[ $(getconf LONG_BIT) == 64 ]]; } ||
    refuse "there are no archives for $(uname -m) with programs of $(getconf LONG_BIT) bits" "use a 64-bit system on x86_64 or aarch64"
  local glibc
  glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2) || :
  at_least "${glibc:-0}" "$NEED_GLIBC" ||
    refuse "glibc is ${glibc:-not there}, Alloy needs $NEED_GLIBC" "use a newer release, or a distribution with glibc (Alpine has musl instead)"
  local memory
  memory=$(awk '$1 == "MemTotal:" { print int($2 / 1024) }' /proc/meminfo)
  ((memory >= NEED_MEMORY)) || refuse "the host has $memory MB of memory, $NEED_MEMORY MB are needed" "give the machine more"
}

# The architecture in the words of the archives.
architecture() {
  case $(uname -m) in
  x86_64) echo amd64 ;;
  aarch64) echo arm64 ;;
  *) return 1 ;;
  esac
}

# at_least A B: version A is B or newer.
at_least() { [[ $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]; }

# versions.conf has exactly one line with a sum and a URL for each archive; with --from, one of its files is there.
check_pins() {
  local component architecture lines
  architecture=$(architecture) || return 0
  if [[ ! -r $VERSIONS ]]; then
    refuse "$VERSIONS can't be read" "name a file of the form of etc/versions.conf with --versions"
    return
  fi
  for component in "${ARCHIVED[@]}"; do
    lines=$(awk -v c="$component" -v a="$architecture" '$1 == c && $3 == a' "$VERSIONS")
    if [[ ! $lines =~ ^[a-z]+[[:blank:]]+[A-Za-z0-9.+~-]+[[:blank:]]+[a-z0-9]+[[:blank:]]+[0-9a-f]{64}([[:blank:]]+(https?://[^[:space:]]+))+$ ]]; then
      refuse "$VERSIONS has no valid line (or more than one) for $component on $architecture" \
        "give it one: component version architecture SHA-256 URL"
    elif [[ -n $FROM ]] && is_missing "$component" && [[ -z $(archive_in "$FROM" "$component") ]]; then
      refuse "$FROM has no archive of $component $(pin "$component" version)" \
        "put $(basename "$(pin "$component" url)") there, e.g. by ./install.sh --download $FROM on a host with network"
    fi
  done
}

# Counts what has yet to be placed, by file system, as folders may share one.
check_disk() {
  local -A need=([/var/lib]=$NEED_STATE [/etc]=$NEED_ETC) place=() sum=()
  local component path device free
  for component in "${ARCHIVED[@]}"; do
    ! is_missing "$component" || need+=([/opt]=$NEED_PROGRAMS [/var/cache]=$NEED_DOWNLOADS)
  done
  for path in "${!need[@]}"; do
    device=$(device_of "$path")
    sum[$device]=$((${sum[$device]-0} + need[$path]))
    place[$device]+="${place[$device]+ and }$path"
  done
  for device in "${!sum[@]}"; do
    path=${place[$device]%% *}
    [[ -e $path ]] || path=/
    free=$(df --block-size=1M --output=avail "$path" | tail -n 1)
    ((free >= sum[$device])) || refuse "${place[$device]} has $((free)) MB of free disk, ${sum[$device]} MB are needed" "make room there, or attach a larger disk"
  done
}
device_of() { stat --dereference --format %d "$1" 2>/dev/null || stat --format %d /; }

check_ports() {
  local port inode holder
  for port in "${PORTS[@]}"; do
    for inode in $(listeners "$port"); do
      holder=$(holder_of "$inode" "$port")
      [[ -z $holder ]] || refuse "port $port is taken by $holder" "$(remedy_for "$holder")"
    done
  done
}

# The inodes of the sockets that keep us from listening on a port of 127.0.0.1: the same address, or every address.
listeners() {
  local hex
  hex=$(printf ':%04X' "$1")
  # Who listens on every address of IPv6 mostly has IPv4's, too. ss tells where not, by its brackets.
  if has ss && ! ss --no-header --listening --tcp --numeric "sport = :$1" | awk '{ print $4 }' | grep --quiet -v '^\[::1\{0,1\}\]:'; then return 0; fi
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$hex" '
    $4 == "0A" && $2 ~ port "$" {
      address = substr($2, 1, index($2, ":") - 1)
      if (address ~ /^0+$/ || address == "0100007F" || address == "0000000000000000FFFF00000100007F") print $10
    }' | sort -u
}

# Who holds the socket, unless it is a unit of ours: a process, or the socket unit when systemd does.
holder_of() {
  local inode=$1 port=$2 pid others=()
  for pid in $(find /proc/[0-9]*/fd -lname "socket:\[$inode\]" 2>/dev/null | cut -d/ -f3 | sort -nu); do
    if [[ $pid == 1 ]]; then
      local unit
      unit=$(systemctl list-sockets --full --no-legend | awk -v port=":$port" '$1 ~ port "$" || $1 == substr(port, 2) { print $2; exit }')
      [[ -z $unit ]] || ! is_known "$unit" || return 0
      echo "the systemd unit ${unit:-of a socket}" && return
    fi
    ! grep -q -E '/metrics-(service|alloy|alloy-ui|prometheus|grafana)\.service' "/proc/$pid/cgroup" || return 0
    others+=("$(cat "/proc/$pid/comm") (process $pid)")
  done
  echo "${others[0]-a process of another container}"
}

remedy_for() {
  case $1 in
  'the systemd unit '*) echo "free it: systemctl disable --now ${1##* }" ;;
  *) echo "stop that program, or give it another port; systemctl status PID tells its unit" ;;
  esac
}

# Whether a release says that the unit is ours.
is_known() { compgen -G "$RELEASES/*/systemd/$1" >/dev/null; }

# What is where ours should be. Links to folders are a person's choice.
check_places() {
  local unit path
  for unit in "${UNITS[@]}"; do
    for path in {$UNIT_DIR,/run/systemd/system,/usr/local/lib/systemd/system,/usr/lib/systemd/system,/lib/systemd/system}/"$unit"; do
      if is_there "$path" && ! { [[ $path == "$UNIT_DIR"/* ]] && is_known "$unit"; }; then
        refuse "$path is there and is not ours" "rename that unit, or remove it"
        break
      fi
    done
  done
  for path in "${COMPONENTS[@]/#/$OPT/}" "$OPT"/{current,open}; do
    [[ -L $path || ! -e $path ]] || refuse "$path is not a symlink of ours" "rename it"
  done
  while read -r path; do
    ! is_there "$path" || [[ -d $path ]] || refuse "$path is not a folder" "rename it"
  done < <(printf '%s\n' /opt "$OPT" "$TREES" "$RELEASES" "$VAR" "$STATE" "$LOGS" "$CACHE" "$ETC" && find "$ROOT/etc" -mindepth 1 -type d -printf "$ETC/%P\n")
}

# What an older version can't read any more is not given to it, and what listens elsewhere would be waited for in vain.
check_data() {
  local component ran command
  for component in "${ARCHIVED[@]}"; do
    ran=$(readlink "$OPT/$component" || readlink "$RELEASES"/*/"$component" | sort --version-sort | tail -n 1) || continue
    ran=${ran##*/"$component"-} ran=${ran%-*}
    [[ -n $ALLOW_DOWNGRADE ]] || at_least "$(pin "$component" version)" "$ran" ||
      refuse "$component $ran has run on the data here, and $(pin "$component" version) is older: it may not be able to read it" \
        "install a release that has $component $ran or newer, or take the risk with --allow-downgrade"
  done
  for component in prometheus:9090 alloy:12345; do
    command=$(systemctl show --property ExecStart --value "metrics-${component%:*}.service" 2>/dev/null) || :
    [[ $command != *listen-addr* || $command == *listen-addr*:"${component#*:} "* ]] ||
      refuse "metrics-${component%:*}.service listens on another port than ${component#*:}, by an edit or a drop-in" "set it back: the stack finds its parts by their ports"
  done
  if in_role grafana && [[ -e $ETC/grafana/grafana.ini ]] && ! grep --quiet -E '^http_port *= *3001 *$' "$ETC/grafana/grafana.ini"; then
    refuse "$ETC/grafana/grafana.ini names another port than 3001" "set http_port = 3001 there; for another address, put a proxy in front"
  fi
}
