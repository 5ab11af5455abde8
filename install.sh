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

# shellcheck disable=SC2034  # lib/ reads what is set here
set -euo pipefail
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ROOT=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=lib/common.sh
for file in "$ROOT"/lib/*.sh; do . "$file"; done

# What the options say.
FROM='' DOWNLOAD='' SERVICE_BINARY='' VERSIONS=$ROOT/etc/versions.conf ALLOW_DOWNGRADE='' DRY_RUN=''
BUILD='' STEP='' PREVIOUS=''
# What they say of forwarding: keys of SETTINGS, with files for the credentials, and `none` to end it.
declare -A OPTIONS=()

main() {
  parse_options "$@"
  # Nothing that lies in the caller's folder is to be read by a program that root runs.
  cd /
  [[ -z $DOWNLOAD ]] || download_only
  require_root "$@"
  lock
  merge_settings
  remove_leftovers
  PREVIOUS=$(readlink "$OPT/current") || :
  [[ -n $DRY_RUN ]] || start_log install
  trap 'finish $?' EXIT
  trap 'exit 130' INT TERM HUP
  run preflight
  run dependencies
  ((${#OPTIONS[@]} == 0)) || [[ -z ${SETTINGS["url"]-} ]] || run forward
  run fetch
  run release
  run activate "$NEW_RELEASE"
  [[ -z $DRY_RUN ]] || exit 0
  empty "$CACHE"
  run verify
  print_summary "$CHANGED"
}

run() {
  STEP=$1
  say "==> $1"
  "$@"
}

parse_options() {
  local option
  while (($#)); do
    option=$1
    # Those with a value take it first.
    case $option in
    --from | --download | --versions | --service-binary | --role | --forward-*)
      [[ -n ${2-} ]] || usage_error "$1 needs a value"
      [[ $1 =~ ^--(download|role|forward-(url|user|tenant|query-url))$ || ($1 == --from && -d $2) || ($1 != --from && -f $2) ]] || usage_error "$1: $2 does not exist, or is of another kind"
      shift
      ;;&
    --from) FROM=$(realpath "$1") ;;
    --download) DOWNLOAD=$(realpath --canonicalize-missing "$1") ;;
    --versions) VERSIONS=$(realpath "$1") ;;
    --service-binary) SERVICE_BINARY=$(realpath "$1") ;;
    --role) OPTIONS["role"]=$1 ;;
    --forward-url | --forward-user | --forward-tenant | --forward-query-url) OPTIONS[${option#--forward-}]=$1 ;;
    --forward-password-file | --forward-token-file | --forward-ca) option=${option%-file} && OPTIONS[${option#--forward-}]=$(realpath "$1") ;;
    --no-forward) OPTIONS["none"]=1 ;;
    --allow-downgrade) ALLOW_DOWNGRADE=1 ;;
    --dry-run) DRY_RUN=1 ;;
    --help) manual && exit ;;
    --version) echo "metrics-stack $VERSION" && exit ;;
    *) usage_error "unknown option $option" ;;
    esac
    shift
  done
  [[ -z $FROM || -z $DOWNLOAD ]] || usage_error "--from and --download exclude each other"
  [[ $FROM != "$CACHE" ]] || usage_error "what lies in $CACHE is used without --from"
}

download_only() {
  local component problems=0
  check_pins
  has curl || fail_check "curl is not there" "install the package curl"
  ((problems == 0)) || exit 1
  for component in "${ARCHIVE_COMPONENTS[@]}"; do download "$component" "$DOWNLOAD"; done
  say "the archives are in $DOWNLOAD: bring that folder to the host and run there: sudo ./install.sh --from FOLDER --service-binary FILE"
  exit
}

# What is started is worth more than a check that is wrong: whatever this says, nothing is taken back.
verify() {
  # Without the lock: it changes nothing.
  if [[ -n $CHANGED ]]; then bash "$ROOT/verify.sh"; else bash "$ROOT/verify.sh" --quick; fi 9<&- ||
    die "the stack runs, but not everything holds" "see the ✗ above, then run: $SCRIPTS/verify.sh"
}

# The end of every run, however it comes.
finish() {
  trap '' INT TERM HUP
  set +e
  # The command that a signal has cut off may have had its output elsewhere.
  exec >&7 2>&1
  stop_progress
  remove_leftovers
  [[ -z $BUILD ]] || kill -- "-$BUILD" 2>/dev/null
  if (($1 != 0)) && [[ $STEP != verify ]]; then roll_back "$1"; fi
  remove_traces
  finish_log "$1"
  exit "$1"
}

# What has failed is left for what was active before. Errors on the way end it, hence the subshell and no condition.
roll_back() {
  (($1 == 130)) || [[ -n ${ERROR_SHOWN-} ]] || error "the step $STEP failed" "the lines above say why; if not to you, report it with what this writes: sudo $SCRIPTS/verify.sh --report FILE"
  ROLLING_BACK=1
  if [[ -z $CHANGED ]]; then
    echo "nothing has been changed"
    [[ ! -L $OPT/pending ]] || echo "an earlier run was cut off: it is finished when this succeeds"
  elif [[ ! -L $OPT/pending || $(readlink "$OPT/current") != "$PREVIOUS" ]]; then
    echo "the release is active all the same; what is left to do, the next run does"
  else
    echo "going back to what was active before (Ctrl-C does not end this)"
    (
      set -e
      activate "$(readlink --canonicalize-existing "$OPT/current" || echo "$EMPTY_RELEASE")"
    )
    case $? in
    0) echo "everything is back as it was" ;;
    *) error "the way back failed, too" "mend what is said above and run this again: it goes on from here. Data and edited files are untouched" ;;
    esac
  fi
  (
    set -e
    remove_unused
  )
  [[ -z $FROM ]] || rm -f "${ARCHIVE[@]}"
  rmdir "$CACHE" 2>/dev/null
  ! has_files "$CACHE" || echo "kept: what has arrived in $CACHE, for the next run to go on from; uninstall.sh --purge takes it"
  [[ ! -d $VAR || -e $OPT/current ]] || print_kept
}

main "$@"
