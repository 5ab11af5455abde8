#!/usr/bin/env bash
# The power fails: /opt, /etc and /var lie on ext4, and what had reached their disks at an instant is what the machine starts with.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"
. "$E2E_DIR/lib/releases.sh"
. "$E2E_DIR/lib/interrupt.sh"

readonly FOLDERS=(opt etc var)

# A disk that writes back late, on its own, as a busy one does: what is not synced is lost.
attach() { for folder in "${FOLDERS[@]}"; do mount -o loop,commit=300 "$SCRATCH/$folder.img" "$SCRATCH/mnt/$folder"; done; }

boot_from_disks() {
  local folder
  NSPAWN=(--machine=vm-power --private-network)
  make_disk trixie
  for folder in "${FOLDERS[@]}"; do
    truncate --size 4G "$SCRATCH/$folder.img"
    mkfs.ext4 -q "$SCRATCH/$folder.img"
    mkdir -p "$SCRATCH/mnt/$folder"
    NSPAWN+=(--bind="$SCRATCH/mnt/$folder:/$folder")
  done
  attach
  for folder in "${FOLDERS[@]}"; do cp -a "$DISK/root/$folder/." "$SCRATCH/mnt/$folder"; done
  power_on
}

# power_fails: the installer stands still while the disks are copied, as they would be at one instant.
power_fails() {
  local folder
  send_signal STOP all
  for folder in "${FOLDERS[@]}"; do cp --sparse=always "$SCRATCH/$folder.img" "$SCRATCH/$folder.copy"; done
  # nsenter has to bury the run.
  kill -s CONT "$(child_of "$JOB")" 2>/dev/null || :
  power_off
  wait "$JOB" || :
  for folder in "${FOLDERS[@]}"; do
    umount "$SCRATCH/mnt/$folder"
    mv "$SCRATCH/$folder.copy" "$SCRATCH/$folder.img"
  done
  attach
  power_on
}

# fails_at INSTANT...: in a switch to the other release, and then either is switched to.
fails_at() {
  local when from=this to count=0
  for when; do
    echo "power fails at: $when"
    select_release "$(other_release "$from")"
    start_run "${SWITCH_COMMAND[@]}"
    wait_until "$when"
    power_fails
    # What the machine does by itself: what was active goes on, or what is new.
    eventually 60 get 9090/-/ready
    if ((RANDOM % 2)); then to=$from; else to=$(other_release "$from"); fi
    converges "$to"
    from=$to
    count=$((count + 1))
  done
  measured "$count of $count"
}

after_success() {
  start_run "${INSTALL[@]}"
  eventually 60 has_printed "==> verify"
  power_fails
  eventually 60 verify --quick
  keep install install
  contains "$(<"$SCRATCH/install")" "nothing had to be changed"
}

in_an_uninstall() {
  start_run "$CHECKOUT/uninstall.sh"
  wait_until "    alloy"
  power_fails
  run_until_verify "${INSTALL[@]}" --allow-downgrade
  verify --quick
  get 3001/api/org --user "admin:a long one" >/dev/null
}

# A start of the machine for each instant is dear: with --all alone.
[[ -n ${ALL-} ]] || { say "power: not without --all" && exit 0; }
readonly INSTANTS=("==> release" "==> activate" "    prometheus" "    metrics-service" "    alloy" "    grafana" "==> verify"
  1 1.5 2 2.5 3 3.5 4 4.5 5 5.5 6 6.5)

boot_from_disks
make_next_that_differs
test "the moment a first install is active: it is, after the start" after_success
make_edits >/dev/null
# A person's editor does so.
in_container sync --file-system /etc /var
test "two releases, one after the other" record_states
test "in a switch from one to the other" fails_at "${INSTANTS[@]}"
test "in an uninstall" in_an_uninstall
