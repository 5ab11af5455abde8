#!/usr/bin/env bash
# A new VM with network, but without curl, unzip and Rust. An ordinary user owns the clone.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"
. "$E2E_DIR/lib/releases.sh"

# installs_dependencies CARGO-PACKAGE: on a terminal.
installs_dependencies() {
  local start=$SECONDS tool cargo_config proxy=()
  for tool in curl unzip cargo cc; do
    equal "$tool" "$(in_container sh -c "command -v $tool" || :)" ""
  done
  in_container useradd --create-home dev
  in_container chown -R dev: "$CHECKOUT"
  # This host's settings for cargo, such as a mirror.
  ! cargo_config=$(cat "${CARGO_HOME:-$HOME/.cargo}/config.toml" 2>/dev/null) ||
    in_container runuser -u dev -- \
      sh -c 'mkdir -p ~/.cargo && cat >~/.cargo/config.toml' <<<"$cargo_config"
  # The build must not use these settings.
  in_container mkdir /.cargo
  printf '[build]\ntarget = "thumbv6m-none-eabi"\ntarget-dir = "/nowhere"\n' |
    in_container tee /.cargo/config.toml
  [[ -z ${http_proxy-} ]] || proxy+=("http_proxy=$http_proxy")
  [[ -z ${https_proxy-} ]] || proxy+=("https_proxy=$https_proxy")
  keep screen in_container "${proxy[@]}" script --quiet --return /dev/null --command \
    "$CHECKOUT/install.sh --from $ARCHIVE_DIR --versions $ARCHIVE_DIR/versions.conf"
  # A terminal gets carriage returns.
  tr -d '\r' <"$SCRATCH/screen" >"$SCRATCH/install"
  prints_next_steps
  contains "$(<"$SCRATCH/install")" "from the distribution: curl ca-certificates unzip $1 "
  contains "$(<"$SCRATCH/install")" "building the service"
  contains "$(<"$SCRATCH/install")" "unpacking grafana"
  measured "with packages and build in $((SECONDS - start)) s, $(in_container cargo --version)"
}

builds_as_the_clones_owner() {
  equal "files of other users in the clone" "$(in_container find "$CHECKOUT" ! -user dev)" ""
  in_container sh -c "test -x $CHECKOUT/target/*/release/metrics-service"
}

# purge_leaves_packages CARGO-PACKAGE
purge_leaves_packages() {
  keep purge uninstall --purge
  contains "$(grep "kept: packages installed for it: " "$SCRATCH/purge")" "$1"
  equal "files of the stack" "$(in_container find / -xdev -name '*metrics-*' ! -path "$CHECKOUT*" \
    ! -path "$SERVICE" ! -path '/home/dev/.cargo/*' ! -path '/proc/*')" ""
}

# The program needs no libc of the host, and contains no path of the machine that built it.
archive_is_portable() {
  local archive program=$SCRATCH/program
  archive=$(release_archive) || return 1
  (cd "${archive%/*}" && sha256sum --check SHA256SUMS)
  tar --extract --to-stdout --file "$archive" --wildcards '*/bin/metrics-service' >"$program"
  chmod 0755 "$program"
  contains "$(ldd "$program" 2>&1 || :)" "statically linked"
  equal "paths" "$(grep -a -o -F -e "$WORK" -e "${CARGO_HOME:-$HOME/.cargo}" "$program" || :)" ""
  if [[ -n ${ALL-} ]]; then
    make_archive "$SCRATCH/other"
    cmp "$archive" "$SCRATCH/other/dist/${archive##*/}"
  fi
  touch "$WORK/clone/new"
  keep dirty "$WORK/clone/release.sh" && return 1
  contains "$(<"$SCRATCH/dirty")" "uncommitted changes"
}

archive_needs_no_compiler() {
  local start=$SECONDS
  unpack_archive
  keep install install_archive
  measured "with packages in $((SECONDS - start)) s"
  contains "$(<"$SCRATCH/install")" "from the distribution: curl unzip"
  contains "$(<"$SCRATCH/install")" ", 0 failed"
  lacks "$(<"$SCRATCH/install")" "building the service"
  equal "compilers" "$(in_container sh -c 'command -v cargo cc git' || :)" ""
  units_are_up
}

# fresh_machine NAME IMAGE CARGO-PACKAGE
fresh_machine() {
  boot "$2"
  give_network
  test "$1: install.sh installs dependencies and builds the service" installs_dependencies "$3"
  test "$1: the build runs as the owner of the clone" builds_as_the_clones_owner
  test "$1: every unit is active" units_are_up
  test "$1: a purge keeps installed packages and lists them" purge_leaves_packages "$3"
  power_off
}

# Its plain cargo is too old; a package of another name has a newer one.
fresh_machine "Debian 12" bare-bookworm cargo-web
[[ -z ${ALL-} ]] || fresh_machine "Debian 13" bare cargo

# archive_on NAME IMAGE
archive_on() {
  boot "$2"
  give_network
  test "$1: a release archive installs without a compiler" archive_needs_no_compiler
  power_off
}
test "release.sh makes a portable archive, and refuses a dirty tree" archive_is_portable
[[ -z ${ALL-} ]] || archive_on "Debian 12" bare-bookworm
archive_on "Debian 13" bare
