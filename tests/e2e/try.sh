#!/usr/bin/env bash
# A look at the stack without touching this machine: installs it from this checkout in a throwaway container whose ports are
# this machine's, and leaves nothing behind. Needs root, on Debian 12 or newer.
#
#   sudo tests/e2e/try.sh          until Ctrl-C
#   sudo tests/e2e/try.sh --help   print this
#
# It takes upstream's archives from ARCHIVES=DIR (with its versions.conf, see install.sh --download), or else from upstream where
# that can be reached. Where neither is possible, fakes take the place of Alloy and Grafana.

# shellcheck source-path=SCRIPTDIR
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/base.sh"
. "$E2E_DIR/lib/host.sh"
. "$E2E_DIR/lib/sandbox.sh"
. "$E2E_DIR/lib/images.sh"
. "$E2E_DIR/lib/archives.sh"
. "$E2E_DIR/lib/machine.sh"

main() {
  case ${1-} in
  '') ;;
  --help) manual && exit ;;
  *) manual >&2 && exit 2 ;;
  esac
  local why port
  why=$(host_can_boot) || die "no container can be booted here. $why"
  install_host_tools
  for port in "${PORTS[@]}"; do
    [[ -z $(ss --no-header --listening --tcp --numeric "sport = :$port") ]] || die "port $port of this machine is taken; see: ss -ltnp 'sport = :$port'"
  done
  in_sandbox "$0" --in-sandbox
}

inside() {
  local status=0 end="It runs, in a container on the ports of this machine:"
  say "preparing a container"
  fetch_upstream || say "They can't be had here: Alloy and Grafana are fakes, made for tests; Prometheus is the real one."
  prepare trixie
  OWN_DISK=yes boot trixie --hostname=metrics-stack-trial
  in_container "$CHECKOUT/install.sh" --from "$ARCHIVE_DIR" --versions "$ARCHIVE_DIR/versions.conf" --service-binary "$SERVICE" || status=$?
  # After a ✗ of verify.sh the stack stays up, as on a host, so that it can be looked at.
  in_container test -L /opt/metrics-stack/current || exit "$status"
  ((status == 0)) || end="It runs, but not all of it is proven: see the ✗ above. In a container on the ports of this machine:"
  cat <<END

$end
  service      http://127.0.0.1:8000/
  Alloy        http://127.0.0.1:3000/$(is_fake alloy)
  Prometheus   http://127.0.0.1:9090/
  Grafana      http://127.0.0.1:3001/   login admin, password admin$(is_fake grafana)

Ctrl-C ends it and leaves nothing behind.
END
  sleep infinity &
  wait
}

is_fake() { ! grep -q "^$1 .*fake" "$PACKED/versions.conf" || printf '   (a fake, not the real one)'; }

# The archives that install.sh would install, kept for the next time.
fetch_upstream() {
  [[ -z ${ARCHIVES-} ]] || return 0
  local folder=$CACHE/upstream
  say "fetching upstream's archives"
  "$ROOT/install.sh" --download "$folder" || return 1
  cp "$ROOT/etc/versions.conf" "$folder/"
  ARCHIVES=$folder
}

if [[ ${1-} == --in-sandbox ]]; then inside; else main "$@"; fi
