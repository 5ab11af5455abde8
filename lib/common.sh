# Names, paths and the small vocabulary that install.sh, verify.sh and uninstall.sh share.
# shellcheck shell=bash disable=SC2034  # the scripts that source this file use the names

umask 022
# Nothing of the caller's environment is trusted but what says who called, and how the network is reached.
if [[ ${METRICS_STACK_ENV-} != clean ]]; then
  exec env -i METRICS_STACK_ENV=clean LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME="${HOME:-/root}" TERM="${TERM:-dumb}" ${SUDO_USER:+SUDO_USER="$SUDO_USER"} \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
    ${no_proxy:+no_proxy="$no_proxy"} bash "$0" "$@"
fi

readonly OPT=/opt/metrics-stack ETC=/etc/metrics-stack VAR=/var/lib/metrics-stack CACHE=/var/cache/metrics-stack
readonly PRIVATE=/var/lib/private # where systemd keeps the state folders of DynamicUser= units
readonly UNIT_DIR=/etc/systemd/system
readonly RUN=$VAR/install
readonly RECEIPT=$RUN/receipt UNDO=$RUN/undo LOG=$RUN/log

# In the order in which they start. The service is the only one that is built from this checkout.
readonly COMPONENTS=(prometheus metrics-service alloy grafana)
readonly UNITS=(metrics-stack.target metrics-prometheus.service metrics-service.socket metrics-service.service
  metrics-alloy.service metrics-alloy-ui.socket metrics-alloy-ui.service metrics-grafana.service)
# What listens on which port of 127.0.0.1.
readonly PORTS=(8000 3000 12345 9090 3001)

VERSION=$(sed -n '/^version *=/{s/.*"\(.*\)".*/\1/p;q}' "$ROOT/Cargo.toml")
readonly VERSION

log() { [[ ! -w $RUN ]] || printf '%(%F %T)T %s\n' -1 "$*" >>"$LOG"; }
say() { printf '%s\n' "$*" && log "$*"; }
step() { say "==> $*"; }
warn() { printf 'warning: %s\n' "$*" >&2 && log "warning: $*"; }

# problem WHAT REMEDY: an error and what to do about it; the caller goes on.
problem() {
  EXPLAINED=1
  [[ -z ${TICKER-} ]] || done_working
  printf 'error: %s\n  remedy: %s\n' "$1" "$2" >&2 && log "error: $1"
}
die() {
  problem "$@" || :
  exit 1
}
usage_error() {
  printf 'error: %s\n  remedy: %s --help lists the options\n' "$1" "$0" >&2
  exit 2
}

# The comment at the head of the calling script is its manual.
manual() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }

has() { command -v "$1" >/dev/null; }

# local_get PATH-OF-URL [CURL-OPTION...]: asks a server of this host, e.g. local_get 9090/-/ready.
local_get() { curl --disable --noproxy '*' --fail --silent --show-error --max-time 10 "${@:2}" "http://127.0.0.1:$1"; }

unit_of() { if [[ $1 == metrics-service ]]; then echo metrics-service.service; else echo "metrics-$1.service"; fi; }
readiness_of() {
  case $1 in
  metrics-service) echo 8000/health ;;
  prometheus) echo 9090/-/ready ;;
  alloy) echo 12345/-/ready ;;
  grafana) echo 3001/api/health ;;
  esac
}

# One install or uninstall at a time. The lock is on a folder that every Linux has, so that it leaves no file behind.
lock() {
  exec 9</etc
  flock --nonblock 9 || die "another install.sh or uninstall.sh is running" "wait for it to end, then run this again"
}

need_root() { [[ $EUID -eq 0 ]] || die "this needs root" "run: sudo $0 $*"; }
