#!/usr/bin/env bash
# A machine as a provider hands it over, with network, and without curl, unzip or Rust. The clone is an ordinary user's.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$VM_DIR/lib/stack.sh"

gets_what_it_needs() {
  local start=$SECONDS tool
  for tool in curl unzip cargo cc; do equal "$tool" "$(vm sh -c "command -v $tool" || :)" ""; done
  vm useradd --create-home dev
  vm chown -R dev: "$CHECKOUT"
  # Cargo's settings of this host, e.g. a mirror, if it has any.
  ! cargo_config=$(cat "${CARGO_HOME:-$HOME/.cargo}/config.toml" 2>/dev/null) ||
    vm runuser -u dev -- sh -c 'mkdir -p ~/.cargo && cat >~/.cargo/config.toml' <<<"$cargo_config"
  keep install vm ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
    "$CHECKOUT/install.sh" --from "$ARCHIVE_DIR" --versions "$ARCHIVE_DIR/versions.conf"
  contains "$(tail -n 1 "$NOTES/install")" ", 0 ✗"
  measured "with packages and build in $((SECONDS - start)) s"
}

builds_as_the_clones_owner() {
  equal "what is not dev's in the clone" "$(vm find "$CHECKOUT" ! -user dev)" ""
  vm test -x "$CHECKOUT/target/release/metrics-service"
}

purge_leaves_packages() {
  keep purge uninstall --purge
  contains "$(<"$NOTES/purge")" "kept: the packages that the install needed: "
  contains "$(grep packages "$NOTES/purge")" cargo
  equal "what is left of us" "$(vm find / -xdev -name '*metrics-*' ! -path "$CHECKOUT*" ! -path "$SERVICE" ! -path '/home/dev/.cargo/*' ! -path '/proc/*')" ""
}

boot bare
give_network
test "install.sh gets what it needs and builds the service" gets_what_it_needs
test "it builds as the clone's owner" builds_as_the_clones_owner
test "every unit of the table" units_are_up
test "a purge leaves the packages, and says so" purge_leaves_packages
