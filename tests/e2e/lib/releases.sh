# Releases to upgrade to: one that follows this checkout's, made in the container from a copy of it,
# and the release archive of this checkout.
# shellcheck shell=bash

# The next release has a checkout, archives and a service of its own.
readonly NEXT=/usr/src/next NEXT_ARCHIVES=/usr/src/next-archives NEXT_SERVICE=/usr/src/next-service
readonly INSTALL_NEXT=("$NEXT/install.sh" --from "$NEXT_ARCHIVES"
  --versions "$NEXT_ARCHIVES/versions.conf" --service-binary "$NEXT_SERVICE")
install_next() { in_container "${INSTALL_NEXT[@]}" "$@"; }

# make_next: version 99.0.0 of everything, with the same programs.
make_next() {
  local component arch url work archive
  work=$(mktemp -d "$SCRATCH/next.XXXXXX")
  mkdir "$work/out"
  while read -r component _ arch _ url _; do
    archive=$work/out/${url##*/}
    # The shipped versions.conf also has the archives of the other architecture.
    [[ $component != '#'* && -f $WORK/payload$ARCHIVE_DIR/${url##*/} ]] || continue
    repack "$WORK/payload$ARCHIVE_DIR/${url##*/}" "$archive"
    echo "$component 99.0.0 $arch $(sha256sum "$archive" | cut -d' ' -f1) $url" \
      >>"$work/out/versions.conf"
  done <"$WORK/payload$ARCHIVE_DIR/versions.conf"
  in_container cp -r "$CHECKOUT" "$NEXT"
  in_container sed -i '0,/^version = .*/s//version = "99.0.0"/' "$NEXT/Cargo.toml"
  in_container sh -c "cp $SERVICE $NEXT_SERVICE && echo >>$NEXT_SERVICE"
  in_container mkdir "$NEXT_ARCHIVES"
  tar --create --directory "$work/out" . |
    in_container tar --extract --no-same-owner --directory "$NEXT_ARCHIVES"
  rm -rf "$work"
}

# make_next_that_differs: changes a file and a socket unit, and removes a file.
make_next_that_differs() {
  make_next
  in_container sh -c "cd $NEXT && echo '# news' >>etc/prometheus/rules/host.yml &&
    rm etc/grafana/dashboards/host.json && echo '# news' >>systemd/metrics-service.socket"
}

# repack ARCHIVE NEW: adds a file.
repack() {
  local dir
  dir=$(mktemp -d "$SCRATCH/repack.XXXXXX")
  case $1 in
  *.zip)
    cp "$1" "$2"
    (cd "$dir" && echo next >next && zip --quiet "$2" next)
    ;;
  *)
    tar --extract --file "$1" --directory "$dir"
    echo next >"$(echo "$dir"/*)/next"
    tar --create --directory "$dir" "$(ls "$dir")" | gzip -1 >"$2"
    ;;
  esac
  rm -rf "$dir"
}

# host_state: lists the stack's files with their checksums, and links with their targets.
host_state() {
  in_container sh -c 'cd / && find opt/metrics-stack -maxdepth 2 ! -name store -printf "%p %y %l\n"
    find etc/metrics-stack etc/systemd/system -type f -exec sha256sum {} +
    find etc/metrics-stack etc/systemd/system ! -type f -printf "%p %y %l\n"' | sort
}

runs_from_store() {
  local component pid
  for component in prometheus metrics-service alloy grafana; do
    pid=$(in_container systemctl show --property MainPID --value \
      "metrics-${component#metrics-}.service")
    equal "program of $component" "$(in_container readlink "/proc/$pid/exe")" \
      "$(in_container readlink -f "/opt/metrics-stack/$component/bin/$component")"
  done
}

# clone_checkout DIRECTORY: clones the last commit. Another user can own the checkout, which git
# accepts only in a file, because the process that reads the checkout gets no options.
clone_checkout() {
  printf '[safe]\n\tdirectory = *\n' >"$1.config"
  GIT_CONFIG_GLOBAL=$1.config git clone --quiet "$ROOT" "$1"
}

# make_archive DIRECTORY: makes the release archive of the last commit in a clone there.
make_archive() { clone_checkout "$1" && "$1/release.sh"; }

# release_archive: prints the path of the release archive, which the scenarios of a run share.
release_archive() {
  (
    flock 9
    [[ -d $WORK/clone/dist ]] || make_archive "$WORK/clone" >&2
  ) 9>"$WORK/clone.lock" || return 1
  echo "$WORK"/clone/dist/*.tar.gz
}

# The release archive is unpacked here in the container.
readonly UNPACKED=/usr/src/release
readonly INSTALL_ARCHIVE=("$UNPACKED/install.sh" --from "$ARCHIVE_DIR"
  --versions "$ARCHIVE_DIR/versions.conf")
install_archive() { in_container "${INSTALL_ARCHIVE[@]}"; }
unpack_archive() {
  local archive
  archive=$(release_archive) || return 1
  in_container mkdir -p "$UNPACKED"
  in_container tar xz --strip-components=1 --directory "$UNPACKED" <"$archive"
}

# purge_by_archive TRACES: leaves no trace of any install.
purge_by_archive() {
  keep purge in_container "$UNPACKED/uninstall.sh" --purge
  same_traces "$1"
}
