#!/usr/bin/env bash
# Builds the service and its peers, loads them in turn, and writes RESULTS.md and results.svg beside this file.
#
#   ./bench/run.sh           builds from nothing, 10 rounds: about twenty minutes on 2 cores
#   ./bench/run.sh --quick   one short round; the results go to target/bench/ instead
#
# Needs Debian 13 or newer, or Go 1.24, Rust 1.85 and Python 3.11 from elsewhere; what is missing is installed from
# Debian's packages, as root. Everything it builds is in target/bench/, and everything listens on 127.0.0.1.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

BUILT=$(realpath ..)/target/bench
WHERE=.
ROUNDS=10 SECONDS_EACH=4 REQUESTS=(1000 10000 100000)

main() {
  case ${1-} in
  '') rm -rf "$BUILT" ;;
  --quick) WHERE=$BUILT ROUNDS=1 SECONDS_EACH=2 REQUESTS=(1000) ;;
  *) sed -n '2,/^$/s/^# \{0,1\}//p' run.sh >&2 && exit 2 ;;
  esac

  tools
  mkdir -p "$BUILT"
  fetch
  build
  python3 -B measure.py "$BUILT/results.json" "$ROUNDS" "$SECONDS_EACH" "${REQUESTS[@]}"
  python3 -B chart.py "$BUILT/results.json" "$WHERE/results.svg"
  python3 -B report.py "$BUILT/results.json" "$WHERE/RESULTS.md"
  cat "$WHERE/RESULTS.md"
}

tools() {
  local packages=()
  command -v cc >/dev/null || packages+=(gcc libc6-dev)
  command -v cargo >/dev/null || packages+=(cargo)
  command -v go >/dev/null || packages+=(golang-go)
  python3 -m ensurepip --version &>/dev/null || packages+=(python3 python3-venv)
  [[ -e /etc/ssl/certs/ca-certificates.crt ]] || packages+=(ca-certificates)
  command -v git >/dev/null || packages+=(git)
  command -v ss >/dev/null || packages+=(iproute2)
  # wrk takes the least of the cores that it shares with the servers.
  command -v wrk >/dev/null || packages+=(wrk)
  if ((${#packages[@]} > 0)); then
    apt-get --quiet=2 update
    DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 --assume-yes --no-install-recommends install "${packages[@]}"
  fi
}

# What the builds need, so that they are measured without the network.
fetch() {
  cargo fetch --quiet --locked --manifest-path ../Cargo.toml
  cargo fetch --quiet --locked --manifest-path axum/Cargo.toml
  (cd go && GOTOOLCHAIN=local go mod download)
  # Debian's Python has pip in virtual environments only.
  python3 -m venv "$BUILT/fetch"
  "$BUILT/fetch/bin/pip" download --quiet --disable-pip-version-check --dest "$BUILT/wheels" \
    --requirement fastapi/requirements.txt
}

build() {
  timed metrics-service "$BUILT/service/release/metrics-service" service
  timed Go "$BUILT/go-service" go_service
  timed axum "$BUILT/axum/release/metrics-service-axum" axum
  timed FastAPI "$BUILT/venv" fastapi
  sort "$BUILT"/*.built | paste --serial --delimiters , | sed "s/.*/{&}/" >"$BUILT/builds.json"
}

service() { rust ../Cargo.toml "$BUILT/service"; }
axum() { rust axum/Cargo.toml "$BUILT/axum"; }
rust() { cargo build --quiet --release --locked --offline --manifest-path "$1" --target-dir "$2"; }
go_service() {
  GOTOOLCHAIN=local GOCACHE=$BUILT/go-cache go build -C go -buildvcs=false -trimpath -ldflags='-s -w' -o "$BUILT/go-service"
}
fastapi() {
  python3 -m venv "$BUILT/venv"
  "$BUILT/venv/bin/pip" install --quiet --disable-pip-version-check --no-index --find-links "$BUILT/wheels" \
    --requirement fastapi/requirements.txt
}

# timed NAME RESULT COMMAND: builds, and notes the time it took and the result's size.
timed() {
  local start end
  start=$(date +%s%N)
  "$3"
  end=$(date +%s%N)
  printf '"%s": {"seconds": %d.%03d, "bytes": %d}\n' "$1" $(((end - start) / 1000000000)) \
    $(((end - start) / 1000000 % 1000)) "$(du --summarize --bytes "$2" | cut -f1)" >"$BUILT/$1.built"
}

main "$@"
