# What is taken away when nothing is active any more, and by a purge.

# Where nothing is active and nothing of a person's is left, the last release and our notes go, too.
sweep() {
  rm -rf "$RUN/release" "$RUN/stage" "$RUN/credentials" "$TREES/.service"
  [[ ! -L $OPT/current && ! -L $OPT/open ]] || return 0
  rm -rf "$RUN"
  if [[ ! -e $ETC && -z $(find "$VAR" -mindepth 1 -maxdepth 1 ! -name install 2>/dev/null) ]]; then rm -rf "$RELEASES" "$VAR"; fi
  rmdir "$TREES" "$RELEASES" "$OPT" "$PRIVATE/metrics-stack" 2>/dev/null || :
}

# Writes nothing, as the disk may be full.
purge() {
  local unit units
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
  rm -rf "$ETC" "$PRIVATE/metrics-stack" "$LOGS" "$OPT" "$VAR" /tmp/metrics-stack-login-*
}

packages() { [[ ! -e $STATE/packages ]] || sort -u "$STATE/packages" | paste -sd' '; }

say_kept() {
  local needed=${PURGED_PACKAGES-$(packages)}
  [[ ! -d $ETC ]] || say "kept: configuration in $ETC, as a person edited or made it"
  ! compgen -G "$STATE/credentials/*" >/dev/null || say "kept: where it forwards to, and what it logs in with there, in $RELEASES and $STATE"
  [[ ! -d $PRIVATE/metrics-stack ]] || say "kept: data in $VAR"
  [[ ! -d $LOGS ]] || say "kept: logs of installs in $LOGS; uninstall.sh --purge takes all of these"
  [[ -z $needed ]] || say "kept: the packages that the install needed: $needed"
  say "kept: what systemd's journal has of the units, and the build cache target/ in the checkout"
}
