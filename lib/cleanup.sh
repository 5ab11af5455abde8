# Removes temporary files, empty directories, and with --purge everything.

# Temporary files of interrupted runs.
remove_leftovers() {
  rm -rf "$STAGED" "$RUN/stage" "$RUN/credentials" "$RELEASES/.new" "$RELEASES/.old" \
    "$STORE/.new" "$STORE/.old" "$SERVICE_NEW" "$OPT"/*.part
}

# empty DIRECTORY: deletes it and its content. A mount point or a symlink to a directory stays.
empty() {
  find "$1/" -mindepth 1 -delete 2>/dev/null || :
  rmdir "$1" 2>/dev/null || :
}
has_files() { [[ -n $(find "$1/" ! -type d -print -quit 2>/dev/null) ]]; }

# Removes the installer's own files if no release is active. The last release stays while edited
# files do, because the next install compares them.
remove_traces() {
  local data
  [[ ! -L $OPT/current && ! -L $OPT/pending ]] || return 0
  rm -rf "$RUN"
  data=$(find "$VAR" -mindepth 1 -maxdepth 1 ! -name install 2>/dev/null) || :
  if ! has_files "$ETC" && [[ -z $(edited_units)$data ]]; then
    empty "$RELEASES"
    empty "$VAR"
  fi
  rmdir "$STORE" "$RELEASES" "$OPT" "$PRIVATE/metrics-stack" 2>/dev/null || :
}

# purge: removes everything. It writes nothing, because the disk might be full.
purge() {
  local unit directory directories units packages
  directories=("$ETC" "$PRIVATE/metrics-stack" "$LOGS" "$OPT" "$VAR" "$CACHE")
  mapfile -t units < <(
    printf '%s\n' "${UNITS[@]}"
    shipped "$RELEASES"/* | sed -n 's,^systemd/\([^/]*\)$,\1,p'
  )
  stop_group alloy
  stop_units "${units[@]}"
  # So that an install after an interruption restores what is gone.
  rm -f "$OPT/current"
  for unit in "${units[@]}"; do
    ! is_foreign "$unit" || continue
    rm -rf "${UNIT_DIR:?}/$unit" "$UNIT_DIR"/*.wants/"$unit"
    for directory in "$UNIT_DIR"{,.control} "$RUN_UNIT_DIR"{,.control}; do
      rm -rf "${directory:?}/$unit.d" "$directory/$unit.wants"
    done
  done
  rm -rf "$UNIT_DIR/.metrics-stack.part" "$LOGIN_MARK"-*
  systemctl daemon-reload
  selinux_allow_proxy off
  # Before the deletions, but printed after them: a closed output pipe must not end the purge.
  packages=$(print_packages)
  # Each can be a mount point or a symlink.
  for directory in "$PRIVATE"/metrics-stack/* "$STORE" "$RELEASES" "${directories[@]}"; do
    empty "$directory"
    rm -rf "$directory" 2>/dev/null || :
  done
  list_left "${directories[@]}"
  if [[ -n $packages ]]; then say "$packages"; fi
}

# list_left DIRECTORY...: prints mount points, and leaves other files in LEFT.
list_left() {
  local path left=()
  while read -r path; do
    if mountpoint --quiet "$path"; then say "kept: mount point $path"; else left+=("$path"); fi
  done < <(find "$@" \( ! -type d -o -empty \) 2>/dev/null)
  LEFT=${left[0]-}
}

# edited_units: prints the units and the directories of drop-ins that an uninstall keeps.
edited_units() {
  local unit
  for unit in "${UNITS[@]}" "${UNITS[@]/%/.d}"; do
    if exists "$UNIT_DIR/$unit"; then echo "$UNIT_DIR/$unit"; fi
  done
}
print_kept() {
  local units
  units=$(edited_units | paste -sd' ')
  if has_files "$ETC"; then say "kept: configuration you edited or added in $ETC"; fi
  if [[ -n $units ]]; then say "kept: units you edited, your drop-ins: $units"; fi
  if compgen -G "$RELEASES/*/options" >/dev/null; then
    say "kept: settings and credentials in $RELEASES and $STATE"
  fi
  if has_files "$PRIVATE/metrics-stack"; then say "kept: data in $VAR"; fi
  if has_files "$LOGS"; then
    say "kept: logs in $LOGS (uninstall.sh --purge removes all of this)"
  fi
  print_packages
  if [[ -d $ROOT/target ]]; then say "kept: the build cache $ROOT/target"; fi
  say "kept: journal entries"
}
print_packages() {
  if [[ -e $STATE/packages ]]; then
    say "kept: packages installed for it: $(sort -u "$STATE/packages" | paste -sd' ')"
  fi
}
