#!/usr/bin/env bash
# systemd's own check of the unit files. It wants the programs to be there, so that it reads copies that name one that is.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

copies=$(mktemp -d)
trap 'rm -rf "$copies"' EXIT
for unit in systemd/*; do
  sed 's|^ExecStart=[^ ]*|ExecStart=/bin/true|' "$unit" >"$copies/${unit#systemd/}"
done
output=$(systemd-analyze verify "$copies"/* 2>&1) || { printf '%s\n' "$output" && exit 1; }
# Some complaints do not change its exit status.
if grep --fixed-strings "$copies" <<<"$output"; then exit 1; fi
echo "$(find "$copies" -type f | wc -l) unit files hold"
