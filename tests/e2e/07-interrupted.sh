#!/usr/bin/env bash
# Interrupted installs, upgrades and uninstalls. The next run completes them and loses nothing.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"
. "$E2E_DIR/lib/releases.sh"
. "$E2E_DIR/lib/interrupt.sh"

# When runs are interrupted: at a few instants, or with --all at many.
STRIDE=500
STEPS=("==> release" "    prometheus" "    grafana")
UNINSTALLS=("    prometheus" 0.8)
FIRST_STEPS=("    prometheus")
if [[ -n ${ALL-} ]]; then
  COMPONENTS=("    prometheus" "    metrics-service" "    alloy" "    grafana")
  STRIDE=25
  STEPS=("==> preflight" "==> fetch" "==> release" "==> activate" "${COMPONENTS[@]}")
  UNINSTALLS=("    stack" "${COMPONENTS[@]}" 0.3 0.6 0.9 1.2 1.5)
  FIRST_STEPS=("${STEPS[@]}")
fi

# Interrupts a switch from one release to the other, then installs either.
at_each_step() {
  local step from=this to count=0
  for step in "${STEPS[@]}"; do
    echo "interrupted at: $step"
    select_release "$(other_release "$from")"
    interrupt "$step" KILL "${SWITCH_COMMAND[@]}"
    if ((count++ % 2)); then to=$from; else to=$(other_release "$from"); fi
    converges "$to"
    from=$to
  done
  measured "$count of $count"
}

# Interrupts a switch before every STRIDE-th command of the step activate.
at_commands() {
  local command from to count=0
  from=$(current_release)
  for ((command = 0; ; command += STRIDE)); do
    select_release "$(other_release "$from")"
    # shellcheck disable=SC2016  # for the shell in the container
    start_run env METRICS_STACK_ENV=clean LC_ALL=C HOME=/root KILL_BEFORE="$command" /bin/bash -c '
      set -o functrace
      trap "[[ \${STEP-} != activate ]] || ((KILL_BEFORE-- != 0)) || kill -KILL \$\$" DEBUG
      . "$0"' "${SWITCH_COMMAND[@]}"
    eventually 300 has_printed "==> verify"
    if grep -q "==> verify" "$SCRATCH/run"; then break; fi
    wait "$JOB" || :
    wait_until end
    echo "interrupted before command $command, after: $(tail -n 1 "$SCRATCH/run")"
    if ((count++ % 2)); then to=$from; else to=$(other_release "$from"); fi
    converges "$to"
    from=$to
  done
  send_signal TERM all
  wait "$JOB" || :
  ((count > 1))
  measured "$count of $count, each $STRIDE of $command commands"
}

# Ctrl-C and a closed terminal roll back at once.
signal_rolls_back() {
  converges this
  # Ignored from the start, as with nohup.
  trap '' "$1"
  interrupt "    alloy" "$1" "${INSTALL_NEXT[@]}"
  cat "$SCRATCH/run"
  contains "$(<"$SCRATCH/run")" "rollback complete"
  host_state | diff "$SCRATCH/state-this" -
  edits_are_kept
  runs_from_store
}

# The run continues when the reader of its output has exited.
reader_exits() {
  in_container sh -c "$(printf '%q ' "${INSTALL_NEXT[@]}") | head -n 2"
  wait_until end
  host_state | diff "$SCRATCH/state-next" -
  # The process that writes the log has no lock.
  eventually 10 in_container sh -c 'cat /var/log/metrics-stack/*.log | tail -n 15 |
    grep "metrics-stack 99.0.0 is running, reachable from this host only"'
}

second_run_is_refused() {
  start_run "${INSTALL[@]}" --allow-downgrade
  eventually 30 has_printed "==> preflight"
  keep second in_container "${INSTALL_NEXT[@]}" && return 1
  contains "$(<"$SCRATCH/second")" "another install.sh or uninstall.sh is running"
  equal "owner and mode of the lock" \
    "$(in_container stat --format '%U %a' /run/metrics-stack/lock)" "root 600"
  wait "$JOB"
  contains "$(<"$SCRATCH/run")" ", 0 failed"
  host_state | diff "$SCRATCH/state-this" -
}

# An interrupted uninstall, followed by an install or by another uninstall.
uninstall_is_interrupted() {
  local when
  for when in "${UNINSTALLS[@]}"; do
    echo "interrupted at: $when"
    interrupt "$when" KILL "$CHECKOUT/uninstall.sh"
    run_until_verify "${INSTALL[@]}"
    verify --quick
    contains "$(in_container cat /etc/metrics-stack/prometheus/retention.env)" 6d
    new_password_works
  done
  interrupt "    alloy" KILL "$CHECKOUT/uninstall.sh"
  keep uninstall uninstall
  equal "files" "$(in_container find /opt/metrics-stack/store /etc/systemd/system/metrics-* \
    /etc/metrics-stack -type f 2>/dev/null | sort | tr '\n' ' ')" \
    "/etc/metrics-stack/prometheus/retention.env /etc/metrics-stack/prometheus/rules/mine.yml "
  in_container test -e /var/lib/private/metrics-stack/grafana/grafana.db
}

# The second interruption comes before the first one is repaired. Files that an uninstall has
# removed do not count as deleted by the administrator.
two_interruptions() {
  interrupt_before "rm -f \"\$OPT/current\"" "$CHECKOUT/uninstall.sh"
  interrupt "    prometheus" INT "${INSTALL[@]}"
  run_until_verify "${INSTALL[@]}"
  host_state | diff "$SCRATCH/state-this" -
  runs_from_store
}

# All units are disabled by then.
uninstall_is_interrupted_at_its_end() {
  interrupt_before "selinux_allow_proxy off" "$CHECKOUT/uninstall.sh"
  run_until_verify "${INSTALL[@]}"
  verify --quick
  equal "Alloy" "$(state_of metrics-alloy)" "active enabled"
}

# A new service that is interrupted before it is in the store must not get the path of the one
# that runs.
other_service_is_interrupted() {
  local before program=/opt/metrics-stack/metrics-service/bin/metrics-service
  before=$(in_container sha256sum "$program")
  interrupt_before "unpack \"\$component\"" "${INSTALL_NEXT[@]}"
  run_until_verify "${INSTALL[@]}" --allow-downgrade
  equal "the service's program" "$(in_container sha256sum "$program")" "$before"
}

# After an interrupted first install, a purge leaves no trace and an uninstall keeps data.
first_install_is_interrupted() {
  local step
  purge_leaves_no_trace "$SCRATCH/before"
  for step in "${FIRST_STEPS[@]}"; do
    echo "interrupted at: $step"
    interrupt "$step" KILL "${INSTALL[@]}"
    keep purge uninstall --purge
    same_traces "$SCRATCH/before"
  done
  interrupt "    grafana" KILL "${INSTALL[@]}"
  in_container sh -c 'echo precious >/var/lib/private/metrics-stack/prometheus/precious'
  keep uninstall uninstall
  in_container test -e /var/lib/private/metrics-stack/prometheus/precious
  run_until_verify "${INSTALL[@]}"
  verify --quick
  in_container test -e /var/lib/private/metrics-stack/prometheus/precious
}

boot trixie
make_next_that_differs
traces >"$SCRATCH/before"
test "install" run_until_verify "${INSTALL[@]}"
make_edits >/dev/null
test "two releases, without interruption" record_states
test "SIGKILL at several steps" at_each_step
test "SIGKILL before several commands" at_commands
test "SIGKILL at random instants" at_random_instants 2
test "Ctrl-C rolls back" signal_rolls_back INT
test "a closed terminal rolls back" signal_rolls_back HUP
test "a reader of the output that exits" reader_exits
test "a second installer at the same time" second_run_is_refused
test "an interrupted install of another service" other_service_is_interrupted
test "two interruptions in a row" two_interruptions
test "an uninstall interrupted at its end" uninstall_is_interrupted_at_its_end
test "an interrupted uninstall" uninstall_is_interrupted
test "an interrupted first install" first_install_is_interrupted
test "a purge leaves no trace" purge_leaves_no_trace "$SCRATCH/before"
