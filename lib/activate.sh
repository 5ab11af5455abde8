# Makes the host agree with a release, whatever state it is in. It is the only code that changes a live host: an install, an
# upgrade, a repair, a rollback and an uninstall are calls of it. Cut at any instant, it is finished by the next call,
# with whatever release, forward. Nothing on the way deletes data or what a person has made.
#
# Call it bare: under `if`, `||` or `&&` a command that fails would not end it.
# shellcheck shell=bash

# RELEASE and PLAN: what is being activated, and what has to change for it. BEGUN: this run has changed something.
RELEASE='' PLAN='' BEGUN=''
# RETREAT: this is the way back. FRESH: components whose data can only be of this run.
RETREAT='' FRESH=() DRY_RUN=''

activate() {
  local part
  RELEASE=$1
  PLAN=$(plan "$RELEASE")
  [[ -n $RETREAT ]] || tell
  [[ -z $DRY_RUN ]] || return 0
  if is_needed; then
    BEGUN=1
    begin
    for part in "${PARTS[@]}"; do
      if [[ -e $MARKS/$part || -n $(changes "$part") || $RELEASE == "$NOTHING" ]]; then move "$part"; fi
    done
    end
  fi
  collect
  [[ $RELEASE == "$NOTHING" ]] || start_all
}

is_needed() { [[ ! $OPT/current -ef $RELEASE || -L $OPT/open || -n $(changes) ]] || compgen -G "$MARKS/*" >/dev/null; }

# changes [PART]: the lines of the plan that are to be done.
changes() { grep -E "^${1-[^ ]+} (put|drop|switch) " <<<"$PLAN" || :; }

# Says what a person has made of shipped files, which stays so, and with --dry-run what would be done.
tell() {
  local part action path
  while read -r part action path; do
    case $action:$DRY_RUN in
    keep:*) say "    kept as it is: $(live "$path"); what is shipped: diff $(live "$path") $OPT/current/$path" ;;
    miss:*) say "    stays deleted: $(live "$path"); to have it back: cp $OPT/current/$path $(live "$path")" ;;
    put:1) say "    would write $(live "$path")" ;;
    drop:1) say "    would remove $(live "$path")" ;;
    switch:1) say "    would point $OPT/$part to $path" ;;
    esac
  done <<<"$PLAN"
  [[ -z $DRY_RUN ]] || for part in $(changes | cut -d' ' -f1 | uniq); do say "    would stop and start: $(units_of "$part")"; done
}

begin() {
  local component
  mkdir -p "$STATE" "$ETC" "$MARKS"
  forget_databases
  if [[ ! -e $OPT/current && -z $RETREAT ]]; then
    for component in prometheus alloy grafana; do
      [[ -e $PRIVATE/metrics-stack/$component || -e $VAR/$component ]] || FRESH+=("$component")
    done
  fi
  # Room for the way back, in case the disk fills up meanwhile.
  [[ -n $RETREAT || $RELEASE == "$NOTHING" ]] || head -c 2M /dev/zero >"$RESERVE"
  point "$OPT/open" "releases/${RELEASE##*/}"
  [[ $RELEASE == "$NOTHING" ]] || proxy_may on
}
readonly RESERVE=$ETC/.metrics-stack.reserve

# move PART: it is stopped before anything of it changes, so that no program sees another version's files.
move() {
  local action path
  say "    $1"
  mark "$1"
  stop_part "$1"
  while read -r _ action path; do
    case $action in
    put) put "$path" ;;
    drop) drop "$path" ;;
    switch) switch "$1" "$path" ;;
    esac
  done < <(changes "$1")
  systemctl daemon-reload
  if [[ $RELEASE != "$NOTHING" ]]; then
    enable_new "$1"
    start_part "$1"
  fi
  rm -f "$MARKS/$1"
}

# put PATH: a power cut leaves the old file or the new one.
put() {
  local file part
  file=$(live "$1") part=${file%/*}/.metrics-stack.part
  mkdir -p "${file%/*}"
  cp "$RELEASE/$1" "$part"
  rename "$part" "$file"
}

rename() {
  sync "$1"
  mv --force --no-target-directory "$1" "$2"
  ! has restorecon || restorecon "$2"
  sync "${2%/*}"
}

# point LINK TARGET
point() {
  ln -sfn "$2" "$1.part"
  mv --force --no-target-directory "$1.part" "$1"
  sync "${1%/*}"
}

drop() {
  local file
  file=$(live "$1")
  [[ $1 != systemd/* || $1 == *.d/* ]] || stop_units "${1#systemd/}"
  rm -f "$file"
  sync "${file%/*}"
  # A person's drop-ins keep theirs.
  [[ $1 != *.d/* ]] || rmdir "${file%/*}" 2>/dev/null || :
}

# switch COMPONENT TREE
switch() {
  if [[ $1 == grafana && -n $2 ]]; then change_database "$(readlink "$OPT/grafana")" "$2"; fi
  if [[ -n $2 ]]; then point "$OPT/$1" "$2"; else rm -f "$OPT/$1"; fi
}

# enable_new PART: only what this release brings to the host. A person's `disable` of what was there before stays.
enable_new() {
  local unit
  for unit in $(units_of "$1"); do
    if [[ -f $UNIT_DIR/$unit && ! -e $OPT/current/systemd/$unit ]]; then
      systemctl --quiet enable "$unit"
      sync "$UNIT_DIR"/*.wants
    fi
  done
}

end() {
  local unit
  if [[ $RELEASE == "$NOTHING" ]]; then
    # Also those that a person has edited and that stay.
    for unit in "${UNITS[@]}"; do rm -f "$UNIT_DIR"/*.wants/"$unit"; done
    proxy_may off
    rm -f "$OPT/current"
  else
    point "$OPT/current" "releases/${RELEASE##*/}"
  fi
  # Units that are gone are enabled no more, and nothing that was cut off is left.
  find "$UNIT_DIR"/*.wants -xtype l -lname "$UNIT_DIR/metrics-*" -delete 2>/dev/null || :
  rmdir "$UNIT_DIR/metrics-stack.target.wants" 2>/dev/null || :
  find "$ETC/" "$UNIT_DIR/" -name '.metrics-stack.*' -printf '%h\0' -delete | xargs --null --no-run-if-empty sync
  rm -f "$OPT/open" "$MARKS"/*
  sync "$OPT"
  forget_databases
  systemctl daemon-reload
}

# Takes away what no release needs any more that is current, or would be again after an uninstall, and that no process uses. It gets
# another name first, as a name means that all of it is there.
collect() {
  local thing path
  rm -rf "$RELEASES"/.old "$RELEASES"/.new "$TREES"/.old "$TREES"/.new
  for thing in "$RELEASES"/*/; do
    thing=${thing%/}
    [[ -d $thing && ! -L $OPT/open && ! $thing -ef $OPT/current ]] || continue
    # Folders that it brought, where nothing is in them any more.
    while read -r path; do rmdir "$ETC/$path" 2>/dev/null || :; done < <(find "$thing/etc" -depth -type d -printf '%P\n')
    [[ ! -L $OPT/current ]] || discard "$thing"
  done
  for thing in "$STATE"/credentials/*; do
    grep --quiet --no-messages --fixed-strings "$thing" "$RELEASES"/*/options || rm -rf "$thing"
  done
  rmdir "$STATE/credentials" 2>/dev/null || :
  for thing in "$TREES"/*/; do
    thing=${thing%/}
    if [[ -e $thing/.listing ]] && ! is_used "$thing"; then discard "$thing"; fi
  done
}

is_used() {
  local link
  for link in "$OPT"/* "$OPT"/{current,open}/*; do [[ ! -L $link || ! $link -ef $1 ]] || return 0; done
  [[ -n $(find /proc/[0-9]*/exe -lname "$1/*" 2>/dev/null) ]]
}

discard() {
  mv --no-target-directory "$1" "${1%/*}/.old"
  rm -rf "${1%/*}/.old"
}
