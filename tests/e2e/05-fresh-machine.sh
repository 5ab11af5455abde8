#!/usr/bin/env bash
# Machines as a provider hands them over, with network, and without curl, unzip or Rust. The clone is an ordinary user's.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"

# gets_what_it_needs CARGO-PACKAGE: on a terminal, as a person sees it.
gets_what_it_needs() {
  local start=$SECONDS tool cargo_config
  for tool in curl unzip cargo cc; do equal "$tool" "$(in_container sh -c "command -v $tool" || :)" ""; done
  in_container useradd --create-home dev
  in_container chown -R dev: "$CHECKOUT"
  # Cargo's settings of this host, e.g. a mirror, if it has any.
  ! cargo_config=$(cat "${CARGO_HOME:-$HOME/.cargo}/config.toml" 2>/dev/null) ||
    in_container runuser -u dev -- sh -c 'mkdir -p ~/.cargo && cat >~/.cargo/config.toml' <<<"$cargo_config"
  # What this one asks for can't be built here.
  in_container sh -c 'mkdir /.cargo && printf "[build]\ntarget = \"thumbv6m-none-eabi\"\ntarget-dir = \"/nowhere\"\n" >/.cargo/config.toml'
  keep screen in_container ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
    script --quiet --return --command "$CHECKOUT/install.sh --from $ARCHIVE_DIR --versions $ARCHIVE_DIR/versions.conf" /dev/null
  # A terminal gets carriage returns.
  tr -d '\r' <"$SCRATCH/screen" >"$SCRATCH/install"
  says_how_to_go_on
  contains "$(<"$SCRATCH/install")" "from the distribution: curl ca-certificates unzip $1 "
  contains "$(<"$SCRATCH/install")" "building the service"
  contains "$(<"$SCRATCH/install")" "unpacking grafana"
  measured "with packages and build in $((SECONDS - start)) s, $(in_container cargo --version)"
}

builds_as_the_clones_owner() {
  equal "what is not dev's in the clone" "$(in_container find "$CHECKOUT" ! -user dev)" ""
  in_container sh -c "test -x $CHECKOUT/target/*/release/metrics-service"
}

# purge_leaves_packages CARGO-PACKAGE
purge_leaves_packages() {
  keep purge uninstall --purge
  contains "$(grep "kept: packages installed for it: " "$SCRATCH/purge")" "$1"
  equal "what is left of us" "$(in_container find / -xdev -name '*metrics-*' ! -path "$CHECKOUT*" ! -path "$SERVICE" ! -path '/home/dev/.cargo/*' ! -path '/proc/*')" ""
}

# fresh_machine NAME IMAGE CARGO-PACKAGE
fresh_machine() {
  boot "$2"
  give_network
  test "$1: install.sh gets what it needs and builds the service" gets_what_it_needs "$3"
  test "$1: it builds as the clone's owner" builds_as_the_clones_owner
  test "$1: every unit of the table" units_are_up
  test "$1: a purge leaves the packages, and says so" purge_leaves_packages "$3"
  power_off
}

fresh_machine "Debian 13" bare cargo
# Its plain cargo is of 2022, but it has a newer one under another name.
fresh_machine "Debian 12" bare-bookworm cargo-web
