# Runs that are cut off, and what the next one has to make of it; `converges` needs lib/releases.sh.
# shellcheck shell=bash

# start_run COMMAND...: in a session of its own, as on a terminal; JOB is this host's process for it.
start_run() {
  # Not by the job, before which somebody might look.
  : >"$SCRATCH/run"
  in_container setsid "$@" >>"$SCRATCH/run" 2>&1 &
  JOB=$!
}
child_of() { tr -d ' ' <"/proc/$1/task/$1/children" 2>/dev/null; }
# send_signal SIGNAL [all]: to the run, or to all that it has started, too. The run is the child of nsenter.
send_signal() {
  local run
  run=$(child_of "$(child_of "$JOB")") || return 0
  kill -s "$1" -- "${2:+-}$run" 2>/dev/null || :
}
# resume: after STOP; nsenter stands still with the run.
resume_run() {
  kill -s CONT "$(child_of "$JOB")"
  send_signal CONT all
}
has_printed() { grep -q -x -e "$1" "$SCRATCH/run" || is_gone "$JOB"; }
# What is left of a run holds the lock, too.
has_ended() { in_container sh -c '[ ! -e /run/metrics-stack/lock ] || flock --nonblock /run/metrics-stack/lock true'; }

# wait_until WHEN: a line of its output, or seconds.
wait_until() {
  case $1 in
  [0-9]*) sleep "$1" ;;
  *) eventually 60 has_printed "$1" ;;
  esac
}

# interrupt WHEN SIGNAL COMMAND...
interrupt() {
  start_run "${@:3}"
  wait_until "$1"
  if [[ $2 == KILL ]] && ((RANDOM % 2)); then send_signal KILL; else send_signal "$2" all; fi
  wait "$JOB" || :
  eventually 30 has_ended
}

# interrupt_before WORDS COMMAND...: by SIGKILL, just before the first command of the scripts in which the words stand.
interrupt_before() {
  # shellcheck disable=SC2016  # for the shell in there
  start_run env METRICS_STACK_ENV=clean LC_ALL=C HOME=/root SUDO_USER= WORDS="$1" /bin/bash -c 'set -o functrace
    trap "[[ \$BASH_COMMAND != *\"\$WORDS\"* ]] || kill -KILL \$\$" DEBUG
    . "$0"' "${@:2}"
  wait "$JOB" && { echo "it was not cut before $1" && return 1; }
  eventually 30 has_ended
}

# run_until_verify COMMAND...: the run up to its verification, which other tests do.
run_until_verify() {
  start_run "$@"
  eventually 60 has_printed "==> verify"
  cat "$SCRATCH/run"
  contains "$(<"$SCRATCH/run")" "==> verify"
  send_signal TERM all
  wait "$JOB" || :
  eventually 30 has_ended
}

# What a person has made of the host.
make_edits() {
  in_container sh -c 'sed -i s/15d/6d/ /etc/metrics-stack/prometheus/retention.env && echo "groups: []" >/etc/metrics-stack/prometheus/rules/mine.yml &&
    rm /etc/metrics-stack/targets.d/example.yml.disabled'
  in_container systemctl --quiet disable --now metrics-alloy-ui.socket metrics-alloy-ui.service
  get 3001/api/user/password --user admin:admin --request PUT --json '{"oldPassword":"admin","newPassword":"a long one","confirmNew":"a long one"}'
}
edits_are_kept() {
  contains "$(in_container cat /etc/metrics-stack/prometheus/retention.env)" 6d
  in_container test -e /etc/metrics-stack/prometheus/rules/mine.yml -a ! -e /etc/metrics-stack/targets.d/example.yml.disabled
  equal "Alloy's UI" "$(in_container systemctl is-enabled metrics-alloy-ui.socket || :)" disabled
  get 3001/api/org --user "admin:a long one" >/dev/null
}

# select_release this|next: leaves in SWITCH_COMMAND the command.
select_release() { if [[ $1 == next ]]; then SWITCH_COMMAND=("${INSTALL_NEXT[@]}" --allow-downgrade); else SWITCH_COMMAND=("${INSTALL[@]}" --allow-downgrade); fi; }
other_release() { if [[ $1 == next ]]; then echo this; else echo next; fi; }

# The host of each release as it is when nothing is cut.
record_states() {
  local release
  for release in next this; do
    select_release "$release"
    run_until_verify "${SWITCH_COMMAND[@]}"
    host_state >"$SCRATCH/state-$release"
  done
}

# converges this|next: and then all is as if nothing had been cut.
converges() {
  select_release "$1"
  run_until_verify "${SWITCH_COMMAND[@]}"
  host_state | diff "$SCRATCH/state-$1" - || { echo "< it should be, > it is" && return 1; }
  edits_are_kept
  runs_from_store
  equal "what is half done" "$(in_container sh -c 'ls /run/metrics-stack/incomplete; ls /opt/metrics-stack/pending 2>/dev/null' || :)" ""
}

# at_random_instants COUNT: in a switch from one release to the other, which is over within seven seconds.
at_random_instants() {
  local i when from to
  from=$(if [[ $(in_container readlink /opt/metrics-stack/current) == *99.0.0* ]]; then echo next; else echo this; fi)
  for ((i = 0; i < $1; i++)); do
    when=$((RANDOM % 7)).$((RANDOM % 10))
    echo "cut after $when s"
    select_release "$(other_release "$from")"
    interrupt "$when" KILL "${SWITCH_COMMAND[@]}"
    if ((RANDOM % 2)); then to=$from; else to=$(other_release "$from"); fi
    converges "$to"
    from=$to
  done
  measured "$i of $i"
}
