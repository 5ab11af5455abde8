#!/bin/bash
# Makes the release archive for one architecture: the files that a host needs, and the program of
# the service.
#
#   ./release.sh [--arch amd64|arm64]    the architecture of this machine, if not given
#
# Leaves dist/metrics-stack-VERSION-linux-ARCH.tar.gz and dist/SHA256SUMS. The same commit gives the
# same bytes with the same compiler. Needs git, cargo and, for another architecture, its cross
# compiler and standard library.
#
# Exit status: 0 when the archive is there, 1 when not, 2 on usage errors.

set -euo pipefail
umask 022
cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")"

# Not tests/, dashboards/ and src/: a host neither tests nor builds.
readonly FILES=(install.sh uninstall.sh verify.sh lib systemd etc central docs Cargo.toml
  README.md ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE)

main() {
  local arch='' machine changes version name stage
  case ${1-} in
  '') case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; esac ;;
  --arch) arch=${2-} ;;
  --help) sed -n '2,/^$/s/^# \{0,1\}//p' release.sh && exit ;;
  *) usage_error "unknown option $1" ;;
  esac
  case $arch in
  amd64) machine=x86_64 ;;
  arm64) machine=aarch64 ;;
  *) usage_error "--arch: expected amd64 or arm64, got '$arch'" ;;
  esac
  changes=$(git status --porcelain)
  [[ -z $changes ]] ||
    die "the working tree has uncommitted changes" "commit or stash them: git status"

  version=$(sed -n '/^version *=/{s/.*"\(.*\)".*/\1/p;q}' Cargo.toml)
  name=metrics-stack-$version-linux-$arch
  stage=$(mktemp --directory)
  # shellcheck disable=SC2064  # the directory of now
  trap "rm -rf '$stage'" EXIT
  export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH-$(git log -1 --format=%ct)}

  build "$machine-unknown-linux-gnu" "$arch"
  mkdir -p "$stage/$name/bin" dist
  git archive HEAD -- "${FILES[@]}" | tar --extract --directory "$stage/$name"
  cp "target/release-archive/$machine-unknown-linux-gnu/release/metrics-service" "$stage/$name/bin/"
  tar --create --directory "$stage" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 \
    --numeric-owner --mode=u=rwX,go=rX "$name" | gzip --no-name -9 >"dist/$name.tar.gz"
  (cd dist && sha256sum metrics-stack-"$version"-linux-*.tar.gz >SHA256SUMS)
  echo "dist/$name.tar.gz"
}

# build TARGET ARCH: links statically, so any libc will do, and leaves out paths of this machine.
build() {
  local linker cpu=${1%%-*} std=libstd-rust-dev rust=${1//-/_}
  rust=${rust^^}
  # Debian 12's plain compiler is too old; a package of another name has a newer one.
  if grep -q =bookworm /etc/os-release; then std=libstd-rust-web-dev; fi
  if [[ $cpu != "$(uname -m)" ]]; then
    linker=$cpu-linux-gnu-gcc
    command -v "$linker" >/dev/null || die "no cross compiler $linker" \
      "on Debian: dpkg --add-architecture $2; apt-get update; apt-get install \
gcc-${cpu//_/-}-linux-gnu libc6-dev:$2 $std:$2"
    export "CARGO_TARGET_${rust}_LINKER=$linker"
  fi
  # Encoded, because a path might contain blanks.
  local flags=(-C target-feature=+crt-static "--remap-path-prefix=$PWD=/src"
    "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo")
  CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && echo "${flags[*]}") \
    cargo build --quiet --release --locked --target "$1" --target-dir target/release-archive ||
    die "the service could not be built for $1" \
      "if its standard library is missing: $std:$2 of Debian, or rustup target add $1"
}

usage_error() {
  printf 'error: %s\n  hint: ./release.sh --help lists the options\n' "$1" >&2
  exit 2
}
die() {
  printf 'error: %s\n  hint: %s\n' "$1" "$2" >&2
  exit 1
}

main "$@"
