#!/usr/bin/env bash
# Proves that metrics-stack works on this host: each unit, each endpoint, and that requests to the service arrive
# as samples in Prometheus and can be queried through Grafana. Needs no root, changes nothing.
#
#   ./verify.sh [OPTION...]
#
#   --quick               units and endpoints only
#   --grafana-login FILE  log in to Grafana with the line user:password of FILE instead of admin:admin
#   --help                print this
#
# Exit status: 0 when every row holds, 1 when not, 2 for a wrong call.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$ROOT/lib/common.sh"
. "$ROOT/lib/verify.sh"

main() {
  local quick='' login=admin:admin login_file=''
  while (($#)); do
    case $1 in
    --quick) quick=1 ;;
    --grafana-login)
      [[ -n ${2-} ]] || usage_error "$1 needs a file"
      [[ -r $2 ]] || usage_error "$1: $2 can't be read"
      login_file=$2
      IFS= read -r login <"$2" || [[ -n $login ]] || usage_error "$1: $2 is empty"
      [[ $login == *:* ]] || usage_error "$1: the line of $2 is not user:password"
      shift
      ;;
    --help) manual && exit ;;
    *) usage_error "unknown option $1" ;;
    esac
    shift
  done
  has curl || die "curl is not there" "install the package curl"

  verify_units
  verify_endpoints
  if [[ -z $quick ]]; then
    verify_alloy
    verify_samples
    verify_grafana "$login" "$login_file"
  fi
  echo "$PASSED ✓, $FAILED ✗"
  # Where everything is switched off, nothing is proved.
  ((FAILED == 0 && PASSED > 0))
}

main "$@"
