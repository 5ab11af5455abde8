#!/usr/bin/env bash
# Takes metrics-stack off this host: what the receipt lists, and nothing else. Data and edited configuration stay,
# and the receipt with them, so that a later install goes on from there.
#
#   sudo ./uninstall.sh [OPTION]
#
#   --purge  take data, configuration and receipt as well, and leave no trace
#   --help   print this
#
# Exit status: 0 when nothing of it is left but what the last lines name, 1 when not, 2 for a wrong call.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$ROOT/lib/common.sh"
. "$ROOT/lib/receipt.sh"
. "$ROOT/lib/undo.sh"
. "$ROOT/lib/remove.sh"

main() {
  local purge=''
  case ${1-} in
  '') ;;
  --purge) purge=1 ;;
  --help) manual && exit ;;
  *) usage_error "unknown option $1" ;;
  esac
  (($# < 2)) || usage_error "too many options"
  need_root "$@"
  lock
  if interrupted; then
    say "an install was cut off: taking back what it had changed"
    undo_all || :
  fi
  if [[ -z $purge && -z $(receipt_values unit) ]]; then
    say "metrics-stack is not installed"
    rm -rf "$CACHE"
    say_kept
    exit
  fi

  say "==> stop"
  stop_units
  say "==> remove"
  if [[ -n $purge ]]; then remove_all; else remove_listed; fi
  say_kept
}

main "$@"
