# What uninstall.sh takes away, and what it says of the rest.
# shellcheck shell=bash

stop_units() {
  local unit there=()
  for unit in "${UNITS[@]}"; do
    [[ ! -e $UNIT_DIR/$unit ]] || there+=("$unit")
  done
  ((${#there[@]} > 0)) || return 0
  # Sockets first, or a connection that comes meanwhile starts their service again.
  systemctl stop 'metrics-service.socket' 'metrics-alloy-ui.socket' 2>/dev/null || :
  systemctl stop "${there[@]}"
  systemctl --quiet disable "${there[@]}"
}

remove_listed() {
  local path sum
  { receipt_values tree && receipt_values link && receipt_values unit; } | xargs --no-run-if-empty rm -rf
  while read -r path; do
    sum=$(receipt_sum "$path")
    if [[ -e $path && $(sum_of "$path") != "$sum" ]]; then printf 'file\t%s\t%s\n' "$path" "$sum"; else rm -f "$path"; fi
  done < <(receipt_values file) >"$RECEIPT.new"
  rmdir "$OPT" 2>/dev/null || :
  # The deepest first, and only those that the removal left empty.
  [[ ! -d $ETC ]] || find "$ETC" -depth -type d -empty -delete
  rm -rf "$CACHE"
  forget_units
  # What a purge has to know, and what a later install must not take for its own.
  awk -F'\t' '$1 == "package" || $1 == "dir"' "$RECEIPT" >>"$RECEIPT.new"
  mv "$RECEIPT.new" "$RECEIPT"
}

remove_all() {
  local unit made
  PURGED_PACKAGES=$(receipt_values package)
  made=$(receipt_values dir)
  for unit in "${UNITS[@]}"; do
    rm -rf "${UNIT_DIR:?}/$unit" "$UNIT_DIR/$unit.d" "$UNIT_DIR/$unit.wants" /etc/systemd/system.control/"$unit.d" \
      /run/systemd/system/"$unit.d" /run/systemd/system.control/"$unit.d"
  done
  forget_units
  rm -rf "$OPT" "$ETC" "$VAR" "$PRIVATE/metrics-stack" "$CACHE"
  [[ -z $made ]] || xargs rmdir --ignore-fail-on-non-empty <<<"$made"
}

say_kept() {
  local packages
  packages=${PURGED_PACKAGES-$(receipt_values package)}
  [[ ! -d $ETC ]] || say "kept: configuration in $ETC"
  [[ ! -d $PRIVATE/metrics-stack ]] || say "kept: data in $VAR"
  [[ ! -e $RECEIPT ]] || say "kept: the receipt $RECEIPT; uninstall.sh --purge takes all of these"
  [[ -z $packages ]] || say "kept: the packages that the install needed: $(paste -sd' ' <<<"$packages")"
  say "kept: what systemd's journal has of the units, and the build cache target/ in the checkout"
}
