# Installs the programs that the install needs, from the distribution's packages.

dependencies() {
  local packages=()
  if ! has curl; then packages+=(curl); fi
  # Archives and Rust crates are downloaded over HTTPS.
  if [[ (-z $FROM || -z $SERVICE_BINARY) && ! -e /etc/ssl/certs/ca-certificates.crt &&
    ! -e /etc/pki/tls/cert.pem ]]; then packages+=(ca-certificates); fi
  if is_missing alloy && ! has unzip && ! has python3; then packages+=(unzip); fi
  if [[ -z $SERVICE_BINARY ]]; then
    if ! has_rust; then packages+=("$(cargo_package)"); fi
    if ! has cc; then packages+=(gcc); fi
    # Debian's compiler only recommends what linking needs.
    if ! has cc && has apt-get; then packages+=(libc6-dev); fi
  fi
  if ((${#packages[@]} > 0)); then
    say "    ${DRY_RUN:+would install }from the distribution: ${packages[*]}"
    if [[ -n $DRY_RUN ]]; then return; fi
    install_packages "${packages[@]}"
  fi
  [[ -n $SERVICE_BINARY ]] || has_rust ||
    die "Rust $(cargo_toml rust-version) or newer is required" \
      "install it for $(builder) from https://rustup.rs, or use a release archive"
}

install_packages() {
  if has apt-get; then
    # Installed packages stay, even if they conflict.
    apt_get install --no-install-recommends --no-remove "$@"
  elif has dnf; then
    dnf --quiet --assumeyes install "$@" >&2
  else
    false
  fi || die "these packages could not be installed: $*" \
    "install them by hand, or use --from and --service-binary"
  mkdir -p "$STATE"
  printf '%s\n' "$@" >>"$STATE/packages"
}

# Waits for an unattended upgrade. The lists have a lock of their own, which apt does not wait for.
apt_get() {
  local options=(-o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 --quiet=2 --assume-yes)
  # Without a terminal of its own, dpkg prints no percentages.
  options+=(-o Dpkg::Use-Pty=0)
  local output tries=60
  until output=$(apt-get "${options[@]}" -o APT::Update::Error-Mode=any update 2>&1) ||
    [[ $output != *" lock "* ]] || ((--tries == 0)); do
    sleep 5
  done
  if [[ -n $output ]]; then printf '%s\n' "$output" >&2; fi
  # A daemon of a package must not inherit the lock.
  DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get "${options[@]}" "$@" >&2 9<&-
}

# has_rust: tries rustup's cargo, then the distribution's; leaves rustup's directory in RUST.
has_rust() {
  local version
  for RUST in .cargo/bin ''; do
    version=$(as_builder cargo --version </dev/null 2>/dev/null | cut -d' ' -f2) || continue
    if at_least "${version:-0}" "$(cargo_toml rust-version)"; then return; fi
  done
  return 1
}
# Debian 12 has a newer Rust in a second package.
cargo_package() { grep -q =bookworm /etc/os-release && echo cargo-web || echo cargo; }

# The owner of the checkout builds, so no file in it becomes root's.
builder() { id --user --name "$(stat --format %u "$ROOT")" 2>/dev/null || id --user --name; }

# as_builder COMMAND...: runs it as the builder, who might have Rust from rustup.
as_builder() {
  local user home
  user=$(builder)
  home=$(getent passwd "$user" | cut -d: -f6)
  runuser -u "$user" -- env HOME="$home" PATH="${RUST:+$home/$RUST:}$PATH" "$@"
}
