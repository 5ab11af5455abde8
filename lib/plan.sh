# What has to change for the host to match a release.
#
# A release is a directory below $RELEASES: etc/ and systemd/ as shipped, and a symlink to the store
# path of each component. $OPT/current is the active one, $OPT/pending the one being activated.
# Files with the content of any release are unmodified and can be replaced; others stay.

# An uninstall activates this release, which does not exist and so has no files.
readonly EMPTY_RELEASE=$RELEASES/nothing

# In the order of their updates: a receiver of alerts or samples is up before its sender.
readonly UNIT_GROUPS=(stack alertmanager prometheus metrics-service alloy alloy-ui grafana)

# group_of PATH: prints the unit group that is restarted for a change of that file.
group_of() {
  case $1 in
  etc/prometheus/* | systemd/metrics-prometheus.*) echo prometheus ;;
  systemd/metrics-service.*) echo metrics-service ;;
  etc/alloy/* | systemd/metrics-alloy.*) echo alloy ;;
  systemd/metrics-alloy-ui.*) echo alloy-ui ;;
  etc/grafana/* | systemd/metrics-grafana.*) echo grafana ;;
  systemd/metrics-alertmanager.*) echo alertmanager ;;
  *) echo stack ;;
  esac
}

# installed_path PATH: prints where a release's file is on the host.
installed_path() {
  case $1 in
  systemd/*) echo "$UNIT_DIR/${1#systemd/}" ;;
  etc/*) echo "$ETC/${1#etc/}" ;;
  *) echo "$1" ;;
  esac
}

# shipped RELEASE...: prints the paths of their files.
shipped() {
  local release
  for release; do
    (cd "$release" && find etc systemd -type f) 2>/dev/null || :
  done | sort -u
}

is_unmodified() {
  local file release
  file=$(installed_path "$1")
  [[ -f $file && ! -L $file ]] || return 1
  for release in "$RELEASES"/*; do
    ! cmp --silent "$release/$1" "$file" || return 0
  done
  return 1
}

# Deleted files stay deleted, as with dpkg. A pending activation might have removed the file itself,
# so then the list written at its start decides.
was_deleted_by_user() {
  if [[ -L $OPT/pending ]]; then
    grep --quiet --line-regexp --fixed-strings "$1" "$STATE/deleted" 2>/dev/null
  else
    [[ -e $OPT/current/$1 ]]
  fi
}

# plan RELEASE: prints lines `GROUP ACTION PATH`. ACTION is write, remove or link (to a store path);
# modified and deleted files stay as they are.
plan() {
  local path file action component target
  while read -r path; do
    file=$(installed_path "$path") action=''
    if [[ ! -e $1/$path ]]; then
      if is_unmodified "$path"; then action=remove; fi
    elif ! exists "$file"; then
      action="write"
      if was_deleted_by_user "$path"; then action=deleted; fi
    elif [[ -L $file ]] || ! cmp --silent "$1/$path" "$file"; then
      action=modified
      if is_unmodified "$path"; then action="write"; fi
    fi
    if [[ -n $action ]]; then echo "$(group_of "$path") $action $path"; fi
  done < <(shipped "$1" "$RELEASES"/*)
  for component in "${COMPONENTS[@]}"; do
    target=$(readlink "$1/$component") || :
    if [[ $(readlink "$OPT/$component") != "$target" ]]; then echo "$component link $target"; fi
  done
}
