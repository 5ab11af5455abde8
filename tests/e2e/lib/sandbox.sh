# A sandbox for everything that a run starts and mounts: mount and PID namespaces that the kernel takes down with their first
# process, so nothing stays behind however a run ends.
# shellcheck shell=bash

# in_sandbox COMMAND...: runs it with WORK, a folder for the run, and CGROUP, a name for the run's control groups.
in_sandbox() {
  mkdir -p "$CACHE"
  # A run that was ended by kill -9 leaves its folder; nobody holds the lock on that any more.
  for WORK in "$CACHE"/run.*; do
    if [[ -d $WORK ]] && flock --nonblock "$WORK" true; then name_control_groups && remove_control_groups && rm -rf "$WORK"; fi
  done
  WORK=$(mktemp -d "$CACHE/run.XXXXXX")
  exec 7<"$WORK"
  flock 7
  name_control_groups
  export WORK CGROUP
  local scope=()
  # On a host with systemd, control groups of one's own belong into a scope that it delegates.
  [[ ! -d /run/systemd/system ]] || scope=(systemd-run --quiet --scope --collect --property=Delegate=yes)
  trap leave_sandbox EXIT
  trap 'exit 130' INT TERM HUP
  "${scope[@]}" setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child --mount-proc "$@" &
  SANDBOX=$!
  wait "$SANDBOX"
}

leave_sandbox() {
  trap '' INT TERM HUP
  if [[ -n ${SANDBOX-} ]]; then
    kill -KILL "$SANDBOX" 2>/dev/null || :
    wait "$SANDBOX" 2>/dev/null || :
  fi
  # What was in the sandbox ends a moment after its first process.
  eventually 30 remove_control_groups
  rm -rf "$WORK"
}

name_control_groups() { CGROUP=metrics-stack-tests-${WORK##*.}; }

remove_control_groups() {
  local folder
  for folder in $(control_groups); do
    [[ ! -d $folder ]] || find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || return 1
  done
}

# The folders of the run's control groups: in the one hierarchy of version 2, or in those that the tests need of a host that
# mixes versions.
control_groups() {
  local id controllers path
  while IFS=: read -r id controllers path; do
    path=${path%/}/$CGROUP
    case $id:$controllers in
    0:) if [[ -e /sys/fs/cgroup/cgroup.procs ]]; then echo "/sys/fs/cgroup$path"; else echo "/sys/fs/cgroup/unified$path"; fi ;;
    *:name=systemd | *:memory | *:pids) [[ ! -w /sys/fs/cgroup/${controllers#name=} ]] || echo "/sys/fs/cgroup/${controllers#name=}$path" ;;
    esac
  done </proc/self/cgroup
}

# enter_control_group NAME: containers that share one would take each other's for their own.
enter_control_group() {
  local folder
  for folder in $(control_groups); do
    mkdir -p "$folder/$1"
    echo "$BASHPID" >"$folder/$1/cgroup.procs"
  done
}
