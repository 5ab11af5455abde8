# Makes the host agree with a release, whatever state it is in. It is the only code that changes a live host: an install, an
# upgrade, a repair, a rollback and an uninstall are calls of it. Cut at any instant, it is finished by the next call,
# with whatever release, forward. Nothing on the way deletes data or what a person has made.
#
# Call it bare: under `if`, `||` or `&&` a command that fails would not end it.

# RELEASE and PLAN: what is being activated, and what has to change for it. CHANGED: this run has changed something.
# ROLLING_BACK: this is the way back.
RELEASE='' PLAN='' CHANGED='' ROLLING_BACK='' DRY_RUN=''

activate() {
  local part
  RELEASE=$1
  PLAN=$(plan "$RELEASE")
  [[ -n $ROLLING_BACK ]] || print_plan
  [[ -z $DRY_RUN ]] || return 0
  if is_needed; then
    begin_activation
    for part in "${UNIT_GROUPS[@]}"; do
      if [[ -e $INCOMPLETE/$part || -n $(changes "$part") || $RELEASE == "$EMPTY_RELEASE" ]]; then update_group "$part"; fi
    done
    finish_activation
  fi
  remove_unused
  # The target comes last, when all that it would start is there.
  [[ $RELEASE == "$EMPTY_RELEASE" ]] || for part in "${UNIT_GROUPS[@]:1}" stack; do start_group "$part"; done
}

is_needed() { [[ ! $OPT/current -ef $RELEASE || -L $OPT/pending || -n $(changes) ]] || compgen -G "$INCOMPLETE/*" >/dev/null; }

# changes [PART]: the lines of the plan that are to be done.
changes() { grep -E "^${1-[^ ]+} (write|remove|link) " <<<"$PLAN" || :; }

# Says what a person has made of shipped files, which stays so, and with --dry-run what would be done.
print_plan() {
  local part action path file
  while read -r part action path; do
    file=$(installed_path "$path")
    case $action:$DRY_RUN in
    modified:*) say "    kept as it is: $file; what is shipped: diff $file $OPT/current/$path" ;;
    deleted:*) say "    stays deleted: $file; to have it back: cp $OPT/current/$path $file" ;;
    *:1) say "    would stop $(units_of "$part"), and $action $file" ;;
    esac
  done < <(grep . <<<"$PLAN")
}

begin_activation() {
  local path
  mkdir -p "$STATE" "$ETC" "$INCOMPLETE"
  if [[ ! -L $OPT/pending ]]; then
    rm -rf "$(grafana_data)"/database-backup*
    find "$(alloy_data)" -name wal-backup -prune -exec rm -rf {} + 2>/dev/null || :
    for path in $(shipped "$OPT/current"); do exists "$(installed_path "$path")" || echo "$path"; done >"$STATE/deleted"
    sync "$STATE/deleted"
  fi
  set_link "$OPT/pending" "releases/${RELEASE##*/}"
  CHANGED=1
  [[ $RELEASE == "$EMPTY_RELEASE" ]] || selinux_allow_proxy on
}

# update_group PART: it is stopped before anything of it changes (stop_group has the exception), so that no program sees another version's files.
update_group() {
  local action path
  say "    $1"
  mark_incomplete "$1"
  stop_group "$1"
  while read -r _ action path; do
    case $action in
    write) write_file "$path" ;;
    remove) remove_file "$path" ;;
    link) link_program "$path" "$1" ;;
    esac
  done < <(changes "$1")
  systemctl daemon-reload
  if [[ $RELEASE != "$EMPTY_RELEASE" ]]; then
    enable_new_units "$1"
    [[ $1 == stack ]] || start_group "$1"
  fi
  rm -f "$INCOMPLETE/$1"
}

# write_file PATH: a power cut leaves the old file or the new one.
write_file() {
  local file part
  file=$(installed_path "$1") part=${file%/*}/.metrics-stack.part
  mkdir -p "${file%/*}"
  cp "$RELEASE/$1" "$part"
  replace_file "$part" "$file"
}

remove_file() {
  local file
  file=$(installed_path "$1")
  [[ $1 != systemd/* || $1 == systemd/*/* ]] || stop_units "${1#systemd/}"
  rm -f "$file"
  sync "${file%/*}"
  # Where a person has drop-ins, the folder stays.
  [[ $1 != systemd/*/* ]] || rmdir "${file%/*}" 2>/dev/null || :
}

# link_program TREE COMPONENT
link_program() {
  [[ $2 != grafana ]] || change_database "$1"
  [[ $2 != alloy ]] || set_wal_aside "$1"
  if [[ -n $1 ]]; then
    set_link "$OPT/$2" "$1"
  else
    # For the check of what has run on the data; no reason to fail where the disk is full.
    { readlink "$OPT/$2" >"$STATE/last-version-$2" && sync "$STATE/last-version-$2"; } || :
    rm -f "$OPT/$2"
  fi
}

# enable_new_units PART: only what this release brings to the host. A person's `disable` of what was there before stays.
enable_new_units() {
  local unit
  for unit in $(units_of "$1"); do
    [[ -f $UNIT_DIR/$unit && ! -e $OPT/current/systemd/$unit ]] || continue
    systemctl --quiet enable "$unit"
    sync "$UNIT_DIR"/*.wants
  done
}

finish_activation() {
  local unit
  if [[ $RELEASE == "$EMPTY_RELEASE" ]]; then
    rm -f "$OPT/current"
    selinux_allow_proxy off
  else
    set_link "$OPT/current" "releases/${RELEASE##*/}"
  fi
  # What this release has not is enabled no more, though a person has edited it and it stays. Nothing that was cut off is left.
  for unit in "$UNIT_DIR"/*.wants/metrics-*; do
    [[ -e $RELEASE/systemd/${unit##*/} ]] || ! is_known "${unit##*/}" || rm -f "$unit"
  done
  rmdir "$UNIT_DIR/metrics-stack.target.wants" 2>/dev/null || :
  find "$ETC/" "$UNIT_DIR/" -name '.metrics-stack.*' -printf '%h\0' -delete | xargs --null --no-run-if-empty sync
  find "$OPT" -maxdepth 1 -type l -name '*.part' -delete
  rm -f "$OPT/pending" "$INCOMPLETE"/*
  sync "$OPT"
  systemctl daemon-reload
}

# Takes away releases that are not current, or after an uninstall only their empty folders, and the credentials and trees that no
# release names.
remove_unused() {
  local thing path named
  for thing in "$RELEASES"/*; do
    [[ -d $thing && ! -L $OPT/pending && ! $thing -ef $OPT/current ]] || continue
    while read -r path; do rmdir "$ETC/$path" 2>/dev/null || :; done < <(find "$thing/etc" -depth -type d -printf '%P\n')
    [[ ! -L $OPT/current ]] || discard "$thing"
  done
  for thing in "$STATE"/credentials/*; do
    grep --quiet --no-messages --fixed-strings "$thing" "$RELEASES"/*/options || rm -rf "$thing"
  done
  rmdir "$STATE/credentials" 2>/dev/null || :
  named=$(readlink "$OPT"/* "$OPT"/{current,pending}/*) || :
  for thing in "$STORE"/*; do
    [[ ! -e $thing/.manifest || $named == *"$thing"* ]] || discard "$thing"
  done
}
