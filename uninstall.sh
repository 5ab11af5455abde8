#!/bin/bash
# Removes metrics-stack from this host. Data and edited configuration stay, and a later install
# uses them.
#
#   sudo ./uninstall.sh [OPTION...]
#
#   --purge  also remove data, edited configuration and logs (asks first on a terminal)
#   --yes    do not ask
#   --help   print this
#
# Exit status: 0 if only the files in the last lines are left, 1 if not, 2 on usage errors.

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
  if [[ -n $purge && -z $yes && -t 0 ]]; then confirm; fi
  lock
  remove_leftovers
  if [[ -n $purge ]]; then
    say "==> purge"
    purge
  elif [[ -L $OPT/current || -L $OPT/pending ]]; then
    start_log uninstall
    trap 'finish_uninstall $?' EXIT
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
  [[ -z $LEFT ]] || die "could not delete $LEFT" "find out why, then run: $(call_of --purge --yes)"
}

finish_uninstall() {
  trap '' INT TERM HUP
  restore_output
  if (($1 != 0)); then say "uninstall incomplete: run this again"; fi
  finish_log "$1"
}

confirm() {
  local answer
  read -r -p 'Delete all samples, dashboards and settings of metrics-stack? Type yes: ' answer
  [[ $answer == yes ]] ||
    die "nothing has been changed" "answer yes, or run: $(call_of --purge --yes)"
}

main "$@"
