# A container with systemd as PID 1, booted from an image through an overlay that is thrown away.
# shellcheck shell=bash

# boot IMAGE [NSPAWN-OPTION...]: without options, the container has only a loopback of its own.
boot() {
  NSPAWN=(--machine="vm-$1" "${@:2}")
  (($# > 1)) || NSPAWN+=(--private-network)
  make_disk "$1"
  power_on
}

# make_disk IMAGE: leaves in DISK the directory of a new disk, whose content is in DISK/root. With
# OWN_DISK=yes the disk is a copy, which takes some seconds and 200 MB: the host exporter leaves
# overlays out, so without a copy the host would have no disk in its metrics.
make_disk() {
  local lower options
  lower=$(image "$1")
  DISK=$(mktemp -d "$WORK/disk.XXXXXX")
  mkdir "$DISK"/{root,upper,work}
  options=lowerdir=$WORK/payload:$lower,upperdir=$DISK/upper,workdir=$DISK/work
  if [[ ${OWN_DISK-} == yes ]] ||
    ! mount -t overlay overlay -o "$options" "$DISK/root" 2>/dev/null; then
    cp -a "$lower/." "$WORK/payload/." "$DISK/root"
  fi
}

power_on() {
  (
    enter_control_group "${DISK##*/}"
    # systemd 257 and later need control groups of version 2, which a host that mixes versions
    # has as well.
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 exec systemd-nspawn --quiet --directory="$DISK/root" \
      --boot --register=no --keep-unit --link-journal=no --timezone=off "${NSPAWN[@]}"
  ) </dev/null >>"$DISK/console" 2>&1 &
  # In a file, because tests run in subshells and can boot the machine again.
  echo $! >"$DISK/nspawn"
  eventually 60 is_booted || { tail -n 40 "$DISK/console" && return 1; }
}

nspawn() { cat "$DISK/nspawn"; }
# The container's PID 1 is nspawn's only child.
leader() { tr -d ' ' <"/proc/$(nspawn)/task/$(nspawn)/children"; }
# nspawn's first child is still in the PID namespace of this host, whose systemd would answer.
is_booted() {
  [[ $(readlink "/proc/$(leader)/ns/pid") != "$(readlink /proc/self/ns/pid)" ]] || return 1
  [[ $(in_container systemctl is-system-running 2>/dev/null) =~ ^(running|degraded)$ ]]
}

# give_network: connects the container to this host's networks through a process of this host. The
# container's ports stay private.
give_network() {
  slirp4netns --configure --mtu=65520 --disable-host-loopback "$(leader)" tap0 \
    >>"$DISK/network" 2>&1 &
  in_container sh -c 'echo nameserver 10.0.2.3 >/etc/resolv.conf'
  eventually 30 has_network
}

has_network() { [[ -n $(on_network ip route show default) ]]; }

# in_container COMMAND...: runs it as root, without this host's environment. Signals have their
# default action: a background job of a script starts with SIGINT ignored, a process below nohup
# with SIGHUP ignored, and a shell can't trap a signal that was ignored when it started.
in_container() {
  nsenter --target "$(leader)" --mount --uts --ipc --net --pid --cgroup \
    env --default-signal --ignore-environment \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/root LC_ALL=C.UTF-8 TERM=dumb "$@"
}

# on_network COMMAND...: runs a program of this host in the container's network namespace.
on_network() { nsenter --target "$(leader)" --net "$@"; }

reboot() {
  in_container systemctl reboot
  # With --keep-unit, nspawn exits instead of booting again.
  eventually 60 is_gone "$(nspawn)"
  power_on
}

power_off() {
  is_gone "$(nspawn)" || kill -KILL "$(leader)"
  eventually 30 is_gone "$(nspawn)"
}

# run_without_systemd IMAGE COMMAND...: runs it as PID 1 of a new container.
run_without_systemd() (
  make_disk "$1"
  enter_control_group "${DISK##*/}"
  systemd-nspawn --quiet --directory="$DISK/root" --register=no --keep-unit --private-network \
    --pipe "${@:2}" </dev/null
)

is_gone() { [[ ! -e /proc/$1 ]] || grep -q -s '^State:.Z' "/proc/$1/status"; }
