# The archives of versions.conf, and the service: found, downloaded or built, and never used before their sum is right.

# The components that come as an upstream archive.
ARCHIVE_COMPONENTS=(prometheus alloy grafana)

# pin COMPONENT line|version|sum|urls: what versions.conf says for this architecture, each URL on a line.
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
check_sum() { [[ $(sha256 "$1") == "$(pin "$2" sum)" ]]; }

# The folder of a component's tree. The sum is part of the name, so that other bytes of the same version lie beside the live ones.
SERVICE_PATH=''
store_path() {
  if [[ $1 == metrics-service ]]; then echo "$SERVICE_PATH"; else echo "$STORE/$1-$(pin "$1" version)-$(pin "$1" sum | cut -c1-8)"; fi
}
is_missing() { ! is_intact "$(store_path "$1")"; }

# fetch: leaves in ARCHIVE the file of each component that has yet to be unpacked, in a folder of root's, and a new service in SERVICE_NEW.
declare -A ARCHIVE=()
readonly SERVICE_NEW=$STORE/.service
fetch() {
  local component
  [[ -n $SERVICE_BINARY || -n $DRY_RUN ]] || start_build
  for component in "${ARCHIVE_COMPONENTS[@]}"; do
    is_missing "$component" || continue
    if [[ -n $DRY_RUN ]]; then say "    would fetch and unpack $component $(pin "$component" version)" && continue; fi
    ARCHIVE[$component]=$CACHE/$(file_name "$component")
    download "$component" "$CACHE"
  done
  if [[ -n $DRY_RUN ]]; then
    say "    would take the service from ${SERVICE_BINARY:-a build of this checkout}, where it is another"
    SERVICE_PATH=$(readlink "$OPT/metrics-service") || SERVICE_PATH="the tree of the service"
    return
  fi
  [[ -n $SERVICE_BINARY ]] || finish_build
  take_service "${SERVICE_BINARY:-$BUILT}"
}

# download COMPONENT FOLDER: from --from, or the first of its URLs that gives the pinned file.
download() {
  local component=$1 file part url number=0
  file=$2/$(file_name "$1")
  mkdir -p "$2"
  [[ -z $FROM ]] || cp "$FROM/${file##*/}" "$file"
  if [[ -f $file ]] && check_sum "$file" "$component"; then return; fi
  [[ -z $FROM ]] || die "$FROM/${file##*/} is not the pinned $component: its SHA-256 differs from the one in $VERSIONS" "fetch that file again"
  say "    $component $(pin "$component" version)"
  while read -r url; do
    # Another pin or another server may mean other bytes, which must not go on from these.
    part=$file.$(pin "$component" sum | cut -c1-8)-$((++number)).part
    if ! transfer "$url" "$part"; then
      warn "$url could not be downloaded"
    elif check_sum "$part" "$component"; then
      mv -f "$part" "$file"
      rm -f "$file".*.part
      return
    else
      warn "$url gave another file: its SHA-256 is $(sha256 "$part"), pinned is $(pin "$component" sum)"
      rm -f "$part"
    fi
  done < <(pin "$component" urls)
  die "$component $(pin "$component" version) could not be had from any of its URLs" \
    "see whether this host reaches them, and has room in $2; on one without network, use --download DIR elsewhere and --from DIR here"
}

# transfer URL FILE: goes on where a cut transfer ended. Several tries, as a network or a server may be away for a moment.
transfer() {
  local pause status answer progress=(--no-progress-meter) screen=2
  [[ ! -t 8 ]] || progress=(--progress-bar) screen=8
  for pause in 1 2 3 4 0; do
    status=0
    answer=$(curl --disable --location --fail "${progress[@]}" --connect-timeout 20 --speed-limit 1000 --speed-time 60 \
      --continue-at - --output "$2" --write-out '%{http_code}' "$1" <&- 2>&"$screen") || status=$?
    case $status:$answer in
    0:*) return ;;
    # The server can't resume, or the part is as long as the file or longer: from the start.
    33:* | 36:* | *:416) rm -f "$2" ;;
    # It has no such file, and will have none in a moment.
    *:40[0-7] | *:41?) return 1 ;;
    esac
    sleep "$pause"
  done
  return 1
}

# As the builder, so that no file of root's is left in their checkout. In a process group of its own,
# to be ended as a whole. The target is named, because the builder's configuration of cargo can name
# another one, and the program would be in another directory.
start_build() {
  local target
  target=$(as_builder cargo --version --verbose | sed -n 's/^host: //p')
  BUILT=$ROOT/target/$target/release/metrics-service
  set -m
  as_builder cargo build --release --locked --quiet --target "$target" --manifest-path "$ROOT/Cargo.toml" --target-dir "$ROOT/target" >&2 9<&- &
  set +m
  BUILD=$!
}

finish_build() {
  ! kill -0 "$BUILD" 2>/dev/null || start_progress "building the service"
  wait "$BUILD" || die "the service could not be built" "the lines above say why; or bring a binary that was built elsewhere: --service-binary FILE"
  stop_progress
  BUILD=''
}

# take_service BINARY: from here on nobody but root can change it. It is asked for its version as nobody.
take_service() {
  local version
  [[ -f $1 ]] || die "$1 is not there" "name the service's binary, e.g. target/release/metrics-service"
  SERVICE_PATH=$(compgen -G "$STORE/metrics-service-*-$(sha256 "$1" | cut -c1-8)") && is_intact "$SERVICE_PATH" && return
  mkdir -p "$SERVICE_NEW/bin"
  install -m 0755 "$1" "$SERVICE_NEW/bin/metrics-service"
  version=$(as_nobody "$SERVICE_NEW/bin/metrics-service" --version 2>/dev/null) || :
  [[ $version =~ ^metrics-service\ ([0-9][0-9A-Za-z.+~-]*)$ ]] ||
    die "$1 does not run here, or is not the service" "build it on the same architecture with a glibc no newer than this host's: cargo build --release --locked"
  SERVICE_PATH=$STORE/metrics-service-${BASH_REMATCH[1]}-$(sha256 "$SERVICE_NEW/bin/metrics-service" | cut -c1-8)
}
