# Replaces files, links and directories atomically: after a power loss each is whole, old or new.

# publish NEW DIRECTORY: renames a complete directory once it is on the disk.
publish() {
  ! has restorecon || restorecon -R "$1"
  sync --file-system "$1"
  [[ ! -d $2 ]] || discard "$2"
  mv --no-target-directory "$1" "$2"
  sync "${2%/*}"
}

# replace_file NEW FILE
replace_file() {
  sync "$1"
  mv --force --no-target-directory "$1" "$2"
  ! has restorecon || restorecon "$2"
  sync "${2%/*}"
}

# set_link LINK TARGET
set_link() {
  ln -sfn "$2" "$1.part"
  mv --force --no-target-directory "$1.part" "$1"
  sync "${1%/*}"
}

# discard DIRECTORY: renames it before it deletes it, because its name promises that it is complete.
discard() {
  mv --no-target-directory "$1" "${1%/*}/.old"
  rm -rf "${1%/*}/.old"
}
