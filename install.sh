#!/usr/bin/env bash
# Installs metrics-stack on this host: the service, Grafana Alloy, Prometheus and Grafana as systemd units,
# and proves that requests to the service arrive as samples. Run it again to repair or to upgrade.
#
#   sudo ./install.sh [OPTION...]
#
#   --from DIR             take the archives from a folder, without network
#   --download DIR         only fetch the archives into a folder, for a host without network
#   --versions FILE        take the archives' versions, sums and addresses from FILE instead of etc/versions.conf
#   --service-binary FILE  take the service from FILE instead of building it here
#   --help                 print this
#   --version              print the version of metrics-stack
#
# Exit status: 0 when the stack runs and is verified, 1 when not, 2 for a wrong call.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$ROOT/lib/common.sh"
. "$ROOT/lib/receipt.sh"
. "$ROOT/lib/undo.sh"
. "$ROOT/lib/fetch.sh"
. "$ROOT/lib/preflight.sh"
. "$ROOT/lib/tools.sh"
. "$ROOT/lib/place.sh"
. "$ROOT/lib/start.sh"
. "$ROOT/lib/screen.sh"

# What the options say; lib/ reads them.
FROM='' DOWNLOAD='' SERVICE_BINARY='' VERSIONS=$ROOT/etc/versions.conf
BUILD='' STAGE='' STEP='' PACKAGES=() MADE_DIRS=()

options() {
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
    --help) manual && exit ;;
    --version) echo "metrics-stack $VERSION" && exit ;;
    *) usage_error "unknown option $1" ;;
    esac
    shift
  done
  [[ -z $FROM || -z $DOWNLOAD ]] || usage_error "--from and --download exclude each other"
}

main() {
  options "$@"
  if [[ -n $DOWNLOAD ]]; then
    download_only
    exit
  fi
  lock
  trap 'finish $?' EXIT
  trap 'exit 130' INT TERM HUP
  if interrupted; then
    say "an earlier run was cut off: taking back what it had changed"
    undo_all || warn "not every unit of the earlier version could be started again"
  fi
  run preflight
  remember_fingerprints
  run tools
  run fetch
  run place
  run start
  commit
  step verify
  # What is started on behalf of a wrong check alone is worth keeping: from here on nothing is taken back.
  if [[ -n $CHANGED ]]; then "$ROOT/verify.sh"; else "$ROOT/verify.sh" --quick; fi ||
    die "the stack runs, but not everything holds" "see the ✗ above, then run: $ROOT/verify.sh"
  say_end "$CHANGED"
}

run() {
  STEP=$1
  step "$1"
  "$1"
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

# Makes the changes final: the receipt says what is there, then the undo log goes, and with it the way back.
commit() {
  local tree
  CHANGED=''
  mkdir -p "$RUN"
  write_receipt >"$RECEIPT.new"
  if interrupted || ! cmp --silent "$RECEIPT.new" "$RECEIPT"; then
    CHANGED=1
    put_file "$RECEIPT.new" "$RECEIPT"
  fi
  rm -f "$UNDO"
  STEP=verify
  rm -rf "$RECEIPT.new" "$RUN"/before.* "$CACHE"
  # The versions that were live before, also those of a run that was cut off here.
  for tree in "$OPT"/*/; do
    tree=${tree%/}
    [[ -L $tree ]] || receipt_has tree "$tree" || rm -rf "$tree"
  done
}

write_receipt() {
  local component path unit
  printf 'version\t%s\n' "$VERSION"
  for component in "${COMPONENTS[@]}"; do
    printf 'tree\t%s\t%s\n' "$(live_tree "$component")" \
      "$(if [[ $component == metrics-service ]]; then sum_of "$BINARY"; else pin "$component" sum; fi)"
    printf 'link\t%s\n' "$OPT/$component"
  done
  while read -r path; do
    printf 'file\t%s\t%s\n' "$ETC/$path" "$(sum_of "$ROOT/etc/$path")"
    [[ ! -e $ETC/$path.new ]] || printf 'file\t%s\t%s\n' "$ETC/$path.new" "$(sum_of "$ETC/$path.new")"
  done < <(shipped)
  for unit in "${UNITS[@]}"; do printf 'unit\t%s\t%s\n' "$UNIT_DIR/$unit" "$(sum_of "$UNIT_DIR/$unit")"; done
  { receipt_values package && printf '%s\n' "${PACKAGES[@]}"; } | sort -u | sed -n 's/^./package\t&/p'
  { receipt_values dir && printf '%s\n' "${MADE_DIRS[@]}"; } | sort -u | sed -n 's/^./dir\t&/p'
}

# The end of every run, however it comes.
finish() {
  trap '' INT TERM HUP
  done_working
  [[ -z $BUILD ]] || kill -- "-$BUILD" 2>/dev/null || :
  [[ -z $STAGE ]] || rm -rf "$STAGE"
  if (($1 != 0)) && [[ $STEP != verify ]]; then take_back "$1" >&2; fi
  exit "$1"
}

# What is not committed goes, and what stays is named.
take_back() {
  (($1 == 130)) || [[ -n ${EXPLAINED-} ]] || problem "the step $STEP failed" "the lines above say why; if they do not, run: bash -x $0"
  if interrupted; then
    # A download that was cut is worth keeping for the next run.
    [[ $STEP == fetch ]] || rm -rf "$CACHE"
    if undo_all; then echo "everything is back as it was"; else echo "the files are back as they were, but not every unit could be started again: see ./verify.sh"; fi
  else
    echo "nothing has been changed"
  fi
  [[ ! -d $CACHE ]] || echo "kept: what has arrived in $CACHE, for the next run to go on from; uninstall.sh --purge takes it"
  ((${#PACKAGES[@]} == 0)) || echo "kept: the packages that were missing: ${PACKAGES[*]}"
}

main "$@"
