# Builds what is activated: a tree for each component, and a release that names them, with configuration and units as they are
# shipped. Each is made under another name and renamed when all of it is there and on the disk: a name means complete.

# The release of this run, first in /run, so that nothing is written where nothing is new.
readonly STAGED=$RUN/release

# release: leaves in NEW_RELEASE the folder to be activated.
release() {
  local component id
  for component in "${ARCHIVE_COMPONENTS[@]}"; do
    [[ -z ${ARCHIVE[$component]-} ]] || unpack "$component" "${ARCHIVE[$component]}"
  done
  [[ ! -d $SERVICE_NEW ]] || publish_store_path "$SERVICE_NEW" metrics-service
  stage_release
  if [[ -n $DRY_RUN ]]; then NEW_RELEASE=$STAGED && return; fi
  check_configuration
  id=$VERSION-$(digest "$STAGED")
  NEW_RELEASE=$RELEASES/$id
  [[ ! -d $NEW_RELEASE || $(digest "$NEW_RELEASE") != "${id##*-}" ]] || return 0
  mkdir -p "$RELEASES"
  cp --archive "$STAGED" "$RELEASES/.new"
  publish "$RELEASES/.new" "$NEW_RELEASE"
}

# The sum of what is in a folder: files and where symlinks lead.
digest() { (cd "$1" && { find . -type f -exec sha256sum {} + && find . -type l -printf '%p %l\n'; } | sort | sha256sum | cut -c1-8); }

# A tree has the listing of its files, by which a file that is gone, or has another size or mode, is noticed.
manifest() { find "$1" -mindepth 1 ! -name .manifest \( -type d -printf '%P\n' -o -printf '%P %m %s %l\n' \) | sort | sha256sum; }
is_intact() { [[ -e $1/.manifest && $(<"$1/.manifest") == "$(manifest "$1")" ]]; }

# publish_store_path NEW COMPONENT
publish_store_path() {
  local tree
  tree=$(store_path "$2")
  manifest "$1" >"$1/.manifest"
  # What runs from one that was not whole is started again.
  [[ ! -d $tree ]] || { mkdir -p "$INCOMPLETE" && mark_incomplete "$2"; }
  publish "$1" "$tree"
}

unpack() {
  local new=$STORE/.new
  start_progress "unpacking $1"
  mkdir -p "$new/bin"
  case $2 in
  *.tar.gz) tar --extract --gzip --no-same-owner --no-same-permissions --strip-components=1 --directory "$new" --file "$2" ;;
  *.zip) if has unzip; then unzip -q -o "$2" -d "$new"; else python3 -I -m zipfile -e "$2" "$new"; fi ;;
  *) false ;;
  esac || die "$2 could not be unpacked" "see the lines above; is there room on the disk?"
  stop_progress
  # Grafana's archive has its programs in bin/ already; SELinux gives what lies there the label that may be executed.
  case $1 in
  prometheus) mv "$new/prometheus" "$new/promtool" "$new/bin/" ;;
  alloy) mv "$new/alloy-linux-$(architecture)" "$new/bin/alloy" && chmod 0755 "$new/bin/alloy" ;;
  esac || die "$2 has not the files of $1" "is the line of $1 in $VERSIONS right?"
  [[ -x $new/bin/$1 ]] || die "$2 has no program bin/$1" "is the line of $1 in $VERSIONS right?"
  publish_store_path "$new" "$1"
}

# compose: the release as it would be, from copies that nobody can change meanwhile.
stage_release() {
  local path component
  while IFS= read -r path; do
    role_has "$path" || continue
    mkdir -p "$STAGED/${path%/*}"
    install -m 0644 "$ROOT/$path" "$STAGED/$path"
  done < <(checkout_files)
  for component in metrics-service "${ARCHIVE_COMPONENTS[@]}"; do ln -s "$(store_path "$component")" "$STAGED/$component"; done
  stage_forwarding
}

# What git knows of, so that nothing is installed that only lies about in a clone. Where there is no git, all that is there.
checkout_files() {
  { as_builder git -C "$ROOT" ls-files etc systemd 2>/dev/null | grep . || (cd "$ROOT" && find etc systemd -type f); } | grep -v '^etc/versions.conf$'
}

# What only checks needs none of root's rights.
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs "$@"; }
