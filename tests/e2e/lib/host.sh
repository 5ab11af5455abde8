# What this host must be and have to boot containers.
# shellcheck shell=bash

# host_can_boot: prints why not.
host_can_boot() {
  [[ $EUID -eq 0 ]] || { echo "It needs root." && return 1; }
  grep -q -E '^ID=debian' /etc/os-release || { echo "It needs a Debian host." && return 1; }
  [[ -w /sys/fs/cgroup || -w /sys/fs/cgroup/unified ]] || { echo "The control groups of this host can't be written." && return 1; }
  unshare --mount --pid --fork --mount-proc true 2>/dev/null || { echo "This host allows no namespaces." && return 1; }
}

install_host_tools() {
  local packages=()
  need() { command -v "$1" >/dev/null || packages+=("${@:2}"); }
  need mmdebstrap mmdebstrap debian-archive-keyring
  need systemd-nspawn systemd-container
  # Debian 12's plain cargo is too old.
  if grep -q '^VERSION_CODENAME=bookworm' /etc/os-release; then need cargo cargo-web; else need cargo cargo; fi
  need cc gcc libc6-dev
  need zip zip
  need ss iproute2
  need curl curl
  need git git
  need slirp4netns slirp4netns
  need openssl openssl
  need python3 python3
  ((${#packages[@]} == 0)) || say "installing ${packages[*]}"
  ((${#packages[@]} == 0)) && [[ -n $(apt-get indextargets 'Created-By: Packages') ]] && return
  apt-get -qq update
  ((${#packages[@]} == 0)) || DEBIAN_FRONTEND=noninteractive apt-get -qq --yes --no-install-recommends install "${packages[@]}" >/dev/null
}
