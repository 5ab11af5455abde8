# The programs that the install itself needs, from the distribution's packages where they are missing.
# shellcheck shell=bash

tools() {
  local packages=() package
  [[ -n $DRY_RUN ]] || remember_made
  has curl || packages+=(curl)
  # Both the archives and the crates that the service is built from come over HTTPS.
  [[ -n $FROM && -n $SERVICE_BINARY ]] || [[ -e /etc/ssl/certs/ca-certificates.crt || -e /etc/pki/tls/cert.pem ]] || packages+=(ca-certificates)
  has unzip || has python3 || ! is_missing alloy || packages+=(unzip)
  if [[ -z $SERVICE_BINARY ]] && ! find_rust; then
    # To look for it would fetch the lists of packages.
    if [[ -n $DRY_RUN ]]; then package="a Rust of $(needed_rust) or newer"; else package=$(package_with_rust); fi
    [[ -n $package ]] || no_rust
    packages+=("$package")
  fi
  if [[ -z $SERVICE_BINARY ]] && ! has cc; then
    packages+=(gcc)
    # Debian's compiler only recommends what linking needs.
    ! has apt-get || packages+=(libc6-dev)
  fi
  ((${#packages[@]} == 0)) || install_packages "${packages[@]}"
  [[ -n $SERVICE_BINARY || -n $DRY_RUN ]] || find_rust || no_rust
}

install_packages() {
  say "    from the distribution: $*"
  [[ -z $DRY_RUN ]] || return 0
  if has apt-get; then
    # What is there may be in use: a package that is in the way is named, and stays.
    apt_get install --no-install-recommends --no-remove "$@"
  elif has dnf; then
    dnf --quiet --assumeyes install "$@" >&2
  else
    false
  fi || die "these could not be installed: $*" \
    "install them by hand (the lines above say why it failed), or use --from and --service-binary on a host without network"
  PACKAGES+=("$@")
  printf '%s\n' "$@" >>"$STATE/packages"
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

home_of_builder() { getent passwd "$(builder)" | cut -d: -f6; }

# Runs a command as the builder, with the Rust that find_rust has found.
as_builder() {
  local user run
  user=$(builder)
  run=(env -i LC_ALL=C HOME="$(home_of_builder)" PATH="${RUST:+$RUST:}$PATH" ${http_proxy:+http_proxy="$http_proxy"}
    ${https_proxy:+https_proxy="$https_proxy"} ${no_proxy:+no_proxy="$no_proxy"} "$@")
  if [[ $user == "$(id -un)" ]]; then "${run[@]}"; else runuser -u "$user" -- "${run[@]}"; fi
}

# find_rust: leaves in RUST the first folder whose cargo is new enough: rustup's, the host's own, or the newest of those that
# Ubuntu keeps beside each other (package cargo-1.85: /usr/lib/rust-1.85/bin).
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

# The distribution's package with a cargo that is new enough, or nothing: plain `cargo`, else the newest.
package_with_rust() {
  local version name package=''
  while read -r version name; do
    at_least "$version" "$(needed_rust)" || continue
    package=$name
    [[ $name != cargo ]] || break
  done < <(packaged_rust | sort --version-sort)
  echo "$package"
}

# Version and name of each package that has cargo. Besides `cargo` Debian has cargo-web and Ubuntu cargo-1.85 and others;
# what tells them from cargo-c and the like is that they are built from Rust's own source.
packaged_rust() {
  if has apt-get; then
    apt_get check >/dev/null || :
    apt-cache search --names-only '^cargo(-[a-z0-9.]+)?$' | cut -d' ' -f1 | xargs --no-run-if-empty apt-cache show --no-all-versions |
      awk '
        function offer() { if (source ~ /^(rustc|cargo|rust-defaults)/ && name !~ /-doc$/) print version, name }
        /^Package: / { offer(); name = source = $2 }
        /^Source: / { source = $2 }
        /^Version: / { version = $2; sub(/^[0-9]+:/, "", version) }
        END { offer() }'
  elif has dnf; then
    dnf --quiet repoquery --latest-limit=1 --queryformat '%{version} %{name}\n' cargo 2>/dev/null
  fi
}

no_rust() {
  die "the service needs Rust $(needed_rust), and neither this host nor its distribution's packages have it" \
    "install Rust for $(builder) from https://rustup.rs and run this again, or bring a binary that was built elsewhere: --service-binary FILE"
}
