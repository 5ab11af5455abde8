#!/usr/bin/env bash
# Tries the stack without changing this machine: installs it from this checkout in a throwaway
# container on this machine's ports. Leaves nothing behind. Needs root, on Debian 12 or newer.
#
#   sudo tests/e2e/try.sh          until Ctrl-C
#   sudo tests/e2e/try.sh --help   print this
#
# It uses the archives in ARCHIVES=DIR (with its versions.conf, see install.sh --download), or
# downloads them. If neither is possible, it uses fakes of Alloy and Grafana.

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
  why=$(host_can_boot) || die "this host can't boot containers. $why"
  install_host_tools
  for port in "${PORTS[@]}"; do
    [[ -z $(ss --no-header --listening --tcp --numeric "sport = :$port") ]] ||
      die "port $port of this machine is in use; see: ss -ltnp 'sport = :$port'"
  done
  in_sandbox "$0" --in-sandbox
}

inside() {
  local status=0 end="The stack is running in a container, on this machine's ports:"
  say "preparing a container"
  fetch_upstream || say "They can't be downloaded: Alloy and Grafana are fakes, Prometheus is real."
  prepare trixie
  OWN_DISK=yes boot trixie --hostname=metrics-stack-trial
  in_container "$CHECKOUT/install.sh" --from "$ARCHIVE_DIR" \
    --versions "$ARCHIVE_DIR/versions.conf" --service-binary "$SERVICE" || status=$?
  # If a check of verify.sh failed, the stack stays up for troubleshooting, as on a host.
  in_container test -L /opt/metrics-stack/current || exit "$status"
  ((status == 0)) || end="Some checks failed, see above. The stack runs on this machine's ports:"
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

is_fake() { ! grep -q "^$1 .*fake" "$PACKED/versions.conf" || printf '   (a fake)'; }

# The archives that install.sh would install, cached for later runs.
fetch_upstream() {
  [[ -z ${ARCHIVES-} ]] || return 0
  local dir=$CACHE/upstream
  say "fetching upstream's archives"
  "$ROOT/install.sh" --download "$dir" || return 1
  cp "$ROOT/etc/versions.conf" "$dir/"
  ARCHIVES=$dir
}

if [[ ${1-} == --in-sandbox ]]; then inside; else main "$@"; fi
