#!/bin/bash
# Verifies metrics-stack on this host: units, endpoints, that requests to the service reach
# Prometheus, and that Grafana can query it. Needs no root, changes nothing.
#
#   ./verify.sh [OPTION...]
#
#   --quick               units and endpoints only
#   --grafana-login FILE  a file with user:password of a Grafana administrator (default:
#                         admin:admin, or as root the password that install.sh stored)
#   --notify-test         send a test message, and check that it is delivered
#   --report FILE         write a bug report to FILE; run as root to include the journal
#   --help                print this
#
# Exit status: 0 if all checks pass or the report is written, 1 if not, 2 on usage errors.

set -euo pipefail
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ROOT=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=lib/common.sh
for file in "$ROOT"/lib/*.sh; do . "$file"; done

main() {
  local report='' quick='' login=admin:admin login_file=''
  while (($#)); do
    case $1 in
    --quick) quick=1 ;;
    --notify-test) NOTIFY_TEST=1 ;;
    --grafana-login)
      need_path -r file "$@"
      login_file=$2
      IFS= read -r login < <(text_of "$2") || :
      [[ $login == *:* && $login != [$'\xFE\xFF']* ]] ||
        usage_error "$1: the first line of $2 is not user:password in UTF-8"
      shift
      ;;
    --report)
      need_value "$@"
      { : >"$2"; } 2>/dev/null || usage_error "$1: cannot write to $2"
      report=$(realpath --no-symlinks "$2")
      shift
      ;;
    --help) manual && exit ;;
    *) usage_error "unknown option $1" ;;
    esac
    shift
  done
  cd / # The caller's directory might have been deleted.
  has curl || die "curl is not installed" "install the package curl"
  load_settings
  apply_role
  [[ -z $NOTIFY_TEST ]] || role_has alertmanager ||
    die "notifications are not configured" "run: sudo $SCRIPTS/install.sh --notify FILE"
  if [[ -z $login_file && -r ${SETTINGS["admin-password"]-} ]]; then
    login=admin:$(<"${SETTINGS["admin-password"]}")
  fi
  if [[ -n $report ]]; then
    report "$report" "$quick" "$login" "$login_file"
  else
    verify_all "$quick" "$login" "$login_file"
  fi
}

main "$@"
