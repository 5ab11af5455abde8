# The undo log: one line for each change to the host, on the disk before the change is made. A run that fails replays it
# backwards; one that was cut off (kill -9, power) leaves it for the next install.sh or uninstall.sh to replay.
#
#   remove PATH            PATH did not exist
#   rmdir PATH             the folder did not exist; taken away only when empty
#   restore PATH COPY      PATH was as COPY is
#   link PATH TARGET       the symlink pointed to TARGET
#   state COMPONENT        systemd had not made the component's state folder yet
#   enable UNIT            the unit was not enabled
#   run UNIT STATE         the unit was active or inactive
#
# shellcheck shell=bash

note() {
  [[ -d $RUN ]] || mkdir -p "$RUN"
  local IFS=$'\t'
  printf '%s\n' "$*" >>"$UNDO"
  sync "$UNDO"
}

make_dir() {
  [[ -d $1 ]] && return
  make_dir "${1%/*}"
  note rmdir "$1"
  mkdir "$1"
}

# put_file SOURCE DESTINATION: replaces the destination in one step.
put_file() {
  make_dir "${2%/*}"
  if [[ -e $2 ]]; then
    local copy
    copy=$(mktemp "$RUN/before.XXXXXX")
    cp --archive "$2" "$copy"
    note restore "$2" "$copy"
  else
    note remove "$2"
  fi
  install -m 0644 "$1" "$2.part"
  mv -f "$2.part" "$2"
}

# point LINK TARGET: lets the symlink point there, in one step.
point() {
  if [[ -L $1 ]]; then note link "$1" "$(readlink "$1")"; else note remove "$1"; fi
  ln -sfn "$2" "$1.part"
  mv -fT "$1.part" "$1"
}

# An undo log is there, and is for us to replay: without root nothing is.
interrupted() { [[ -s $UNDO && -w $UNDO ]]; }

# Fails when all is back but some unit that ran before does not start.
undo_all() {
  local action path argument restart=() status=0
  while IFS=$'\t' read -r action path argument; do
    case $action in
    remove) rm -rf "$path" "$path.part" ;;
    rmdir) rmdir "$path" 2>/dev/null || : ;;
    restore) if [[ -e $argument ]]; then mv -f "$argument" "$path"; fi && rm -f "$path.part" ;;
    link) ln -sfn "$argument" "$path.part" && mv -fT "$path.part" "$path" ;;
    state) forget_state "$path" ;;
    enable) systemctl --quiet disable "$path" 2>/dev/null || : ;;
    run)
      case $argument in
      active) restart=("$path" "${restart[@]}") ;;
      *) systemctl stop "$path" 2>/dev/null || : ;;
      esac
      ;;
    esac
  done < <(tac "$UNDO")
  forget_units
  # In the order in which they were started the first time.
  ((${#restart[@]} == 0)) || systemctl restart "${restart[@]}" || status=1
  rm -rf "$UNDO" "$RUN"/before.* "$RUN/stage" "$RECEIPT.new"
  if [[ ! -e $RECEIPT ]]; then
    rm -rf "$RUN"
    rmdir "$VAR" 2>/dev/null || :
  fi
  return "$status"
}

# Lets systemd forget units whose files are gone.
forget_units() {
  systemctl daemon-reload
  systemctl reset-failed 'metrics-*' 2>/dev/null || :
}

# The component's data, where systemd keeps it for DynamicUser= and the symlink to it.
forget_state() {
  rm -rf "${PRIVATE:?}/metrics-stack/$1" "${VAR:?}/$1"
  rmdir "$PRIVATE/metrics-stack" 2>/dev/null || :
}
