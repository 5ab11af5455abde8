#!/bin/bash
# Proves that metrics-stack works on this host: each unit, each endpoint, and that requests to the service arrive
# as samples in Prometheus and can be queried through Grafana. Needs no root, changes nothing.
#
#   ./verify.sh [OPTION...]
#
#   --quick               units and endpoints only
#   --grafana-login FILE  log in to Grafana with the line user:password of FILE instead of admin:admin
#   --report FILE         write all that a bug report needs into FILE, this table included; as root it has the journal, too
#   --help                print this
#
# Exit status: 0 when every row holds, or the report is written, 1 when not, 2 for a wrong call.

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
    --grafana-login)
      [[ -n ${2-} ]] || usage_error "$1 needs a file"
      [[ -r $2 ]] || usage_error "$1: $2 can't be read"
      login_file=$2
      IFS= read -r login < <(text_of "$2") || [[ -n $login ]] || usage_error "$1: $2 is empty"
      [[ $login == *:* && $login != [$'\xFE\xFF']* ]] || usage_error "$1: the line of $2 is not user:password, in UTF-8"
      shift
      ;;
    --report)
      [[ -n ${2-} ]] || usage_error "$1 needs a file"
      : >"$2" || usage_error "$1: $2 can't be written"
      report=$(realpath "$2")
      shift
      ;;
    --help) manual && exit ;;
    *) usage_error "unknown option $1" ;;
    esac
    shift
  done
  has curl || die "curl is not there" "install the package curl"

  load_settings
  apply_role
  if [[ -n $report ]]; then report "$report" "$quick" "$login" "$login_file"; else verify_all "$quick" "$login" "$login_file"; fi
}

main "$@"
