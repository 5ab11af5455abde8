# Builds a store path for each component, and a release: links to them, configuration and units.

release() {
  local component id
  for component in "${!ARCHIVE[@]}"; do unpack "$component" "${ARCHIVE["$component"]}"; done
  if [[ -d $SERVICE_NEW ]]; then publish_store_path "$SERVICE_NEW" metrics-service; fi
  stage_release
  NEW_RELEASE=$STAGED
  if [[ -n $DRY_RUN ]]; then return; fi
  check_configuration
  id=$VERSION-$(digest "$STAGED")
  NEW_RELEASE=$RELEASES/$id
  if [[ -d $NEW_RELEASE && $(digest "$NEW_RELEASE") == "${id##*-}" ]]; then return; fi
  mkdir -p "$RELEASES"
  cp --archive "$STAGED" "$RELEASES/.new"
  publish "$RELEASES/.new" "$NEW_RELEASE"
  PUBLISHED=1
}

# digest DIRECTORY: prints a checksum of files and link targets.
digest() {
  (cd "$1" && {
    find . -type f -exec sha256sum {} + &&
      find . -type l -printf '%p %l\n'
  } | sort | sha256sum | cut -c1-8)
}

# manifest DIRECTORY: prints a checksum of paths, modes and sizes.
manifest() {
  find "$1" -mindepth 1 ! -name .manifest \( -type d -printf '%P\n' \
    -o -printf '%P %m %s %l\n' \) | sort | sha256sum
}
is_intact() { [[ -e $1/.manifest && $(<"$1/.manifest") == "$(manifest "$1")" ]]; }

# publish_store_path NEW COMPONENT
publish_store_path() {
  local path
  path=$(store_path "$2")
  manifest "$1" >"$1/.manifest"
  # Units that run from the damaged path must be restarted.
  if [[ -d $path ]]; then mark_incomplete "$2"; fi
  publish "$1" "$path"
}

# unpack COMPONENT ARCHIVE
unpack() {
  local new=$STORE/.new
  say "    unpacking $1"
  mkdir -p "$new/bin"
  case $2 in
  *.tar.gz)
    tar --extract --no-same-owner --no-same-permissions --strip-components=1 \
      --directory "$new" --file "$2"
    ;;
  *)
    if has unzip; then unzip -q -o "$2" -d "$new"; else python3 -I -m zipfile -e "$2" "$new"; fi
    ;;
  esac || die "could not unpack $2" "see the output above; is the disk full?"
  # SELinux labels files in bin/ as executable. Grafana's archive has such a directory.
  case $1 in
  prometheus) mv "$new/prometheus" "$new/promtool" "$new/bin/" ;;
  alertmanager) mv "$new/alertmanager" "$new/amtool" "$new/bin/" ;;
  alloy) mv "$new/alloy-linux-$(architecture)" "$new/bin/alloy" && chmod 0755 "$new/bin/alloy" ;;
  grafana) [[ -x $new/bin/grafana ]] ;;
  esac || die "$2 does not contain $1" "correct the line of $1 in $VERSIONS"
  publish_store_path "$new" "$1"
}

# Leaves the release in $STAGED, in /run, so that a rerun without changes writes to no disk.
stage_release() {
  local path component key
  while IFS= read -r path; do
    # Git also lists files that were deleted.
    { role_has "$path" && [[ -e $ROOT/$path ]]; } || continue
    mkdir -p "$STAGED/${path%/*}"
    install -m 0644 "$ROOT/$path" "$STAGED/$path"
  done < <(checkout_files)
  for component in metrics-service "${ARCHIVE_COMPONENTS[@]}"; do
    ln -s "$(store_path "$component")" "$STAGED/$component"
  done
  for key in "${SETTING_NAMES[@]}"; do
    if [[ -n ${SETTINGS[$key]-} ]]; then echo "$key ${SETTINGS[$key]}" >>"$STAGED/options"; fi
  done
  stage_forwarding
  if has_secret admin-password && role_has grafana; then stage_password; fi
  if role_has alertmanager; then pass_secret alertmanager notify notify; fi
}

# Prints the shipped files. In a checkout, Git knows which ones are stray.
checkout_files() {
  {
    if [[ ! -e $ROOT/.git ]] ||
      ! as_builder git -C "$ROOT" ls-files etc systemd 2>/dev/null | grep .; then
      (cd "$ROOT" && find etc systemd -type f)
    fi
  } | grep -v '^etc/versions.conf$'
}
