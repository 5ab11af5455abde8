#!/usr/bin/env bash
# Installs, upgrades and uninstalls that are cut off, and what the next run makes of it: it goes on, forward, and loses nothing.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"
. "$E2E_DIR/lib/releases.sh"
. "$E2E_DIR/lib/interrupt.sh"

# What is tried: few instants, or with --all many.
STRIDE=500 STEPS=("==> release" "    prometheus" "    grafana") UNINSTALLS=("    prometheus" 0.8) FIRST_STEPS=("    prometheus")
if [[ -n ${ALL-} ]]; then
  STRIDE=25 STEPS=("==> preflight" "==> fetch" "==> release" "==> activate" "    prometheus" "    metrics-service" "    alloy" "    grafana")
  UNINSTALLS=("    stack" "    prometheus" "    metrics-service" "    alloy" "    grafana" 0.3 0.6 0.9 1.2 1.5) FIRST_STEPS=("${STEPS[@]}")
fi

# Each time from one release to the other, cut, and then to either.
at_each_step() {
  local step from=this to count=0
  for step in "${STEPS[@]}"; do
    echo "cut at: $step"
    switch_to "$(other "$from")"
    cut_off "$step" KILL "${SWITCH[@]}"
    if ((count++ % 2)); then to=$from; else to=$(other "$from"); fi
    converges "$to"
    from=$to
  done
  measured "$count of $count"
}

# Before each so manieth command of `activate`, up to its last; then again to this release, to the other, to this, …
at_commands() {
  local command from to count=0
  from=$(if [[ $(in_container readlink /opt/metrics-stack/current) == *99.0.0* ]]; then echo next; else echo this; fi)
  for ((command = 0; ; command += STRIDE)); do
    switch_to "$(other "$from")"
    # shellcheck disable=SC2016  # for the shell in there
    begin env METRICS_STACK_ENV=clean LC_ALL=C HOME=/root CUT_AT="$command" /bin/bash -c 'set -o functrace
      trap "[[ \${STEP-} != activate ]] || ((CUT_AT-- != 0)) || kill -KILL \$\$" DEBUG
      . "$0"' "${SWITCH[@]}"
    eventually 60 announced "==> verify"
    if grep -q "==> verify" "$SCRATCH/cut"; then break; fi
    wait "$JOB" || :
    eventually 30 has_ended
    echo "cut before command $command, after: $(tail -n 1 "$SCRATCH/cut")"
    if ((count++ % 2)); then to=$from; else to=$(other "$from"); fi
    converges "$to"
    from=$to
  done
  send TERM all
  wait "$JOB" || :
  measured "$count of $count, each $STRIDE of $command commands"
}

# Ctrl-C, and a terminal that is closed: the way back is taken at once.
signal_goes_back() {
  converges this
  # Ignored from the start, as below nohup.
  trap '' "$1"
  cut_off "    alloy" "$1" "${INSTALL_NEXT[@]}"
  cat "$SCRATCH/cut"
  contains "$(<"$SCRATCH/cut")" "everything is back as it was"
  state | diff "$SCRATCH/state-this" -
  is_mine
  runs_from_its_trees
}

# Whoever reads the output may go away, and the run goes on.
reader_goes_away() {
  in_container sh -c "$(printf '%q ' "${INSTALL_NEXT[@]}") | head -n 2"
  eventually 60 has_ended
  state | diff "$SCRATCH/state-next" -
  contains "$(in_container sh -c 'cat /var/log/metrics-stack/*.log | tail -n 15')" "metrics-stack 99.0.0 runs on this host"
}

second_is_told() {
  begin "${INSTALL[@]}" --allow-downgrade
  eventually 30 announced "==> preflight"
  keep second in_container "${INSTALL_NEXT[@]}" && return 1
  contains "$(<"$SCRATCH/second")" "another install.sh or uninstall.sh is running"
  equal "who may open the lock" "$(in_container stat --format '%U %a' /run/metrics-stack/lock)" "root 600"
  wait
  state | diff "$SCRATCH/state-this" -
}

# A half uninstall, then an install; and a half uninstall, then another.
uninstall_is_cut() {
  local when
  for when in "${UNINSTALLS[@]}"; do
    echo "cut at: $when"
    cut_off "$when" KILL "$CHECKOUT/uninstall.sh"
    goes_on "${INSTALL[@]}"
    verify --quick
    contains "$(in_container cat /etc/metrics-stack/prometheus/retention.env)" 6d
    get 3001/api/org --user "admin:a long one" >/dev/null
  done
  cut_off "    alloy" KILL "$CHECKOUT/uninstall.sh"
  keep uninstall uninstall
  equal "what is left" "$(in_container find /opt/metrics-stack/store /etc/systemd/system/metrics-* /etc/metrics-stack -type f 2>/dev/null | sort | tr '\n' ' ')" \
    "/etc/metrics-stack/prometheus/retention.env /etc/metrics-stack/prometheus/rules/mine.yml "
  in_container test -e /var/lib/private/metrics-stack/grafana/grafana.db
}

# A second cut, before what the first one left is mended: what we took away ourselves does not count as deleted by a person.
two_cuts_in_a_row() {
  cut_before "rm -f \"\$OPT/current\"" "$CHECKOUT/uninstall.sh"
  cut_off "    prometheus" INT "${INSTALL[@]}"
  goes_on "${INSTALL[@]}"
  state | diff "$SCRATCH/state-this" -
  runs_from_its_trees
}

# All units are switched off by then.
uninstall_is_cut_at_its_end() {
  cut_before "selinux_allow_proxy off" "$CHECKOUT/uninstall.sh"
  goes_on "${INSTALL[@]}"
  verify --quick
  equal "Alloy" "$(in_container systemctl is-active metrics-alloy) $(in_container systemctl is-enabled metrics-alloy)" "active enabled"
}

# Another service, cut off before it has its tree, must not get the name of the one that runs.
other_service_is_cut() {
  local program
  program=$(in_container sha256sum /opt/metrics-stack/metrics-service/bin/metrics-service)
  cut_before "unpack \"\$component\"" "${INSTALL_NEXT[@]}"
  goes_on "${INSTALL[@]}" --allow-downgrade
  equal "the service's program" "$(in_container sha256sum /opt/metrics-stack/metrics-service/bin/metrics-service)" "$program"
}

# On a host where nothing was: a purge after a cut leaves no trace, and an uninstall keeps what the stack has stored meanwhile.
first_install_is_cut() {
  local step
  purge_leaves_no_trace "$SCRATCH/before"
  for step in "${FIRST_STEPS[@]}"; do
    echo "cut at: $step"
    cut_off "$step" KILL "${INSTALL[@]}"
    keep purge uninstall --purge
    same_traces "$SCRATCH/before"
  done
  cut_off "    grafana" KILL "${INSTALL[@]}"
  in_container sh -c 'echo precious >/var/lib/private/metrics-stack/prometheus/precious'
  keep uninstall uninstall
  in_container test -e /var/lib/private/metrics-stack/prometheus/precious
  goes_on "${INSTALL[@]}"
  verify --quick
  in_container test -e /var/lib/private/metrics-stack/prometheus/precious
}

boot trixie
make_next_that_differs
traces >"$SCRATCH/before"
test "install" goes_on "${INSTALL[@]}"
mine >/dev/null
test "two releases, one after the other" learn
test "SIGKILL at each step that is announced" at_each_step
test "SIGKILL before a command" at_commands
test "SIGKILL at random instants" at_random_instants 2
test "Ctrl-C goes back" signal_goes_back INT
test "a closed terminal goes back" signal_goes_back HUP
test "a reader that goes away" reader_goes_away
test "a second installer at the same time" second_is_told
test "another service that is cut off" other_service_is_cut
test "two cuts in a row" two_cuts_in_a_row
test "an uninstall that is cut at its end" uninstall_is_cut_at_its_end
test "an uninstall that is cut" uninstall_is_cut
test "a first install that is cut" first_install_is_cut
test "a purge leaves no trace" purge_leaves_no_trace "$SCRATCH/before"
