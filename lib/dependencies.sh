# The programs that the install itself needs, from the distribution's packages where they are missing.

dependencies() {
  local packages=() package
  has curl || packages+=(curl)
  # Both the archives and the crates that the service is built from come over HTTPS.
  [[ -n $FROM && -n $SERVICE_BINARY ]] || [[ -e /etc/ssl/certs/ca-certificates.crt || -e /etc/pki/tls/cert.pem ]] || packages+=(ca-certificates)
  has unzip || has python3 || ! is_missing alloy || packages+=(unzip)
  if [[ -z $SERVICE_BINARY ]]; then
    if ! find_rust; then
      # For --dry-run no lists of packages are fetched.
      [[ -n $DRY_RUN ]] || ! has apt-get || apt_get check || :
      package=$(package_with_rust)
      [[ -n $package$DRY_RUN ]] || no_rust
      packages+=("${package:-cargo}")
    fi
    # Debian's compiler only recommends what linking needs.
    has cc || if has apt-get; then packages+=(gcc libc6-dev); else packages+=(gcc); fi
  fi
  ((${#packages[@]} > 0)) || return 0
  say "    from the distribution: ${packages[*]}"
  [[ -z $DRY_RUN ]] || return 0
  install_packages "${packages[@]}"
  [[ -n $SERVICE_BINARY ]] || find_rust || no_rust
}

install_packages() {
  if has apt-get; then
    # What is there may be in use: a package that is in the way is named, and stays.
    apt_get install --no-install-recommends --no-remove "$@"
  elif has dnf; then
    dnf --quiet --assumeyes install "$@" >&2
  else
    false
  fi || die "these could not be installed: $*" \
    "install them by hand (the lines above say why it failed), or use --from and --service-binary on a host without network"
  mkdir -p "$STATE"
  printf '%s\n' "$@" >>"$STATE/packages"
}

# Waits for busy locks as long as an unattended upgrade may take, and asks nothing.
apt_get() {
  local options=(-o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 --quiet=2 --assume-yes) tries=60
  if [[ -z ${APT_UPDATED-} ]]; then
    # The lists have a lock of their own, which the timeout of older releases does not cover.
    until apt-get "${options[@]}" -o APT::Update::Error-Mode=any update >&2 || ((--tries == 0)) ||
      [[ -z $(find /proc/[0-9]*/fd -lname /var/lib/apt/lists/lock 2>/dev/null) ]]; do sleep 5; done
    APT_UPDATED=1
  fi
  # Without descriptor 9: a daemon that a package starts would hold our lock.
  DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get "${options[@]}" "$@" >&2 9<&-
}

needed_rust() { sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$ROOT/Cargo.toml"; }

# Who builds here by hand, too: the checkout's owner.
builder() { id --user --name "$(stat --format %u "$ROOT")" 2>/dev/null || id --user --name; }
home_of_builder() { getent passwd "$(builder)" | cut -d: -f6; }

# Runs a command as the builder, with the Rust that find_rust has found.
as_builder() {
  local user run
  user=$(builder)
  run=(env HOME="$(home_of_builder)" PATH="${RUST:+$RUST:}$PATH" "$@")
  if [[ $user == "$(id -un)" ]]; then "${run[@]}"; else runuser -u "$user" -- "${run[@]}"; fi
}

# find_rust: leaves in RUST the first folder whose cargo is new enough: rustup's, the host's own, or Ubuntu's /usr/lib/rust-1.85/bin.
RUST=''
find_rust() {
  local version
  while read -r RUST; do
    version=$(as_builder "$RUST/cargo" --version </dev/null 2>/dev/null | cut -d' ' -f2) || continue
    ! at_least "$version" "$(needed_rust)" || return 0
  done < <(printf '%s\n' "$(home_of_builder)/.cargo/bin" "${PATH//:/$'\n'}" && printf '%s\n' /usr/lib/rust-*/bin | sort --version-sort --reverse)
  RUST=''
  return 1
}

# The oldest that is new enough is the distribution's usual one.
package_with_rust() {
  local version name
  while read -r version name; do
    ! at_least "$version" "$(needed_rust)" || { echo "$name" && return; }
  done < <(packaged_rust | sort --version-sort)
}

# Version and name of each package with cargo, as Debian's cargo-web or Ubuntu's cargo-1.85; their compilers' names end alike.
packaged_rust() {
  if has apt-get; then
    apt-cache search --names-only '^rustc(-[a-z0-9.]+)?$' | cut -d' ' -f1 | xargs --no-run-if-empty apt-cache show --no-all-versions |
      awk '/^Package: / { name = $2; sub(/^rustc/, "cargo", name) } /^Version: / { sub(/^[0-9]+:/, "", $2); sub(/-[^-]*$/, "", $2); print $2, name }'
  elif has dnf; then
    dnf --quiet repoquery --latest-limit=1 --queryformat '%{version} %{name}\n' cargo 2>/dev/null
  fi
}

no_rust() {
  die "the service needs Rust $(needed_rust), and neither this host nor its distribution's packages have it" \
    "install Rust for $(builder) from https://rustup.rs and run this again, or bring a binary that was built elsewhere: --service-binary FILE"
}
