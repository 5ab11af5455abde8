# A sandbox for everything that a run starts and mounts. The kernel removes its mount and PID
# namespaces with their first process, so a run leaves nothing behind, however it ends.
# shellcheck shell=bash

# in_sandbox COMMAND...: runs it with WORK, a directory for the run, and CGROUP, the name of the
# run's control groups.
in_sandbox() {
  mkdir -p "$CACHE"
  # Remove directories that runs ended by SIGKILL have left: their locks are free.
  for WORK in "$CACHE"/run.*; do
    if [[ -d $WORK ]] && flock --nonblock "$WORK" true; then
      name_control_groups && remove_control_groups && rm -rf "$WORK"
    fi
  done
  WORK=$(mktemp -d "$CACHE/run.XXXXXX")
  exec 7<"$WORK"
  flock 7
  name_control_groups
  export WORK CGROUP
  trap leave_sandbox EXIT
  trap 'exit 130' INT TERM HUP
  setpriv --pdeathsig KILL \
    unshare --mount --propagation private --pid --fork --kill-child --mount-proc "$@" &
  SANDBOX=$!
  wait "$SANDBOX"
}

leave_sandbox() {
  trap '' INT TERM HUP
  if [[ -n ${SANDBOX-} ]]; then
    kill -KILL "$SANDBOX" 2>/dev/null || :
    wait "$SANDBOX" 2>/dev/null || :
  fi
  # The other processes of the sandbox end a moment after its first one.
  eventually 30 remove_control_groups
  rm -rf "$WORK"
}

name_control_groups() { CGROUP=metrics-stack-tests-${WORK##*.}; }

remove_control_groups() {
  local dir
  for dir in $(control_groups); do
    [[ ! -d $dir ]] || find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || return 1
  done
}

# control_groups: prints the directories of the run's control groups. That is one with version 2,
# below the root: other groups pass no controllers on while they contain processes. On a host that
# mixes versions, it is one for each hierarchy that the tests need.
control_groups() {
  local id controllers path
  while IFS=: read -r id controllers path; do
    path=${path%/}/$CGROUP
    case $id:$controllers in
    0:)
      if [[ -e /sys/fs/cgroup/cgroup.procs ]]; then
        echo "/sys/fs/cgroup/$CGROUP"
      else
        echo "/sys/fs/cgroup/unified$path"
      fi
      ;;
    *:name=systemd | *:memory | *:pids)
      controllers=/sys/fs/cgroup/${controllers#name=}
      [[ ! -w $controllers ]] || echo "$controllers$path"
      ;;
    esac
  done </proc/self/cgroup
}

# enter_control_group NAME: one for each container, because containers in the same control group
# would manage each other's.
enter_control_group() {
  local dir
  for dir in $(control_groups); do
    mkdir -p "$dir/$1"
    # Version 2 on a host that has these controllers there; elsewhere it fails.
    echo "+memory +pids" 2>/dev/null >"$dir/cgroup.subtree_control" || :
    echo "$BASHPID" >"$dir/$1/cgroup.procs"
  done
}
