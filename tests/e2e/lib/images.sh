# Debian images, made by mmdebstrap from the mirror that this host's apt uses, with its settings for proxies.
# shellcheck shell=bash

# NAME: SUITE PACKAGE...; `bare` has nothing that install.sh may need.
declare -A IMAGES=(
  [trixie]='trixie ca-certificates curl unzip iproute2'
  [bookworm]='bookworm ca-certificates curl unzip'
  [bare]='trixie'
  ["bare-bookworm"]='bookworm'
)
[[ -z ${ALL-} ]] || IMAGES[forky]='forky ca-certificates curl unzip iproute2'

# image NAME: its folder.
image() {
  # shellcheck disable=SC2086  # the packages are words
  echo "$CACHE/image-$1-$(key "$E2E_DIR/lib/images.sh" "$E2E_DIR/lib/image-hook.sh" ${IMAGES[$1]} "$(mirror)" "$(apt_settings)")"
}

build_image() {
  local folder suite packages mirror
  folder=$(image "$1")
  [[ ! -d $folder ]] || return 0
  # Another checkout may be using what this one does not know any more.
  find "$CACHE" -maxdepth 1 -name "image-$1-*" -mtime +7 -exec rm -rf {} +
  rm -rf "$folder.part"
  read -r suite packages <<<"${IMAGES[$1]}"
  mirror=$(mirror)
  local options=()
  while read -r setting; do options+=(--aptopt="$setting"); done < <(apt_settings)
  # Without the descriptors of locks: it hands further ones to shells that know those below 10 only.
  mmdebstrap --quiet --variant=minbase --include="systemd,systemd-sysv,dbus${packages:+,${packages// /,}}" "${options[@]}" \
    --setup-hook="$E2E_DIR/lib/image-hook.sh" --customize-hook="$E2E_DIR/lib/image-hook.sh" \
    "$suite" "$folder.part" ${mirror:+"$mirror"} 3<&- 7<&- 8<&-
  mv "$folder.part" "$folder"
}

# The first Debian mirror of this host; without one, mmdebstrap's own default.
# shellcheck disable=SC2016  # apt's own placeholders
mirror() { apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' | awk '$1 == "Debian" && !found++ { print $2 }'; }

apt_settings() { apt-config dump | grep -E '^Acquire::(https?|Check-[A-Za-z-]+|Retries)(::[^ ]*)? "[^"]' || :; }
