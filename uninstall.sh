#!/bin/bash
# Takes metrics-stack off this host: what its releases brought, and nothing else. Data and edited configuration stay, and a
# later install goes on from there.
#
#   sudo ./uninstall.sh [OPTION...]
#
#   --purge  take data, edited configuration and logs as well, and leave no trace; asks first where somebody can answer
#   --yes    do not ask
#   --help   print this
#
# Exit status: 0 when nothing of it is left but what the last lines name, 1 when not, 2 for a wrong call.

set -euo pipefail
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ROOT=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=lib/common.sh
for file in "$ROOT"/lib/*.sh; do . "$file"; done

main() {
  local purge='' yes='' option
  for option; do
    case $option in
    --purge) purge=1 ;;
    --yes) yes=1 ;;
    --help) manual && exit ;;
    *) usage_error "unknown option $option" ;;
    esac
  done
  cd /
  require_root "$@"
  [[ -z $purge || -n $yes || ! -t 0 ]] || ask
  lock
  remove_leftovers
  if [[ -n $purge ]]; then
    say "==> purge"
    purge
  elif [[ -L $OPT/current || -L $OPT/pending ]]; then
    start_log uninstall
    trap 'finish $?' EXIT
    trap 'exit 130' INT TERM HUP
    say "==> remove"
    activate "$EMPTY_RELEASE"
  else
    say "metrics-stack is not installed"
    remove_unused
  fi
  empty "$CACHE"
  print_kept
  remove_traces
  [[ -z $LEFT ]] || die "$LEFT" "see why it can't be deleted, then run: $(call_of --purge --yes)"
}

finish() {
  trap '' INT TERM HUP
  exec >&7 2>&1
  (($1 == 0)) || say "not all of it is done: run this again, or install.sh, and it goes on from here"
  finish_log "$1"
}

ask() {
  local answer
  read -r -p 'This deletes all samples, dashboards and settings of metrics-stack on this host. Type yes to go on: ' answer
  [[ $answer == yes ]] || die "nothing has been changed" "answer yes, or run: $(call_of --purge --yes)"
}

main "$@"
