# The programs that the install itself needs, from the distribution's packages where they are missing.
# shellcheck shell=bash

tools() {
  local packages=()
  has curl || packages+=(curl)
  # Both the archives and the crates that the service is built from come over HTTPS.
  [[ -n $FROM && -n $SERVICE_BINARY ]] || [[ -e /etc/ssl/certs/ca-certificates.crt || -e /etc/pki/tls/cert.pem ]] || packages+=(ca-certificates)
  has unzip || has python3 || ! is_missing alloy || packages+=(unzip)
  if [[ -z $SERVICE_BINARY ]] && ! rust_is_new_enough; then
    package_has_rust || no_rust
    packages+=(cargo)
  fi
  if [[ -z $SERVICE_BINARY ]] && ! has cc; then
    packages+=(gcc)
    # Debian's compiler only recommends what linking needs.
    ! has apt-get || packages+=(libc6-dev)
  fi
  ((${#packages[@]} == 0)) || install_packages "${packages[@]}"
  # A toolchain of the builder's own that is too old comes before the distribution's.
  [[ -n $SERVICE_BINARY ]] || rust_is_new_enough || no_rust
}

install_packages() {
  say "    from the distribution: $*"
  if has apt-get; then
    apt_get install --no-install-recommends "$@"
  elif has dnf; then
    dnf --quiet --assumeyes install "$@" >&2
  else
    false
  fi || die "these could not be installed: $*" \
    "install them by hand (the lines above say why it failed), or use --from and --service-binary on a host without network"
  PACKAGES+=("$@")
}

# Waits for a busy lock as long as an unattended upgrade may take, and asks nothing.
apt_get() {
  local options=(-o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 --quiet=2 --assume-yes)
  if [[ -z ${APT_UPDATED-} ]]; then
    # The lists have a lock of their own, which the timeout of older releases does not cover.
    local tries=60
    until apt-get "${options[@]}" -o APT::Update::Error-Mode=any update >&2 || ((--tries == 0)) || ! lists_are_locked; do sleep 5; done
    APT_UPDATED=1
  fi
  # Without descriptor 9: a daemon that a package starts would hold our lock.
  DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get "${options[@]}" "$@" >&2 9<&-
}

lists_are_locked() { [[ -n $(find /proc/[0-9]*/fd -lname /var/lib/apt/lists/lock 2>/dev/null) ]]; }

needed_rust() { sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$ROOT/Cargo.toml"; }

# The invoking user, if the checkout is theirs to write in, else its owner: who builds here by hand, too.
builder() {
  local owner
  owner=$(stat --format %U "$ROOT")
  if [[ -n ${SUDO_USER-} ]] && runuser -u "$SUDO_USER" -- test -w "$ROOT" 2>/dev/null; then
    echo "$SUDO_USER"
  elif id "$owner" >/dev/null 2>&1; then
    echo "$owner"
  else
    id -un
  fi
}

# Runs a command as the builder, with the Rust of rustup before the distribution's.
as_builder() {
  local user home
  user=$(builder)
  home=$(getent passwd "$user" | cut -d: -f6)
  local run=(env -i LC_ALL=C HOME="$home" PATH="$home/.cargo/bin:$PATH" ${http_proxy:+http_proxy="$http_proxy"}
    ${https_proxy:+https_proxy="$https_proxy"} "$@")
  if [[ $user == "$(id -un)" ]]; then "${run[@]}"; else runuser -u "$user" -- "${run[@]}"; fi
}

rust_is_new_enough() {
  local version
  version=$(as_builder cargo --version 2>/dev/null | cut -d' ' -f2) && at_least "${version:-0}" "$(needed_rust)"
}

package_has_rust() {
  local candidate
  if has apt-get; then
    apt_get check >/dev/null || :
    candidate=$(apt-cache policy cargo | sed -n 's/^ *Candidate: *\([0-9]*:\)\{0,1\}//p')
  elif has dnf; then
    candidate=$(dnf --quiet repoquery --latest-limit=1 --queryformat '%{version}' cargo 2>/dev/null)
  fi
  at_least "${candidate:-0}" "$(needed_rust)"
}

no_rust() {
  die "the service needs Rust $(needed_rust), and neither this host nor its distribution's packages have it" \
    "install Rust for $(builder) from https://rustup.rs and run this again, or bring a binary that was built elsewhere: --service-binary FILE"
}
