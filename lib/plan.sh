# What has to change for the host to agree with a release, told without changing anything.
#
# A release is a folder below $RELEASES: etc/ and systemd/ as they are shipped, and a symlink to the tree of each component. All
# that lies there counts as shipped, so that a file on the host is ours, to be replaced or removed, if it has the bytes that
# any release on the disk has at its path. Whatever else is there is a person's, and stays.
#
#   $OPT/current    the release that was active as a whole last
#   $OPT/pending       the one that is being activated, also when that was cut off
#
# An uninstall leaves the releases, which are small: they tell edited files from ours.

# An uninstall activates this one, which is never there, and so has nothing.
readonly EMPTY_RELEASE=$RELEASES/nothing

# In the order in which they are moved: samples first find who stores them, then who sends them.
readonly UNIT_GROUPS=(stack prometheus metrics-service alloy alloy-ui grafana)

# group_of PATH: what is stopped and started for a change of that file.
group_of() {
  local part
  for part in "${UNIT_GROUPS[@]:1}"; do
    [[ $1 != @(etc/"$part"|systemd/metrics-"${part#metrics-}")[./]* ]] || { echo "$part" && return; }
  done
  echo stack
}

# installed_path PATH: where a release's file is on the host.
installed_path() { case $1 in systemd/*) echo "$UNIT_DIR/${1#systemd/}" ;; etc/*) echo "$ETC/${1#etc/}" ;; *) echo "$1" ;; esac }

# shipped RELEASE...: the paths of their files. A release that does not exist has none.
shipped() {
  local release
  for release; do (cd "$release" && find etc systemd -type f) 2>/dev/null || :; done | sort -u
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

# By a person, who keeps it so, as dpkg does. While a release is open, what is not there may be our own doing: then it was noted before.
was_deleted_by_user() {
  if [[ -L $OPT/pending ]]; then grep --quiet --line-regexp --fixed-strings "$1" "$STATE/deleted" 2>/dev/null; else [[ -e $OPT/current/$1 ]]; fi
}

# plan RELEASE: lines `PART ACTION PATH`, where ACTION is write, remove or link (to a store path), or, to be said and not done, modified (edited
# by a person) or deleted (by one).
plan() {
  local path file part tree action
  while read -r path; do
    file=$(installed_path "$path") action=''
    if [[ ! -e $1/$path ]]; then
      ! is_unmodified "$path" || action=remove
    elif ! exists "$file"; then
      if was_deleted_by_user "$path"; then action=deleted; else action="write"; fi
    elif [[ -L $file ]] || ! cmp --silent "$1/$path" "$file"; then
      if is_unmodified "$path"; then action="write"; else action=modified; fi
    fi
    [[ -z $action ]] || echo "$(group_of "$path") $action $path"
  done < <(shipped "$1" "$RELEASES"/*)
  for part in "${COMPONENTS[@]}"; do
    tree=$(readlink "$1/$part") || :
    [[ $(readlink "$OPT/$part") == "$tree" ]] || echo "$part link $tree"
  done
}
