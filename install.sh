#!/bin/bash
# Installs metrics-stack on this host: the service, Grafana Alloy, Prometheus and Grafana as
# systemd units, and verifies that they work together. Rerun it to repair or to upgrade.
#
#   sudo ./install.sh [OPTION...]
#
#   --from DIR                    read the archives from a directory, without network
#   --download DIR                only download the archives, for a host without network
#   --versions FILE               versions, checksums and URLs (default: etc/versions.conf)
#   --service-binary FILE         install this program as the service instead of building it; a
#                                 release archive brings its own in bin/
#   --grafana-password-file FILE  password of Grafana's user admin, in one line (default at the
#                                 first install: admin); later installs keep it
#   --forward-url URL             also send the samples to this remote-write endpoint
#   --forward-user NAME           user name there
#   --forward-password-file FILE  password there
#   --forward-token-file FILE     bearer token there, instead of user and password
#   --forward-ca FILE             CA certificate of the endpoint
#   --forward-tenant ID           value of the header X-Scope-OrgID
#   --forward-query-url URL       base of its query API, if it can't be derived
#   --no-forward                  stop forwarding
#   --role agent|full             agent: only the service and Alloy (default: full)
#   --notify FILE                 send the alerts as Alertmanager's configuration FILE says, and
#                                 verify it with a test message
#   --no-notify                   stop notifications
#   --allow-downgrade             allow replacing a component with an older version
#   --dry-run                     print the changes without making them
#   --help, --version             print this, or the version
#
# Exit status: 0 if the stack runs and is verified, 1 if not, 2 on usage errors.

# shellcheck disable=SC2034  # lib/ reads what is set here
set -euo pipefail
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ROOT=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=lib/common.sh
for file in "$ROOT"/lib/*.sh; do . "$file"; done

main() {
  parse_options "$@"
  # Programs that root runs must not pick up files from the caller's directory.
  cd /
  if [[ -n $DOWNLOAD ]]; then download_only; fi
  require_root "$@"
  lock
  merge_settings
  remove_leftovers
  PREVIOUS=$(readlink "$OPT/current") || :
  if [[ -z $DRY_RUN ]]; then start_log install; fi
  trap 'finish $?' EXIT
  trap 'exit 130' INT TERM HUP
  run preflight
  run dependencies
  if ((${#OPTIONS[@]} > 0)) && [[ -n ${SETTINGS["url"]-} ]]; then run forward; fi
  run fetch
  if [[ -n $PASSWORD_FILE ]]; then store_password; fi
  if [[ -n $NOTIFY ]]; then store_secret notify < <(text_of "$NOTIFY"); fi
  run release
  run activate "$NEW_RELEASE"
  if [[ -n $DRY_RUN ]]; then exit 0; fi
  empty "$CACHE"
  if [[ -n $PASSWORD_FILE ]]; then run password; fi
  run verify
  print_summary
}

run() {
  STEP=$1
  say "==> $1"
  "$@"
}

parse_options() {
  while (($#)); do
    case $1 in
    --no-forward) OPTIONS["none"]=1 ;;
    --no-notify) NO_NOTIFY=1 ;;
    --allow-downgrade) ALLOW_DOWNGRADE=1 ;;
    --dry-run) DRY_RUN=1 ;;
    --help) manual && exit ;;
    --version) echo "metrics-stack $VERSION" && exit ;;
    *)
      parse_value "$@"
      shift
      ;;
    esac
    shift
  done
  if [[ -z $SERVICE_BINARY && -f $ROOT/bin/metrics-service ]]; then
    SERVICE_BINARY=$ROOT/bin/metrics-service
  fi
  [[ -z $FROM || -z $DOWNLOAD ]] || usage_error "--from and --download exclude each other"
  [[ -z $NOTIFY || -z $NO_NOTIFY ]] || usage_error "--notify and --no-notify exclude each other"
  [[ -z $DRY_RUN || -z $DOWNLOAD ]] || usage_error "--dry-run and --download exclude each other"
  [[ ! $FROM -ef $CACHE ]] || usage_error "omit --from: archives in $CACHE are always used"
}

# parse_value OPTION [VALUE...]
parse_value() {
  local name=${1#--forward-}
  name=${name%-file}
  case $1 in
  --from) need_path -d directory "$@" && FROM=$(realpath "$2") ;;
  --download) need_value "$@" && DOWNLOAD=$(realpath --canonicalize-missing "$2") ;;
  --versions) need_path -f file "$@" && VERSIONS=$(realpath "$2") ;;
  --service-binary) need_path -f file "$@" && SERVICE_BINARY=$(realpath "$2") ;;
  --grafana-password-file) need_path -f file "$@" && PASSWORD_FILE=$(realpath "$2") ;;
  --role) need_value "$@" && OPTIONS["role"]=$2 ;;
  --notify) need_path -f file "$@" && NOTIFY=$(realpath "$2") ;;
  --forward-url | --forward-user | --forward-tenant | --forward-query-url)
    need_value "$@" && OPTIONS[$name]=$2
    ;;
  --forward-password-file | --forward-token-file | --forward-ca)
    need_path -f file "$@" && OPTIONS[$name]=$(realpath "$2")
    ;;
  *) usage_error "unknown option $1" ;;
  esac
}

download_only() {
  local component
  SETTINGS["role"]=${OPTIONS["role"]-}
  apply_role
  check_architecture
  check_pins
  has curl || fail_check "curl is not installed" "install the package curl"
  exit_on_problems
  for component in "${ARCHIVE_COMPONENTS[@]}"; do download "$component" "$DOWNLOAD"; done
  say "downloaded to $DOWNLOAD; copy it and this directory to the host, and run there:" \
    "sudo ./install.sh --from DIR (in a checkout, also --service-binary FILE)"
  exit
}

# A failed check causes no rollback (see finish), because the check itself might be wrong.
verify() {
  local quick=() test=()
  if [[ -z $CHANGED ]]; then quick=(--quick); fi
  # With --notify also if nothing changed: an earlier test message might have failed.
  if [[ -n $NOTIFY ]] ||
    { is_active metrics-alertmanager.service && [[ -n $(changes alertmanager) ]]; }; then
    test=(--notify-test)
  fi
  # Closes fd 9, the lock: verify.sh changes nothing.
  bash "$ROOT/verify.sh" "${quick[@]}" "${test[@]}" 9<&- ||
    die "the stack is running, but some checks failed" \
      "fix them, then run: $SCRIPTS/$(shell_words verify.sh "${test[@]}")"
}

# finish STATUS: runs at every exit, including after an interruption.
finish() {
  trap '' INT TERM HUP
  set +e
  restore_output
  remove_leftovers
  if (($1 != 0)) && [[ $STEP != @(password|verify) ]]; then
    roll_back "$1"
  elif (($1 == 130)); then
    say "the stack is running, but not verified; run this again, or: $SCRIPTS/verify.sh"
  fi
  remove_traces
  finish_log "$1"
  exit "$1"
}

# roll_back STATUS: activates the previous release again.
roll_back() {
  local hint
  if (($1 != 130)) && [[ -z $ERROR_SHOWN ]]; then
    hint="see the output above; to report a bug, attach the file written by:"
    error "step $STEP failed" "$hint sudo $SCRIPTS/verify.sh --report FILE"
  fi
  ROLLING_BACK=1
  if [[ -z $CHANGED ]]; then
    say "nothing has been changed"
    if [[ -L $OPT/pending ]]; then say "an interrupted run is completed by the next one"; fi
  elif [[ $(readlink "$OPT/current") != "$PREVIOUS" ]]; then
    say "the release is active; the next run finishes the cleanup"
  elif [[ ! -L $OPT/pending ]]; then
    say "this release was active before; there is nothing to roll back"
  else
    say "rolling back (Ctrl-C is ignored)"
    # Until an activation ends, `current` is the previous release. As a condition of `if`, the
    # subshell would not end at its first error.
    (
      set -e
      activate "$(readlink --canonicalize-existing "$OPT/current" || echo "$EMPTY_RELEASE")"
    )
    case $? in
    0) say "rollback complete" ;;
    *) error "the rollback failed too" "fix the errors above and run this again; it resumes" ;;
    esac
  fi
  discard_results
}

# discard_results: deletes the leftovers of a failed run, and prints which downloads and data stay.
discard_results() {
  (
    set -e
    # The next install must not use the settings of this one.
    if [[ -n $PUBLISHED && ! -L $OPT/current && ! -L $OPT/pending ]]; then
      discard "$NEW_RELEASE"
    fi
    remove_unused
  )
  # The copies in $CACHE.
  if [[ -n $FROM ]]; then rm -f "${ARCHIVE[@]}"; fi
  rmdir "$CACHE" 2>/dev/null
  if has_files "$CACHE"; then
    say "kept: downloads in $CACHE, to be resumed by the next run;" \
      "uninstall.sh --purge removes them"
  fi
  if [[ -d $VAR && ! -e $OPT/current ]]; then print_kept; fi
}

main "$@"
