# Names, paths and helpers that install.sh, verify.sh and uninstall.sh share.

umask 022
# Drops the caller's environment except HOME, TERM, SUDO_USER and the proxy settings.
if [[ ${METRICS_STACK_ENV-} != clean ]]; then
  exec env -i METRICS_STACK_ENV=clean LC_ALL=C PATH="$PATH" HOME="${HOME:-/root}" \
    TERM="${TERM:-dumb}" SUDO_USER="${SUDO_USER-}" http_proxy="${http_proxy-${HTTP_PROXY-}}" \
    https_proxy="${https_proxy-${HTTPS_PROXY-}}" no_proxy="${no_proxy-${NO_PROXY-}}" \
    /bin/bash "$0" "$@"
fi

readonly OPT=/opt/metrics-stack ETC=/etc/metrics-stack VAR=/var/lib/metrics-stack
readonly CACHE=/var/cache/metrics-stack LOGS=/var/log/metrics-stack RUN=/run/metrics-stack
readonly UNIT_DIR=/etc/systemd/system RUN_UNIT_DIR=/run/systemd/system
readonly STORE=$OPT/store RELEASES=$OPT/releases LOGIN_MARK=/tmp/metrics-stack-login
# The installer's own files: credentials, deleted files, last versions, packages, SELinux booleans
readonly STATE=$VAR/install
# systemd's state directories of units with DynamicUser=
readonly PRIVATE=/var/lib/private
# The new service and the new release, before they are published
readonly SERVICE_NEW=$STORE/.service STAGED=$RUN/release

# A release archive has the service, a checkout builds it. The others are upstream archives.
readonly COMPONENTS=(alertmanager prometheus metrics-service alloy grafana)
# apply_role removes those that this host does not have, also from UNITS.
ARCHIVE_COMPONENTS=(alertmanager prometheus alloy grafana)

# Globals. Options of install.sh:
FROM='' DOWNLOAD=''              # directory to read archives from, or to download them to
VERSIONS=$ROOT/etc/versions.conf # file with versions, checksums and URLs of the archives
SERVICE_BINARY=''                # program to use as the service
ALLOW_DOWNGRADE='' DRY_RUN=''    # not empty if the option is given
declare -A OPTIONS=()            # of forwarding: keys of SETTINGS, credential files, `none`
PASSWORD_FILE=''                 # file with Grafana's password of admin
NOTIFY='' NO_NOTIFY=''           # file with Alertmanager's configuration; not empty to remove it
# Progress of a run:
STEP='' PREVIOUS=''             # install.sh: current step, release before this run
RELEASE='' PLAN=''              # activate: release being activated, changes it needs
CHANGED='' ROLLING_BACK=''      # activate, roll_back: the host was changed, is rolled back
PROBLEMS=0                      # fail_check: number of failed checks
ERROR_SHOWN='' LOG='' LOGGER='' # error, start_log: log file, process that writes it
# Results of steps:
declare -A ARCHIVE=() # fetch: file of each component that must be unpacked
RUST=.cargo/bin       # has_rust: directory of rustup in the builder's home, or empty
SERVICE_PATH=''       # fetch: store path of the service
NEW_RELEASE=''        # release: directory to activate
PUBLISHED=''          # release: not empty if that directory is new
LEFT=''               # purge: a file that it could not delete

# shell_words WORD...: prints them quoted for a shell, for a command in a hint.
shell_words() {
  local words
  printf -v words '%q ' "$@"
  printf '%s\n' "${words% }"
}

# cargo_toml KEY: prints its value from Cargo.toml.
cargo_toml() { sed -n "s/^$1 *= *\"\(.*\)\"/\1/p" "$ROOT/Cargo.toml"; }
VERSION=$(cargo_toml version)
# This directory in hints. A zip archive or a network share might have dropped the x bits.
SCRIPTS=$(shell_words "$ROOT")
if [[ ! -x $ROOT/install.sh ]]; then SCRIPTS="bash $SCRIPTS"; fi
readonly VERSION SCRIPTS

# Prints the head of the calling script.
manual() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }
# call_of ARGUMENT...: prints the command that runs this script with these arguments.
call_of() { echo "$SCRIPTS/$(shell_words "${0##*/}" "$@")"; }

has() { command -v "$1" >/dev/null; }
exists() { [[ -e $1 || -L $1 ]]; }
sha256() { sha256sum "$1" | cut -d" " -f1; }
# text_of FILE: prints it without a byte order mark and CRs at line ends.
text_of() { sed $'1s/^\xEF\xBB\xBF//; s/\r$//' "$1"; }
# Prints the seconds since boot. The clock, and with it SECONDS, might be set during a wait.
uptime_now() {
  local seconds
  read -r seconds _ </proc/uptime
  echo "${seconds%.*}"
}
# curl_local PORT/PATH [CURL-OPTION...]: requests it from a server of this host.
curl_local() {
  curl --disable --noproxy '*' --fail --silent --show-error --max-time 10 "${@:2}" \
    "http://127.0.0.1:$1"
}
# as_nobody COMMAND...: runs it without root rights, which checks do not need.
as_nobody() {
  setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs "$@"
}

require_root() { [[ $EUID -eq 0 ]] || die "root is required" "run: sudo $(call_of "$@")"; }

# Holds the lock by file descriptor 9, which child processes inherit and hold as well.
lock() {
  mkdir -p "$RUN"
  (umask 077 && : >>"$RUN/lock")
  exec 9<"$RUN/lock"
  # The run that had the lock might have deleted the file.
  { flock --nonblock 9 && [[ $RUN/lock -ef /dev/fd/9 ]]; } ||
    die "another install.sh or uninstall.sh is running" \
      "wait for it to finish and retry; to identify it: sudo fuser $RUN/lock"
}
