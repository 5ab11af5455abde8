# Interrupted runs, and checks of the run after them. `converges` needs lib/releases.sh.
# shellcheck shell=bash

# start_run COMMAND...: starts it in a session of its own, as on a terminal. Leaves in JOB this
# host's process for it, and writes its output to $SCRATCH/run.
start_run() {
  # Not by the job: the file must exist before anybody reads it.
  : >"$SCRATCH/run"
  in_container setsid "$@" >>"$SCRATCH/run" 2>&1 &
  JOB=$!
}
child_of() { tr -d ' ' <"/proc/$1/task/$1/children" 2>/dev/null; }
# send_signal SIGNAL [all]: to the run, or to its whole session. The run is nsenter's child.
send_signal() {
  local run
  run=$(child_of "$(child_of "$JOB")") || return 0
  kill -s "$1" -- "${2:+-}$run" 2>/dev/null || :
}
# resume_run: after SIGSTOP, which also stops nsenter.
resume_run() {
  kill -s CONT "$(child_of "$JOB")"
  send_signal CONT all
}
has_printed() { grep -q -x -e "$1" "$SCRATCH/run" || is_gone "$JOB"; }
# Every process of a run holds its lock.
has_ended() {
  in_container sh -c \
    '[ ! -e /run/metrics-stack/lock ] || flock --nonblock /run/metrics-stack/lock true'
}

# wait_until WHEN: a line of the run's output, its `end`, or seconds.
wait_until() {
  case $1 in
  [0-9]*) sleep "$1" ;;
  end) eventually 120 has_ended ;;
  *)
    eventually 300 has_printed "$1"
    grep -q -x -e "$1" "$SCRATCH/run" || { cat "$SCRATCH/run" && echo "no line $1" && return 1; }
    ;;
  esac
}

# interrupt WHEN SIGNAL COMMAND...
interrupt() {
  start_run "${@:3}"
  wait_until "$1"
  if [[ $2 == KILL ]] && ((RANDOM % 2)); then send_signal KILL; else send_signal "$2" all; fi
  wait "$JOB" || :
  wait_until end
}

# interrupt_before WORDS COMMAND...: sends SIGKILL before the first command that contains the words.
interrupt_before() {
  # shellcheck disable=SC2016  # for the shell in the container
  start_run env METRICS_STACK_ENV=clean LC_ALL=C HOME=/root SUDO_USER= WORDS="$1" /bin/bash -c '
    set -o functrace
    trap "[[ \$BASH_COMMAND != *\"\$WORDS\"* ]] || kill -KILL \$\$" DEBUG
    . "$0"' "${@:2}"
  local status=0
  wait "$JOB" || status=$?
  equal "status of a run killed before $1" "$status" 137
  wait_until end
}

# run_until_verify COMMAND...: runs an install up to its verification, which other tests cover.
run_until_verify() {
  start_run "$@"
  wait_until "==> verify"
  cat "$SCRATCH/run"
  send_signal TERM all
  wait "$JOB" || :
  wait_until end
}

change_grafana_password() {
  get 3001/api/user/password --user admin:admin --request PUT --json \
    '{"oldPassword":"admin","newPassword":"a long one","confirmNew":"a long one"}'
}
new_password_works() { get 3001/api/org --user "admin:a long one" >/dev/null; }

# Edits of an administrator.
make_edits() {
  in_container sh -c 'sed -i s/15d/6d/ /etc/metrics-stack/prometheus/retention.env &&
    echo "groups: []" >/etc/metrics-stack/prometheus/rules/mine.yml &&
    rm /etc/metrics-stack/targets.d/example.yml.disabled'
  in_container systemctl --quiet disable --now metrics-alloy-ui.socket metrics-alloy-ui.service
  change_grafana_password
}
edits_are_kept() {
  contains "$(in_container cat /etc/metrics-stack/prometheus/retention.env)" 6d
  in_container test -e /etc/metrics-stack/prometheus/rules/mine.yml \
    -a ! -e /etc/metrics-stack/targets.d/example.yml.disabled
  equal "Alloy's UI" "$(in_container systemctl is-enabled metrics-alloy-ui.socket || :)" disabled
  new_password_works
}

# select_release this|next: leaves in SWITCH_COMMAND the command that installs it.
select_release() {
  SWITCH_COMMAND=("${INSTALL[@]}" --allow-downgrade)
  [[ $1 != next ]] || SWITCH_COMMAND=("${INSTALL_NEXT[@]}" --allow-downgrade)
}
other_release() { if [[ $1 == next ]]; then echo this; else echo next; fi; }
current_release() {
  if [[ $(in_container readlink /opt/metrics-stack/current) == *99.0.0* ]]; then
    echo next
  else
    echo this
  fi
}

# Records the state of the host after an uninterrupted install of each release.
record_states() {
  local release
  for release in next this; do
    select_release "$release"
    run_until_verify "${SWITCH_COMMAND[@]}"
    host_state >"$SCRATCH/state-$release"
  done
}

# converges this|next: installs it, and checks that no trace of an interrupted run is left.
converges() {
  select_release "$1"
  run_until_verify "${SWITCH_COMMAND[@]}"
  host_state | diff "$SCRATCH/state-$1" - || { echo "< expected, > actual" && return 1; }
  edits_are_kept
  runs_from_store
  equal "incomplete files" "$(in_container sh -c \
    'ls /run/metrics-stack/incomplete; ls /opt/metrics-stack/pending 2>/dev/null' || :)" ""
}

# at_random_instants COUNT: interrupts switches between the releases, which take up to 7 s.
at_random_instants() {
  local i when from to
  from=$(current_release)
  for ((i = 0; i < $1; i++)); do
    when=$((RANDOM % 7)).$((RANDOM % 10))
    echo "interrupted after $when s"
    select_release "$(other_release "$from")"
    interrupt "$when" KILL "${SWITCH_COMMAND[@]}"
    if ((RANDOM % 2)); then to=$from; else to=$(other_release "$from"); fi
    converges "$to"
    from=$to
  done
  measured "$i of $i"
}
