# Downloads the archives of versions.conf, and builds the service.

# pin COMPONENT line|version|sum|urls: prints it from versions.conf, for this architecture.
pin() {
  awk -v c="$1" -v a="$(architecture)" -v what="$2" '$1 == c && $3 == a {
    $1 = $1
    if (what == "line") print
    else if (what == "version") print $2
    else if (what == "sum") print $4
    else for (i = 5; i <= NF; i++) print $i
  }' < <(text_of "$VERSIONS")
}
file_name() { pin "$1" urls | sed -n '1s,.*/,,p'; }

# store_path COMPONENT: prints its directory, named after version and checksum.
store_path() {
  if [[ $1 == metrics-service ]]; then
    echo "$SERVICE_PATH"
  else
    echo "$STORE/$1-$(pin "$1" version)-$(pin "$1" sum | cut -c1-8)"
  fi
}
is_missing() { ! is_intact "$(store_path "$1")"; }

# Leaves the archives in ARCHIVE, the service's store path in SERVICE_PATH, and a new service in
# SERVICE_NEW.
fetch() {
  local component
  for component in "${ARCHIVE_COMPONENTS[@]}"; do
    is_missing "$component" || continue
    if [[ -n $DRY_RUN ]]; then
      say "    would fetch and unpack $component $(pin "$component" version)"
    else
      ARCHIVE["$component"]=$CACHE/$(file_name "$component")
      download "$component" "$CACHE"
    fi
  done
  if [[ -n $DRY_RUN ]]; then
    say "    would install the service from ${SERVICE_BINARY:-a build}, if it differs"
    SERVICE_PATH=$(readlink "$OPT/metrics-service") || SERVICE_PATH="the store path of the service"
    return
  fi
  if [[ -z $SERVICE_BINARY ]]; then build_service; fi
  stage_service "$SERVICE_BINARY"
}

# download COMPONENT DIRECTORY: copies it from --from, or tries its URLs in turn.
download() {
  local what file part url sum number=0
  file=$2/$(file_name "$1") sum=$(pin "$1" sum) what="$1 $(pin "$1" version)"
  mkdir -p "$2" || die "cannot create $2" "choose a directory that you can write to"
  if [[ -n $FROM ]]; then cp "$FROM/${file##*/}" "$file"; fi
  if [[ -f $file && $(sha256 "$file") == "$sum" ]]; then return; fi
  [[ -z $FROM ]] ||
    die "checksum mismatch: $FROM/${file##*/} does not match $VERSIONS" "download that file again"
  say "    downloading $what"
  while read -r url; do
    # Only the same file from the same server is resumed.
    part=$file.${sum::8}-$((++number)).part
    if ! transfer "$url" "$part"; then
      warn "could not download $url"
    elif [[ $(sha256 "$part") == "$sum" ]]; then
      mv -f "$part" "$file"
      rm -f "$file".*.part
      return
    else
      warn "checksum mismatch for $url: got $(sha256 "$part"), expected $sum"
      rm -f "$part"
    fi
  done < <(pin "$1" urls)
  die "$what could not be downloaded from any of its URLs" \
    "check network and disk, or use --download DIR elsewhere and --from DIR here"
}

# transfer URL FILE: resumes an interrupted transfer.
transfer() {
  local pause status code progress=--no-progress-meter
  # Only with --download: an install writes to its log.
  if [[ -t 2 ]]; then progress=--progress-bar; fi
  for pause in 1 2 3 4 0; do
    status=0
    code=$(curl --disable --location --fail "$progress" --connect-timeout 20 --speed-limit 1000 \
      --speed-time 60 --continue-at - --write-out '%{http_code}' --output "$2" "$1" <&-) ||
      status=$?
    case $status:$code in
    0:*) return ;;
    # The server can't resume: start over.
    33:* | 36:* | *:416) rm -f "$2" ;;
    *:40[0-7] | *:41?) return 1 ;;
    esac
    sleep "$pause"
  done
  return 1
}

# Leaves the program in SERVICE_BINARY. The builder's cargo configuration might name another target
# or directory, so both are passed.
build_service() {
  local target
  say "    building the service"
  target=$(as_builder cargo --version --verbose | sed -n 's/^host: //p')
  SERVICE_BINARY=$ROOT/target/$target/release/metrics-service
  as_builder cargo build --release --locked --quiet --target "$target" --target-dir \
    "$ROOT/target" --manifest-path "$ROOT/Cargo.toml" >&2 9<&- ||
    die "the service could not be built" "see above, or use a release archive"
}

# stage_service FILE: copies it where only root can change it, and runs it unprivileged.
stage_service() {
  local version sum
  sum=$(sha256 "$1" | cut -c1-8)
  SERVICE_PATH=$(compgen -G "$STORE/metrics-service-*-$sum") && is_intact "$SERVICE_PATH" && return
  mkdir -p "$SERVICE_NEW/bin"
  install -m 0755 "$1" "$SERVICE_NEW/bin/metrics-service"
  version=$(as_nobody "$SERVICE_NEW/bin/metrics-service" --version 2>/dev/null) || :
  [[ $version =~ ^metrics-service\ ([0-9][0-9A-Za-z.+~-]*)$ ]] ||
    die "$1 does not run here, or is not the service" \
      "use the release archive of this architecture, or build it here"
  sum=$(sha256 "$SERVICE_NEW/bin/metrics-service" | cut -c1-8)
  SERVICE_PATH=$STORE/metrics-service-${BASH_REMATCH[1]}-$sum
}
