#!/usr/bin/env bash
# The release archive for ARM64, cross-built on Debian 13 and run there under emulation, without
# systemd as PID 1 and without seccomp filters. Only with --all.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/releases.sh"
. "$E2E_DIR/lib/interrupt.sh"

readonly CLONE=/usr/src/clone ARM=/usr/src/arm64 PROGRAM=$UNPACKED/bin/metrics-service

# in_user_namespace COMMAND...: runs it in the container and its user namespace. The emulator is
# registered for that one, not for this host.
in_user_namespace() {
  nsenter --target "$(leader)" --all env --ignore-environment HOME=/root LC_ALL=C.UTF-8 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
emulated() { in_user_namespace chroot "$ARM" "$@"; }

apt_install() {
  in_container env DEBIAN_FRONTEND=noninteractive apt-get -qq install "$@" >/dev/null
}

# Without the cross compiler, release.sh prints the commands that install it.
cross_builds() {
  local hint start=$SECONDS
  clone_checkout "$SCRATCH/clone"
  in_container mkdir "$CLONE"
  tar --create --directory "$SCRATCH/clone" . |
    in_container tar --extract --no-same-owner --directory "$CLONE"
  in_container sh -c 'cat >/etc/apt/apt.conf.d/90yes && apt-get -qq update' <<'END'
APT::Get::Assume-Yes "true";
APT::Install-Recommends "false";
END
  apt_install cargo gcc libc6-dev git ca-certificates
  keep refusal in_container "$CLONE/release.sh" --arch arm64 && return 1
  hint=$(sed -n 's/^  hint: on Debian: //p' "$SCRATCH/refusal")
  contains "$hint" apt-get
  in_container sh -c "$hint" >/dev/null
  measured "with packages in $((SECONDS - start)) s"
  in_container "$CLONE/release.sh" --arch arm64
}

runs_debian() {
  local dir
  apt_install mmdebstrap arch-test qemu-user-static
  in_user_namespace sh -c 'cat /usr/lib/binfmt.d/qemu-aarch64.conf >/mnt/register'
  in_user_namespace mmdebstrap --quiet --architectures=arm64 --variant=minbase \
    --include=systemd,curl,unzip trixie "$ARM"
  # systemctl asks the container's systemd.
  for dir in proc run dev; do in_container mount --rbind "/$dir" "$ARM/$dir"; done
  equal "machine" "$(emulated uname -m)" aarch64
  in_container sh -c "mkdir $ARM$UNPACKED &&
    tar xzf $CLONE/dist/*.tar.gz --strip-components=1 --directory $ARM$UNPACKED"
}

# arm_get PATH [CURL-OPTION...]: prints the body and the status.
arm_get() {
  emulated curl --silent --max-time 20 --write-out ' %{http_code}' "${@:2}" \
    "http://127.0.0.1:8000$1"
}
is_serving() { arm_get /health >/dev/null; }
is_loading() { [[ $(arm_get /metrics) == *$'\nactive_connections 1\n'* ]]; }

requests_are_answered() {
  contains "$(arm_get /)" " 200"
  equal "/health" "$(arm_get /health)" '{"status":"ok"} 200'
  equal "HEAD /health" "$(arm_get /health --head | tr -d '\r' | sed -n '1p; $p' | paste -sd'|')" \
    "HTTP/1.1 200 OK| 200"
  contains "$(arm_get /simulate-load)" '"mode":"sleep"'
  contains "$(arm_get '/simulate-load?duration_ms=20&mode=cpu')" '"duration_ms":20} 200'
  contains "$(arm_get '/simulate-load?duration_ms=0&error_rate=1')" " 500"
  contains "$(arm_get '/simulate-load?duration_ms=x')" " 400"
  contains "$(arm_get '/simulate-load?error_rate=2')" " 400"
  contains "$(arm_get /nowhere)" " 404"
  contains "$(arm_get / --request POST)" " 405"
  contains "$(arm_get /metrics)" 'http_requests_total{endpoint="/simulate-load"'
}

# SIGTERM arrives during a request, which is finished. The program is a child of nsenter.
serves() {
  local service request
  equal "version" "$(emulated "$PROGRAM" --version)" \
    "metrics-service $(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")"
  emulated "$PROGRAM" &
  service=$!
  eventually 20 is_serving
  requests_are_answered
  arm_get '/simulate-load?duration_ms=3000' >"$SCRATCH/last" &
  request=$!
  eventually 20 is_loading
  kill -TERM "$(child_of "$(child_of "$service")")"
  wait "$service"
  wait "$request"
  equal "the last response" "$(<"$SCRATCH/last")" \
    '{"status":"ok","mode":"sleep","duration_ms":3000} 200'
}

# Lines of another architecture are not used.
picks_arm64() {
  local arch versions=$UNPACKED/etc/versions.conf
  for arch in amd64 arm64; do
    in_container sh -c "grep -E '^#| $arch ' $ARM$versions >$ARM/usr/src/$arch"
  done
  keep wrong emulated "$UNPACKED/install.sh" --dry-run --versions /usr/src/amd64 && return 1
  contains "$(<"$SCRATCH/wrong")" "must have one valid line for grafana on arm64"
  keep dry emulated "$UNPACKED/install.sh" --dry-run --versions /usr/src/arm64
  contains "$(<"$SCRATCH/dry")" "would fetch and unpack alloy "
  contains "$(<"$SCRATCH/dry")" "would install the service from $PROGRAM"
}

[[ -n ${ALL-} ]] || { say "arm64: only with --all" && exit 0; }
boot bare --private-network --private-users=identity
give_network
in_user_namespace mount -t binfmt_misc binfmt_misc /mnt || {
  skip "the release archive for ARM64" "emulation in a user namespace needs Linux 6.7" && exit
}
test "Debian 13 cross-builds the release archive" cross_builds
test "an ARM64 Debian runs under emulation" runs_debian
test "the service serves requests, and stops in order" serves
test "install.sh --dry-run picks the ARM64 archives" picks_arm64
