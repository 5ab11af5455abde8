# What is taken away when nothing is active any more, and by a purge.

# What no run that was cut off, or that is over, has any use of.
remove_leftovers() { rm -rf "$RUN"/{release,stage,credentials} "$RELEASES"/.{new,old} "$STORE"/.{new,old,service}; }

# empty DIRECTORY: deletes it and its content. A mount point or a symlink to a directory stays.
empty() {
  find "$1/" -mindepth 1 -delete 2>/dev/null || :
  rmdir "$1" 2>/dev/null || :
}
has_files() { [[ -n $(find "$1/" ! -type d -print -quit 2>/dev/null) ]]; }

# Where nothing is active and nothing of a person's is left, the last release and our notes go, too.
remove_traces() {
  [[ ! -L $OPT/current && ! -L $OPT/pending ]] || return 0
  rm -rf "$RUN"
  if ! has_files "$ETC" && [[ -z $(edited_units)$(find "$VAR" -mindepth 1 -maxdepth 1 ! -name install 2>/dev/null) ]]; then
    empty "$RELEASES"
    empty "$VAR"
  fi
  rmdir "$STORE" "$RELEASES" "$OPT" "$PRIVATE/metrics-stack" 2>/dev/null || :
}

# Writes nothing, as the disk may be full.
purge() {
  local unit units folder folders=("$ETC" "$PRIVATE/metrics-stack" "$LOGS" "$OPT" "$VAR" "$CACHE")
  mapfile -t units < <({ printf 'systemd/%s\n' "${UNITS[@]}" && shipped "$RELEASES"/* | grep '^systemd/[^/]*$'; } | sort -u | sed 's,^systemd/,,')
  stop_units metrics-stack.target metrics-service.socket metrics-alloy-ui.socket "${units[@]}"
  for unit in "${units[@]}"; do
    rm -rf "${UNIT_DIR:?}/$unit" "$UNIT_DIR"/*.wants/"$unit" {"$UNIT_DIR",/etc/systemd/system.control,/run/systemd/{system,system.control}}/"$unit".{d,wants}
  done
  rm -f "$UNIT_DIR/.metrics-stack.part"
  systemctl daemon-reload
  systemctl reset-failed 'metrics-*' 2>/dev/null || :
  selinux_allow_proxy off
  PURGED_PACKAGES=$(packages)
  # Each can be on a disk of its own, by a mount or a symlink.
  for folder in "$PRIVATE"/metrics-stack/* "$STORE" "$RELEASES" "${folders[@]}"; do
    empty "$folder"
    rm -rf "$folder" 2>/dev/null || :
  done
  name_left "${folders[@]}"
  rm -f /tmp/metrics-stack-login-*
}

# name_left DIRECTORY...: prints what a purge could not delete: mount points, and what is an error.
LEFT=''
name_left() {
  local path rest=()
  while read -r path; do
    if mountpoint --quiet "$path"; then say "kept: the mount point $path"; else rest+=("$path"); fi
  done < <(find "$@" \( ! -type d -o -empty \) 2>/dev/null)
  ((${#rest[@]} == 0)) || LEFT="${#rest[@]} files could not be deleted, the first is ${rest[0]}"
}

edited_units() { local unit && for unit in "${UNITS[@]}"; do ! exists "$UNIT_DIR/$unit" || echo "$UNIT_DIR/$unit"; done; }
packages() { [[ ! -e $STATE/packages ]] || sort -u "$STATE/packages" | paste -sd' '; }

print_kept() {
  local needed=${PURGED_PACKAGES-$(packages)}
  ! has_files "$ETC" || say "kept: configuration in $ETC, as a person edited or made it"
  [[ -z $(edited_units) ]] || say "kept: units that a person has edited: $(edited_units | paste -sd' ')"
  ! compgen -G "$STATE/credentials/*" >/dev/null || say "kept: where it forwards to, and what it logs in with there, in $RELEASES and $STATE"
  ! has_files "$PRIVATE/metrics-stack" || say "kept: data in $VAR"
  ! has_files "$LOGS" || say "kept: logs of installs in $LOGS; uninstall.sh --purge takes all of these"
  [[ -z $needed ]] || say "kept: the packages that the install needed: $needed"
  say "kept: what systemd's journal has of the units, and the build cache target/ in the checkout"
}
