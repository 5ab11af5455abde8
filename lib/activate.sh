# Makes the host match a release (see plan.sh). Installs, upgrades, repairs, rollbacks and
# uninstalls all call activate. Only it, purge and password stop units. After an interruption the
# next call completes the work.
#
# Do not call it under `if`, `||` or `&&`: bash would ignore errors in it.

activate() {
  local group
  RELEASE=$1
  PLAN=$(plan "$RELEASE")
  [[ -n $ROLLING_BACK ]] || print_plan
  [[ -z $DRY_RUN ]] || return 0
  if is_needed; then
    begin_activation
    for group in "${UNIT_GROUPS[@]}"; do
      if [[ -e $INCOMPLETE/$group || -n $(changes "$group") || $RELEASE == "$EMPTY_RELEASE" ]]; then
        update_group "$group"
      else
        # A power loss might have interrupted its update here.
        enable_new_units "$group"
      fi
    done
    finish_activation
  fi
  remove_unused
  if [[ $RELEASE != "$EMPTY_RELEASE" ]]; then
    # Units that run already are left alone. The target is last, because it starts everything.
    for group in "${UNIT_GROUPS[@]:1}" stack; do start_group "$group"; done
  fi
}

is_needed() {
  [[ ! $OPT/current -ef $RELEASE || -L $OPT/pending || -n $(changes) ]] ||
    compgen -G "$INCOMPLETE/*" >/dev/null
}

# changes [GROUP]: prints the plan's write, remove and link lines.
changes() { grep -E "^${1-[^ ]+} (write|remove|link) " <<<"$PLAN" || :; }

# print_plan: lists shipped files you edited or deleted, and with --dry-run the changes.
print_plan() {
  local group action path file stop units
  while read -r group action path; do
    file=$(installed_path "$path") stop=''
    if [[ -z $path ]]; then action=remove file=$OPT/$group; fi
    # The target and the service stay up (see stop_group).
    if [[ -n $DRY_RUN && $group != @(stack|metrics-service) ]]; then
      units=$(units_of "$group")
      # shellcheck disable=SC2086  # units are words
      ! is_active $units || stop="stop $units, and "
    fi
    case $action:$DRY_RUN in
    modified:*) say "    keeping your changes to $file; compare: diff $file $OPT/current/$path" ;;
    deleted:*)
      say "    not restoring $file, which you deleted; to restore: sudo cp $OPT/current/$path $file"
      ;;
    *:1) say "    would $stop$action $file" ;;
    esac
  done < <(grep . <<<"$PLAN")
  if [[ -n $DRY_RUN && -L $OPT/pending ]]; then
    say "    would complete an interrupted run"
  elif [[ -n $DRY_RUN && -z $(changes) ]]; then
    say "    would change nothing else"
  fi
}

begin_activation() {
  local path
  mkdir -p "$STATE" "$ETC"
  # A new activation deletes the previous one's backups. Once `pending` exists, a missing file can
  # also be one that we removed, so first list those that the administrator deleted.
  if [[ ! -L $OPT/pending ]]; then
    rm -rf "$(data_of grafana)"/database-backup{,.part}
    find "$(data_of alloy)" -name wal-backup -prune -exec rm -rf {} + 2>/dev/null || :
    for path in $(shipped "$OPT/current"); do
      exists "$(installed_path "$path")" || echo "$path"
    done >"$STATE/deleted"
    sync "$STATE/deleted"
  fi
  set_link "$OPT/pending" "releases/${RELEASE##*/}"
  CHANGED=1
  [[ $RELEASE == "$EMPTY_RELEASE" ]] || selinux_allow_proxy on
}

# update_group GROUP: stops it, changes its files and starts it, so no program sees files of two
# versions. (metrics-service runs until start_group restarts it.)
update_group() {
  local action path
  say "    $1"
  mark_incomplete "$1"
  stop_group "$1"
  while read -r _ action path; do
    case $action in
    write) write_file "$path" ;;
    remove) remove_file "$path" ;;
    link) link_component "$1" "$path" ;;
    esac
  done < <(changes "$1")
  systemctl daemon-reload
  if [[ $RELEASE != "$EMPTY_RELEASE" ]]; then
    enable_new_units "$1"
    [[ $1 == stack ]] || start_group "$1"
  fi
  rm -f "$INCOMPLETE/$1"
}

write_file() {
  local file part
  file=$(installed_path "$1") part=${file%/*}/.metrics-stack.part
  # An edit since the plan stays.
  ! exists "$file" || is_unmodified "$1" || return 0
  mkdir -p "${file%/*}"
  cp "$RELEASE/$1" "$part"
  replace_file "$part" "$file"
}

remove_file() {
  local file
  file=$(installed_path "$1")
  is_unmodified "$1" || return 0
  [[ $1 != systemd/* || $1 == systemd/*/* ]] || stop_units "${1#systemd/}"
  rm -f "$file"
  sync "${file%/*}"
  # A drop-in directory stays if it has other drop-ins.
  [[ $1 != systemd/*/* ]] || rmdir "${file%/*}" 2>/dev/null || :
}

# link_component COMPONENT [STORE-PATH]: without a path it removes the link.
link_component() {
  case $1 in
  grafana) change_database "$2" ;;
  alloy) set_wal_aside "$2" ;;
  esac
  if [[ -n $2 ]]; then
    set_link "$OPT/$1" "$2"
  else
    # For the downgrade check of a later install. A full disk might make this fail: no harm.
    { readlink "$OPT/$1" >"$STATE/last-version-$1" && sync "$STATE/last-version-$1"; } || :
    rm -f "$OPT/$1"
  fi
}

# enable_new_units GROUP: enables units new in this release; units you disabled stay disabled.
enable_new_units() {
  local unit
  for unit in $(units_of "$1"); do
    if [[ -f $UNIT_DIR/$unit && ! -e $OPT/current/systemd/$unit ]]; then
      systemctl --quiet enable "$unit"
      sync "$UNIT_DIR"/*.wants
    fi
  done
}

finish_activation() {
  local unit
  if [[ $RELEASE == "$EMPTY_RELEASE" ]]; then
    rm -f "$OPT/current"
    sync "$OPT"
    selinux_allow_proxy off
  else
    set_link "$OPT/current" "releases/${RELEASE##*/}"
  fi
  # Units not in this release are disabled, even if you edited them and the file stays.
  for unit in "$UNIT_DIR"/*.wants/metrics-*; do
    [[ -e $RELEASE/systemd/${unit##*/} ]] || ! is_known "${unit##*/}" || rm -f "$unit"
  done
  rmdir "$UNIT_DIR/metrics-stack.target.wants" 2>/dev/null || :
  find "$ETC/" "$UNIT_DIR/" -name '.metrics-stack.*' -printf '%h\0' -delete |
    xargs --null --no-run-if-empty sync
  rm -f "$OPT/pending" "$INCOMPLETE"/*
  sync "$OPT"
  systemctl daemon-reload
}

# remove_unused: deletes releases that are not active, and credentials and store paths that no
# release uses. After an uninstall the releases stay; only their empty directories in /etc go.
remove_unused() {
  local item path used
  for item in "$RELEASES"/*; do
    if [[ -d $item && ! -L $OPT/pending && ! $item -ef $OPT/current ]]; then
      while read -r path; do
        [[ -d $OPT/current/etc/$path ]] || rmdir "$ETC/$path" 2>/dev/null || :
      done < <(find "$item/etc" -depth -type d -printf '%P\n')
      [[ ! -L $OPT/current ]] || discard "$item"
    fi
  done
  for item in "$STATE"/credentials/*; do
    grep --quiet --no-messages --fixed-strings "$item" "$RELEASES"/*/options || rm -rf "$item"
  done
  rmdir "$STATE/credentials" 2>/dev/null || :
  used=$(readlink "$OPT"/* "$OPT"/{current,pending}/*) || :
  for item in "$STORE"/*; do
    [[ ! -e $item/.manifest || $used == *"$item"* ]] || discard "$item"
  done
}
