#!/usr/bin/env bash
# Runs all tests of the project. On Debian it installs the packages that they need. Needs root for
# that and for the containers.
#
#   ./tests/run.sh           all tests
#   ./tests/run.sh --quick   without the containers
#   ./tests/run.sh --all     also power loss, a hundred interruptions and more Debians (+20 min)
#
# ARCHIVES=DIR ./tests/run.sh runs the container tests on the archives and the versions.conf of a
# directory instead of fakes. Exit status: 0 when all passed, 1 when not, 2 on usage errors.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PASSED=0 FAILED=0 SKIPPED=0
LOG=$(mktemp)
trap 'rm -f "$LOG"' EXIT
# The newest version that Debian 12's Go can build.
readonly ACTIONLINT=1.7.7

main() {
  local quick='' all=()
  case ${1-} in
  '') ;;
  --quick) quick=1 ;;
  --all) all=(--all) ;;
  *) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
  esac

  install_tools
  part "format" both cargo fmt --check
  part "lints" both cargo clippy --quiet --locked --all-targets -- -D warnings
  part "service" cargo test --locked -- --skip hostile
  # Alone, because it measures how long a client waits.
  part "hostile clients" cargo test --locked hostile
  part "scripts" scripts
  part "workflows" workflows
  part "words" tests/words.sh
  part "functions" tests/functions/run.sh
  part "units" tests/units.sh
  part "configuration" configuration
  [[ -n $quick ]] || part "containers" tests/e2e/run.sh "${all[@]}"

  printf '%s passed, %s failed' "$PASSED" "$FAILED"
  if ((SKIPPED > 0)); then printf ', %s skipped' "$SKIPPED"; fi
  echo
  # In CI, a skipped test fails the run.
  ((FAILED == 0)) && [[ $SKIPPED == 0 || ${CI-} != true ]]
}

# part NAME COMMAND...: runs it, and adds the counts in its output. Without counts, the command is
# one test.
part() {
  local start=$SECONDS status=0 passed failed skipped
  printf '\n== %s\n' "$1"
  # Not in a condition, where a failing command would not end the part.
  set +e
  (set -e && "${@:2}") 2>&1 | tee "$LOG"
  status=${PIPESTATUS[0]}
  set -e
  read -r passed failed skipped < <(counts)
  if ((passed + failed == 0 && status == 0)); then passed=1; fi
  if ((status != 0 && failed == 0)); then failed=1; fi
  printf '== %s: %s passed, %s failed, in %s s\n' "$1" "$passed" "$failed" "$((SECONDS - start))"
  PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed)) SKIPPED=$((SKIPPED + skipped))
}

# counts: sums up cargo's results and lines `N passed, N failed, N skipped`.
counts() {
  awk '
    /^test result:/ { passed += $4; failed += $6 }
    /^[0-9]+ passed, [0-9]+ failed/ { passed += $1; failed += $3; skipped += $5 }
    END { print passed + 0, failed + 0, skipped + 0 }' "$LOG"
}

configuration() {
  local promtool
  promtool=${PROMTOOL-$(tests/e2e/run.sh --promtool)}
  PROMTOOL=$promtool tests/config/check.sh
}

# both COMMAND...: runs it for the service and for the fakes.
both() {
  local crate
  for crate in . tests/e2e/fakes; do (cd "$crate" && "$@"); done
}

scripts() {
  local programs
  # shfmt also finds unquoted keys of associative arrays: it formats [a-b] as [a - b].
  git ls-files -z '*.sh' .ci/run | xargs -0 shfmt -d -i 2
  # Counted in bytes, so the locale does not matter.
  git ls-files -z '*.sh' .ci/run | LC_ALL=C xargs -0 awk '
    length > 100 { print FILENAME ", line " FNR ": longer than 100 columns"; long = 1 }
    END { exit long }'
  # Files without a #! line are checked where they are sourced.
  mapfile -t programs < <(
    git ls-files -z 'tests/*.sh' .ci/run | xargs -0 grep --files-with-matches '^#!'
  )
  shellcheck --external-sources --check-sourced "${programs[@]}"
  shellcheck --external-sources ./*.sh
  shellcheck lib/*.sh
  shellcheck --exclude=SC2034,SC2154,SC2317 tests/functions/*.sh
  echo "${#programs[@]} programs and the files that they source pass"
}

# It also runs shellcheck on the commands of the workflows.
workflows() {
  local dir=$PWD/target/actionlint-$ACTIONLINT
  [[ -x $dir/actionlint ]] ||
    GOBIN=$dir go install "github.com/rhysd/actionlint/cmd/actionlint@v$ACTIONLINT"
  "$dir/actionlint"
}

install_tools() {
  local packages=() tool
  command -v cc >/dev/null || packages+=(gcc libc6-dev)
  for tool in git curl openssl shellcheck shfmt; do
    command -v "$tool" >/dev/null || packages+=("$tool")
  done
  command -v go >/dev/null || packages+=(golang-go)
  command -v systemd-analyze >/dev/null || packages+=(systemd)
  python3 -c 'import yaml' 2>/dev/null || packages+=(python3-yaml)
  [[ -e /usr/share/keyrings/debian-archive-keyring.gpg ]] || packages+=(debian-archive-keyring)
  if ! command -v cargo >/dev/null; then
    # Debian 12's plain cargo is too old.
    if grep -q '^VERSION_CODENAME=bookworm' /etc/os-release; then
      packages+=(cargo-web rustfmt-web rust-web-clippy)
    else
      packages+=(cargo rustfmt rust-clippy)
    fi
  fi
  if ((${#packages[@]} > 0)); then
    apt-get --quiet=2 update
    DEBIAN_FRONTEND=noninteractive \
      apt-get --quiet=2 --assume-yes --no-install-recommends install "${packages[@]}"
  fi
  local rust needed
  rust=$(cargo --version | cut -d' ' -f2)
  needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  echo "cargo $rust"
  [[ $(printf '%s\n%s\n' "$rust" "$needed" | sort -V | head -n 1) == "$needed" ]] || {
    echo "error: Rust $rust is too old; $needed or newer is required, with rustfmt and clippy"
    echo "hint: install it from https://rustup.rs, or remove it to use Debian's packages"
    exit 1
  }
}

main "$@"
