# Runs that are cut off, and what the next one has to make of it; `converges` needs lib/releases.sh.
# shellcheck shell=bash

# begin COMMAND...: in a session of its own, as on a terminal; JOB is this host's process for it.
begin() {
  # Not by the job, before which somebody might look.
  : >"$SCRATCH/cut"
  in_container setsid "$@" >>"$SCRATCH/cut" 2>&1 &
  JOB=$!
}
child_of() { tr -d ' ' <"/proc/$1/task/$1/children" 2>/dev/null; }
# send SIGNAL [all]: to the run, or to all that it has started, too. The run is the child of nsenter.
send() {
  local run
  run=$(child_of "$(child_of "$JOB")") || return 0
  kill -s "$1" -- "${2:+-}$run" 2>/dev/null || :
}
# resume: after STOP; nsenter stands still with the run.
resume() {
  kill -s CONT "$(child_of "$JOB")"
  send CONT all
}
announced() { grep -q -x -e "$1" "$SCRATCH/cut" || is_gone "$JOB"; }
# What is left of a run holds the lock, too.
has_ended() { in_container sh -c '[ ! -e /run/metrics-stack/lock ] || flock --nonblock /run/metrics-stack/lock true'; }

# wait_until WHEN: a line that is announced, or seconds.
wait_until() {
  case $1 in
  [0-9]*) sleep "$1" ;;
  *) eventually 60 announced "$1" ;;
  esac
}

# cut_off WHEN SIGNAL COMMAND...
cut_off() {
  begin "${@:3}"
  wait_until "$1"
  if [[ $2 == KILL ]] && ((RANDOM % 2)); then send KILL; else send "$2" all; fi
  wait "$JOB" || :
  eventually 30 has_ended
}

# cut_before WORDS COMMAND...: by SIGKILL, just before the first command of the scripts in which the words stand.
cut_before() {
  # shellcheck disable=SC2016  # for the shell in there
  begin env METRICS_STACK_ENV=clean LC_ALL=C HOME=/root SUDO_USER= WORDS="$1" /bin/bash -c 'set -o functrace
    trap "[[ \$BASH_COMMAND != *\"\$WORDS\"* ]] || kill -KILL \$\$" DEBUG
    . "$0"' "${@:2}"
  wait "$JOB" && { echo "it was not cut before $1" && return 1; }
  eventually 30 has_ended
}

# goes_on COMMAND...: the run up to its verification, which other tests do.
goes_on() {
  begin "$@"
  eventually 60 announced "==> verify"
  cat "$SCRATCH/cut"
  contains "$(<"$SCRATCH/cut")" "==> verify"
  send TERM all
  wait "$JOB" || :
  eventually 30 has_ended
}

# What a person has made of the host.
mine() {
  in_container sh -c 'sed -i s/15d/6d/ /etc/metrics-stack/prometheus/retention.env && echo "groups: []" >/etc/metrics-stack/prometheus/rules/mine.yml &&
    rm /etc/metrics-stack/targets.d/example.yml.disabled'
  in_container systemctl --quiet disable --now metrics-alloy-ui.socket metrics-alloy-ui.service
  get 3001/api/user/password --user admin:admin --request PUT --json '{"oldPassword":"admin","newPassword":"a long one","confirmNew":"a long one"}'
}
is_mine() {
  contains "$(in_container cat /etc/metrics-stack/prometheus/retention.env)" 6d
  in_container test -e /etc/metrics-stack/prometheus/rules/mine.yml -a ! -e /etc/metrics-stack/targets.d/example.yml.disabled
  equal "Alloy's UI" "$(in_container systemctl is-enabled metrics-alloy-ui.socket || :)" disabled
  get 3001/api/org --user "admin:a long one" >/dev/null
}

# switch_to this|next: leaves in SWITCH the command.
switch_to() { if [[ $1 == next ]]; then SWITCH=("${INSTALL_NEXT[@]}" --allow-downgrade); else SWITCH=("${INSTALL[@]}" --allow-downgrade); fi; }
other() { if [[ $1 == next ]]; then echo this; else echo next; fi; }

# The host of each release as it is when nothing is cut.
learn() {
  local release
  for release in next this; do
    switch_to "$release"
    goes_on "${SWITCH[@]}"
    state >"$SCRATCH/state-$release"
  done
}

# converges this|next: and then all is as if nothing had been cut.
converges() {
  switch_to "$1"
  goes_on "${SWITCH[@]}"
  state | diff "$SCRATCH/state-$1" - || { echo "< it should be, > it is" && return 1; }
  is_mine
  runs_from_its_trees
  equal "what is half done" "$(in_container sh -c 'ls /run/metrics-stack/incomplete; ls /opt/metrics-stack/pending 2>/dev/null' || :)" ""
}

# at_random_instants COUNT: in a switch from one release to the other, which is over within seven seconds.
at_random_instants() {
  local i when from to
  from=$(if [[ $(in_container readlink /opt/metrics-stack/current) == *99.0.0* ]]; then echo next; else echo this; fi)
  for ((i = 0; i < $1; i++)); do
    when=$((RANDOM % 7)).$((RANDOM % 10))
    echo "cut after $when s"
    switch_to "$(other "$from")"
    cut_off "$when" KILL "${SWITCH[@]}"
    if ((RANDOM % 2)); then to=$from; else to=$(other "$from"); fi
    converges "$to"
    from=$to
  done
  measured "$i of $i"
}
