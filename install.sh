#!/bin/bash
# Installs metrics-stack on this host: the service, Grafana Alloy, Prometheus and Grafana as systemd units,
# and proves that requests to the service arrive as samples. Run it again to repair or to upgrade.
#
#   sudo ./install.sh [OPTION...]
#
#   --from DIR             take the archives from a folder, without network
#   --download DIR         only fetch the archives into a folder, for a host without network
#   --versions FILE        take the archives' versions, sums and addresses from FILE instead of etc/versions.conf
#   --service-binary FILE  take the service from FILE instead of building it here
#   --forward-url URL      send the samples to a receiver of remote write as well, from now on; with
#     --forward-user NAME --forward-password-file FILE, or --forward-token-file FILE, to log in there
#     --forward-ca FILE         the certificate of who signed the receiver's, where the host does not trust them
#     --forward-tenant ID       for the header X-Scope-OrgID
#     --forward-query-url URL   the base of its query API, by which verify.sh proves arrival, where it can't be derived
#   --no-forward           no longer
#   --role agent|full      agent: the service and Alloy only, which forwards; full (the default): with Prometheus and Grafana
#   --allow-downgrade      let an older version of a server have the data of a newer one
#   --dry-run              print what would be done, and change nothing
#   --help                 print this
#   --version              print the version of metrics-stack
#
# Exit status: 0 when the stack runs and is verified, 1 when not, 2 for a wrong call.

set -euo pipefail
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ROOT=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
. "$ROOT/lib/common.sh"
. "$ROOT/lib/fetch.sh"
. "$ROOT/lib/forward.sh"
. "$ROOT/lib/preflight.sh"
. "$ROOT/lib/tools.sh"
. "$ROOT/lib/release.sh"
. "$ROOT/lib/plan.sh"
. "$ROOT/lib/activate.sh"
. "$ROOT/lib/units.sh"
. "$ROOT/lib/leave.sh"
. "$ROOT/lib/screen.sh"

# What the options say; lib/ reads them.
FROM='' DOWNLOAD='' SERVICE_BINARY='' VERSIONS=$ROOT/etc/versions.conf ALLOW_DOWNGRADE='' DRY_RUN=''
BUILD='' STEP='' PACKAGES=()

main() {
  options "$@"
  # Nothing that lies in the caller's folder is to be read by a program that root runs.
  cd /
  if [[ -n $DOWNLOAD ]]; then
    download_only
    exit
  fi
  need_root "$@"
  settle
  lock
  [[ -n $DRY_RUN ]] || keep_log install
  trap 'finish $?' EXIT
  trap 'exit 130' INT TERM HUP
  run preflight
  run tools
  ((${#GIVEN[@]} == 0)) || [[ -z ${FORWARD[url]-} ]] || run forward
  run fetch
  run release
  run activate "$NEW_RELEASE"
  [[ -z $DRY_RUN ]] || exit 0
  rm -rf "$CACHE"
  run verify
  say_end "$BEGUN"
}

run() {
  STEP=$1
  step "$1"
  "$@"
}

options() {
  local name
  while (($#)); do
    case $1 in
    --from | --download | --versions | --service-binary)
      [[ -n ${2-} ]] || usage_error "$1 needs a value"
      [[ -e $2 || $1 == --download ]] || usage_error "$1: $2 does not exist"
      case $1 in
      --from) [[ -d $2 ]] || usage_error "$1: $2 is not a folder" && FROM=$(realpath "$2") ;;
      --download) DOWNLOAD=$(realpath --canonicalize-missing "$2") ;;
      --versions) VERSIONS=$(realpath "$2") ;;
      --service-binary) SERVICE_BINARY=$(realpath "$2") ;;
      esac
      shift
      ;;
    --role | --forward-*)
      [[ -n ${2-} ]] || usage_error "$1 needs a value"
      name=${1#--} name=${name#forward-} name=${name%-file}
      case $1 in
      --role) [[ $2 == @(agent|full) ]] || usage_error "$1: it is agent or full" && GIVEN[role]=$2 ;;
      --forward-url | --forward-user | --forward-tenant | --forward-query-url) GIVEN[$name]=$2 ;;
      --forward-password-file | --forward-token-file | --forward-ca) [[ -f $2 ]] || usage_error "$1: $2 is no file" && GIVEN[$name]=$(realpath "$2") ;;
      *) usage_error "unknown option $1" ;;
      esac
      shift
      ;;
    --no-forward) GIVEN[none]=1 ;;
    --allow-downgrade) ALLOW_DOWNGRADE=1 ;;
    --dry-run) DRY_RUN=1 ;;
    --help) manual && exit ;;
    --version) echo "metrics-stack $VERSION" && exit ;;
    *) usage_error "unknown option $1" ;;
    esac
    shift
  done
  [[ -z $FROM || -z $DOWNLOAD ]] || usage_error "--from and --download exclude each other"
}

download_only() {
  local component problems=0
  refuse() { problem "$@" && problems=$((problems + 1)); }
  check_pins
  has curl || refuse "curl is not there" "install the package curl"
  ((problems == 0)) || exit 1
  for component in "${ARCHIVED[@]}"; do download "$component" "$DOWNLOAD"; done
  say "the archives are in $DOWNLOAD: bring that folder to the host and run there: sudo ./install.sh --from FOLDER --service-binary FILE"
}

# What is started is worth more than a check that is wrong: whatever this says, nothing is taken back.
verify() {
  # Without the lock: it changes nothing.
  if [[ -n $BEGUN ]]; then "$ROOT/verify.sh"; else "$ROOT/verify.sh" --quick; fi 9<&- ||
    die "the stack runs, but not everything holds" "see the ✗ above, then run: $ROOT/verify.sh"
}

# The end of every run, however it comes.
finish() {
  trap '' INT TERM HUP
  set +e
  to_log
  done_working
  [[ -z $BUILD ]] || kill -- "-$BUILD" 2>/dev/null
  if (($1 != 0)) && [[ $STEP != verify ]]; then go_back "$1" >&2; fi
  sweep
  close_log "$1"
  exit "$1"
}

# What has failed is left for what was active before. Errors on the way end it, hence the subshells and no condition.
go_back() {
  local status
  (($1 == 130)) || [[ -n ${EXPLAINED-} ]] || problem "the step $STEP failed" "the lines above say why; if they do not, run: bash -x $0"
  rm -f "$RESERVE"
  RETREAT=1
  if [[ ! -L $OPT/open ]]; then
    if [[ -n $BEGUN ]]; then echo "the release is active all the same"; else echo "nothing has been changed"; fi
  elif [[ -z $BEGUN ]]; then
    echo "nothing has been changed by this run; an earlier one was cut off, and is finished when this succeeds"
  else
    if [[ -e $OPT/current ]]; then
      echo "going back to the release that was active before"
      (set -e; activate "$(realpath "$OPT/current")")
    else
      echo "taking away what was placed"
      (set -e; activate "$NOTHING"; forget_fresh)
    fi
    status=$?
    if ((status == 0)); then
      echo "everything is back as it was"
    else
      problem "the way back failed, too" "mend what is said above and run this again: it goes on from here. Data and edited files are untouched"
    fi
  fi
  (set -e; collect)
  if [[ -n $FROM ]]; then rm -rf "$CACHE"; else rmdir "$CACHE" 2>/dev/null; fi
  [[ ! -d $CACHE ]] || echo "kept: what has arrived in $CACHE, for the next run to go on from; uninstall.sh --purge takes it"
  ((${#PACKAGES[@]} == 0)) || echo "kept: the packages that were missing: ${PACKAGES[*]}"
}

main "$@"
