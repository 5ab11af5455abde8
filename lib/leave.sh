# What is taken away when nothing is active any more, and by a purge.

# What no run that was cut off, or that is over, has any use of.
remove_leftovers() { rm -rf "$RUN"/{release,stage,credentials} "$RELEASES"/.{new,old} "$TREES"/.{new,old,service}; }

# Where nothing is active and nothing of a person's is left, the last release and our notes go, too.
remove_traces() {
  [[ ! -L $OPT/current && ! -L $OPT/open ]] || return 0
  rm -rf "$RUN"
  if [[ ! -e $ETC && -z $(edited_units)$(find "$VAR" -mindepth 1 -maxdepth 1 ! -name install 2>/dev/null) ]]; then rm -rf "$RELEASES" "$VAR"; fi
  rmdir "$TREES" "$RELEASES" "$OPT" "$PRIVATE/metrics-stack" 2>/dev/null || :
}

# Writes nothing, as the disk may be full.
purge() {
  local unit units folder
  mapfile -t units < <({ printf 'systemd/%s\n' "${UNITS[@]}" && shipped "$RELEASES"/* | grep '^systemd/[^/]*$'; } | sort -u | sed 's,^systemd/,,')
  stop_units metrics-stack.target metrics-service.socket metrics-alloy-ui.socket "${units[@]}"
  for unit in "${units[@]}"; do
    rm -rf "${UNIT_DIR:?}/$unit" "$UNIT_DIR"/*.wants/"$unit" {"$UNIT_DIR",/etc/systemd/system.control,/run/systemd/{system,system.control}}/"$unit".{d,wants}
  done
  rm -f "$UNIT_DIR/.metrics-stack.part"
  systemctl daemon-reload
  systemctl reset-failed 'metrics-*' 2>/dev/null || :
  proxy_may off
  PURGED_PACKAGES=$(packages)
  for folder in "$ETC" "$PRIVATE/metrics-stack" "$LOGS" "$OPT" "$VAR" "$CACHE"; do
    # Where it is a link to one.
    find "$folder/" -mindepth 1 -delete 2>/dev/null || :
    rm -rf "$folder"
  done
  rm -f /tmp/metrics-stack-login-*
}

edited_units() { local unit && for unit in "${UNITS[@]}"; do ! is_there "$UNIT_DIR/$unit" || echo "$UNIT_DIR/$unit"; done; }
packages() { [[ ! -e $STATE/packages ]] || sort -u "$STATE/packages" | paste -sd' '; }

say_kept() {
  local needed=${PURGED_PACKAGES-$(packages)}
  [[ ! -d $ETC ]] || say "kept: configuration in $ETC, as a person edited or made it"
  [[ -z $(edited_units) ]] || say "kept: units that a person has edited: $(edited_units | paste -sd' ')"
  ! compgen -G "$STATE/credentials/*" >/dev/null || say "kept: where it forwards to, and what it logs in with there, in $RELEASES and $STATE"
  [[ ! -d $PRIVATE/metrics-stack ]] || say "kept: data in $VAR"
  [[ ! -d $LOGS ]] || say "kept: logs of installs in $LOGS; uninstall.sh --purge takes all of these"
  [[ -z $needed ]] || say "kept: the packages that the install needed: $needed"
  say "kept: what systemd's journal has of the units, and the build cache target/ in the checkout"
}
