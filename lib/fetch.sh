# The archives of versions.conf, and the service: found, downloaded or built, and never used before their sum is right.
# shellcheck shell=bash

# The components that come as an upstream archive.
ARCHIVED=(prometheus alloy grafana)

# pin COMPONENT version|sum|url|urls: what versions.conf says for this architecture.
pin() {
  awk -v c="$1" -v a="$(architecture)" -v what="$2" '$1 == c && $3 == a {
    if (what == "version") print $2
    else if (what == "sum") print $4
    else if (what == "url") print $5
    else for (i = 5; i <= NF; i++) print $i
  }' "$VERSIONS"
}

# The folder of a component's tree. The sum is part of the name, so that other bytes of the same version lie beside the live ones.
SERVICE_TREE=''
tree_of() {
  if [[ $1 == metrics-service ]]; then echo "$SERVICE_TREE"; else echo "$TREES/$1-$(pin "$1" version)-$(pin "$1" sum | cut -c1-8)"; fi
}
# To look at thousands of files takes its time: once in a run.
declare -A MISSING=()
is_missing() {
  [[ -n ${MISSING[$1]-} ]] || if is_whole "$(tree_of "$1")"; then MISSING[$1]=no; else MISSING[$1]=yes; fi
  [[ ${MISSING[$1]} == yes ]]
}

# The file in a folder that has the name of one of the component's URLs.
archive_in() {
  local url
  while read -r url; do
    [[ ! -f $1/${url##*/} ]] || { echo "$1/${url##*/}" && return; }
  done < <(pin "$2" urls)
}

# fetch: leaves in ARCHIVE the file of each component that has yet to be unpacked, in a folder of root's, and the service in its
# tree or in SERVICE_NEW, about to be one.
declare -A ARCHIVE=()
readonly SERVICE_NEW=$TREES/.service
fetch() {
  local component file
  if [[ -n $DRY_RUN ]]; then would_fetch && return; fi
  [[ -n $SERVICE_BINARY ]] || start_build
  for component in "${ARCHIVED[@]}"; do
    is_missing "$component" || continue
    file=$CACHE/$(file_name "$component")
    if [[ -n $FROM ]]; then
      mkdir -p "$CACHE"
      cp "$(archive_in "$FROM" "$component")" "$file"
      check_sum "$file" "$component" ||
        die "$(archive_in "$FROM" "$component") is not the pinned $component: its SHA-256 differs from the one in $VERSIONS" "fetch that file again"
    else
      download "$component" "$CACHE"
    fi
    ARCHIVE[$component]=$file
  done
  [[ -n $SERVICE_BINARY ]] || finish_build
  take_service "${SERVICE_BINARY:-$ROOT/target/release/metrics-service}"
}

would_fetch() {
  local component
  for component in "${ARCHIVED[@]}"; do ! is_missing "$component" || say "    would fetch and unpack $component $(pin "$component" version)"; done
  if [[ -n $SERVICE_BINARY ]]; then
    SERVICE_TREE=$(service_tree "$SERVICE_BINARY") || SERVICE_TREE="the tree of $SERVICE_BINARY"
  else
    say "    would build the service, and switch to it where it is another"
    SERVICE_TREE=$(readlink "$OPT/metrics-service") || SERVICE_TREE="the tree of the service"
  fi
}

check_sum() { [[ $(sum_of "$1") == "$(pin "$2" sum)" ]]; }

file_name() { basename "$(pin "$1" url)"; }

# download COMPONENT FOLDER: from the first of its URLs that gives the pinned file.
download() {
  local component=$1 file part url number=0
  file=$2/$(file_name "$1")
  mkdir -p "$2"
  if [[ -f $file ]] && check_sum "$file" "$component"; then return; fi
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
      warn "$url gave another file: its SHA-256 is $(sum_of "$part"), pinned is $(pin "$component" sum)"
      rm -f "$part"
    fi
  done < <(pin "$component" urls)
  die "$component $(pin "$component" version) could not be had from any of its URLs" \
    "see whether this host reaches them; on one without network, use --download DIR elsewhere and --from DIR here"
}

# transfer URL FILE: goes on where a cut transfer ended. Several tries, as a network or a server may be away for a moment.
transfer() {
  local tries status answer progress=(--no-progress-meter) screen=2
  [[ ! -t 8 ]] || progress=(--progress-bar) screen=8
  for tries in 5 4 3 2 1; do
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
    ((tries == 1)) || sleep $((6 - tries))
  done
  return 1
}

# Built as the user who builds here by hand: no file of root's is left in their checkout. In a process group of its own, to be ended as
# a whole when the install fails meanwhile.
start_build() {
  set -m
  as_builder cargo build --release --locked --quiet --manifest-path "$ROOT/Cargo.toml" --target-dir "$ROOT/target" >&2 9<&- &
  set +m
  BUILD=$!
}

finish_build() {
  ! kill -0 "$BUILD" 2>/dev/null || at_work "building the service"
  wait "$BUILD" || die "the service could not be built" "the lines above say why; or bring a binary that was built elsewhere: --service-binary FILE"
  done_working
  BUILD=''
}

service_tree() { compgen -G "$TREES/metrics-service-*-$(sum_of "$1" | cut -c1-8)"; }

# take_service BINARY: from here on nobody but root can change it. It is asked for its version as nobody.
take_service() {
  local version
  [[ -f $1 && -x $1 ]] || die "$1 is not a program" "name the service's binary, e.g. target/release/metrics-service"
  SERVICE_TREE=$(service_tree "$1") && is_whole "$SERVICE_TREE" && return
  rm -rf "$SERVICE_NEW"
  install -D -m 0755 "$1" "$SERVICE_NEW/bin/metrics-service"
  version=$(as_nobody "$SERVICE_NEW/bin/metrics-service" --version 2>/dev/null) || :
  [[ $version =~ ^metrics-service\ ([0-9][0-9A-Za-z.+~-]*)$ ]] ||
    die "$1 does not run here, or is not the service" "build it on the same architecture with a glibc no newer than this host's: cargo build --release --locked"
  SERVICE_TREE=$TREES/metrics-service-${BASH_REMATCH[1]}-$(sum_of "$SERVICE_NEW/bin/metrics-service" | cut -c1-8)
}
