#!/usr/bin/env bash
# Power loss. /opt, /etc and /var are ext4 disks, and the machine boots again with their content at
# one instant.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"
. "$E2E_DIR/lib/releases.sh"
. "$E2E_DIR/lib/interrupt.sh"

readonly DIRS=(opt etc var)

# Unsynced data is lost: these disks write back late.
attach() {
  local dir
  for dir in "${DIRS[@]}"; do
    mount -o loop,commit=300 "$SCRATCH/$dir.img" "$SCRATCH/mnt/$dir"
  done
}

boot_from_disks() {
  local dir
  NSPAWN=(--machine=vm-power --private-network)
  make_disk trixie
  for dir in "${DIRS[@]}"; do
    truncate --size 4G "$SCRATCH/$dir.img"
    mkfs.ext4 -q "$SCRATCH/$dir.img"
    mkdir -p "$SCRATCH/mnt/$dir"
    NSPAWN+=(--bind="$SCRATCH/mnt/$dir:/$dir")
  done
  attach
  for dir in "${DIRS[@]}"; do cp -a "$DISK/root/$dir/." "$SCRATCH/mnt/$dir"; done
  power_on
}

# Stops the installer while the disks are copied.
lose_power() {
  local dir
  send_signal STOP all
  for dir in "${DIRS[@]}"; do
    cp --sparse=always "$SCRATCH/$dir.img" "$SCRATCH/$dir.copy"
  done
  # nsenter must reap the run.
  kill -s CONT "$(child_of "$JOB")" 2>/dev/null || :
  power_off
  wait "$JOB" || :
  for dir in "${DIRS[@]}"; do
    umount "$SCRATCH/mnt/$dir"
    mv "$SCRATCH/$dir.copy" "$SCRATCH/$dir.img"
  done
  attach
  power_on
}

# lose_power_at INSTANT...: during a switch to the other release; then either is installed.
lose_power_at() {
  local when from=this to count=0
  for when; do
    echo "power loss at: $when"
    select_release "$(other_release "$from")"
    start_run "${SWITCH_COMMAND[@]}"
    wait_until "$when"
    lose_power
    # One of the releases runs after the boot.
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
  wait_until "==> verify"
  lose_power
  eventually 60 verify --quick
  keep install install
  contains "$(<"$SCRATCH/install")" "nothing had to be changed"
}

during_uninstall() {
  start_run "$CHECKOUT/uninstall.sh"
  wait_until "    alloy"
  lose_power
  run_until_verify "${INSTALL[@]}" --allow-downgrade
  verify --quick
  new_password_works
}

# Each instant takes a boot of the machine.
[[ -n ${ALL-} ]] || { say "power-loss: only with --all" && exit 0; }
readonly INSTANTS=("==> release" "==> activate" "    prometheus" "    metrics-service" "    alloy"
  "    grafana" "==> verify" 1 1.5 2 2.5 3 3.5 4 4.5 5 5.5 6 6.5)

boot_from_disks
make_next_that_differs
test "a first install is active after power loss at its end" after_success
make_edits >/dev/null
# Editors sync the files they write.
in_container sync --file-system /etc /var
test "two releases, without interruption" record_states
test "power loss during a switch" lose_power_at "${INSTANTS[@]}"
test "power loss during an uninstall" during_uninstall
