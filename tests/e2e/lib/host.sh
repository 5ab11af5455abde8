# Requirements of this host for booting containers.
# shellcheck shell=bash

# host_can_boot: prints the reason if it can't.
host_can_boot() {
  [[ $EUID -eq 0 ]] || { echo "It needs root." && return 1; }
  grep -q -E '^ID=debian' /etc/os-release || { echo "It needs a Debian host." && return 1; }
  [[ -w /sys/fs/cgroup || -w /sys/fs/cgroup/unified ]] ||
    { echo "The control groups of this host are not writable." && return 1; }
  unshare --mount --pid --fork --mount-proc true 2>/dev/null ||
    { echo "This host does not allow namespaces." && return 1; }
}

install_host_tools() {
  local packages=() rust=cargo
  need() { command -v "$1" >/dev/null || packages+=("${@:2}"); }
  # Debian 12's plain cargo is too old.
  ! grep -q '^VERSION_CODENAME=bookworm' /etc/os-release || rust=cargo-web
  need mmdebstrap mmdebstrap debian-archive-keyring
  need systemd-nspawn systemd-container
  need cargo "$rust"
  need cc gcc libc6-dev
  need ss iproute2
  local tool
  for tool in zip curl git slirp4netns openssl python3; do need "$tool" "$tool"; done
  # For Debian's Python, whichever comes first in PATH.
  /usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null || packages+=(python3-aiosmtpd)
  if ((${#packages[@]} == 0)); then
    [[ -n $(apt-get indextargets 'Created-By: Packages') ]] || apt-get -qq update
    return
  fi
  say "installing ${packages[*]}"
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive \
    apt-get -qq --yes --no-install-recommends install "${packages[@]}" >/dev/null
}
