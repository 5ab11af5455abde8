# Debian images, made by mmdebstrap from this host's mirror with its apt proxy settings.
# shellcheck shell=bash

# NAME: SUITE PACKAGE...; the bare ones have none of the packages that install.sh might need.
declare -A IMAGES=(
  ["trixie"]='trixie ca-certificates curl unzip iproute2'
  ["bookworm"]='bookworm ca-certificates curl unzip'
  ["bare-bookworm"]='bookworm'
  ["bare"]='trixie'
)
[[ -z ${ALL-} ]] || IMAGES+=(
  ["forky"]='forky ca-certificates curl unzip iproute2'
)

# image NAME: prints its directory.
image() {
  # shellcheck disable=SC2086  # the packages are words
  echo "$CACHE/image-$1-$(key "$E2E_DIR/lib/images.sh" "$E2E_DIR/lib/image-hook.sh" \
    ${IMAGES[$1]} "$(mirror)" "$(apt_settings)")"
}

build_image() {
  local dir suite packages mirror
  dir=$(image "$1")
  [[ ! -d $dir ]] || return 0
  # Keep newer ones: another checkout might be using them.
  find "$CACHE" -maxdepth 1 -name "image-$1-*" -mtime +7 -exec rm -rf {} +
  rm -rf "$dir.part"
  read -r suite packages <<<"${IMAGES[$1]}"
  mirror=$(mirror)
  local options=() setting hook=$E2E_DIR/lib/image-hook.sh
  while read -r setting; do options+=(--aptopt="$setting"); done < <(apt_settings)
  # Close the file descriptors of locks: mmdebstrap passes on more than its shells can handle.
  mmdebstrap --quiet --variant=minbase \
    --include="systemd,systemd-sysv,dbus${packages:+,${packages// /,}}" "${options[@]}" \
    --setup-hook="$hook" --customize-hook="$hook" \
    "$suite" "$dir.part" ${mirror:+"$mirror"} 3<&- 7<&- 8<&-
  mv "$dir.part" "$dir"
}

# mirror: prints this host's first Debian mirror; if it has none, mmdebstrap uses its default.
mirror() {
  # shellcheck disable=SC2016  # apt's own placeholders
  apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 == "Debian" && !found++ { print $2 }'
}

apt_settings() {
  apt-config dump | grep -E '^Acquire::(https?|Check-[A-Za-z-]+|Retries)(::[^ ]*)? "[^"]' || :
}
