# Releases that follow the one of this checkout, made up in the container from copies of it.
# shellcheck shell=bash

# The other release has another checkout, other archives and another service.
readonly NEXT=/usr/src/next NEXT_ARCHIVES=/usr/src/next-archives NEXT_SERVICE=/usr/src/next-service
readonly INSTALL_NEXT=("$NEXT/install.sh" --from "$NEXT_ARCHIVES" --versions "$NEXT_ARCHIVES/versions.conf" --service-binary "$NEXT_SERVICE")
install_next() { in_container "${INSTALL_NEXT[@]}" "$@"; }

# make_next: 99.0.0 of everything. Its programs are the same.
make_next() {
  local component machine url work
  work=$(mktemp -d "$SCRATCH/next.XXXXXX")
  mkdir "$work/out"
  while read -r component _ machine _ url; do
    [[ $component != '#'* && -n $component ]] || continue
    repack "$WORK/payload$ARCHIVE_DIR/${url##*/}" "$work/out/${url##*/}"
    echo "$component 99.0.0 $machine $(sha256sum "$work/out/${url##*/}" | cut -d' ' -f1) $url" >>"$work/out/versions.conf"
  done <"$WORK/payload$ARCHIVE_DIR/versions.conf"
  in_container cp -r "$CHECKOUT" "$NEXT"
  in_container sed -i '0,/^version = .*/s//version = "99.0.0"/' "$NEXT/Cargo.toml"
  in_container sh -c "cp $SERVICE $NEXT_SERVICE && echo >>$NEXT_SERVICE"
  in_container mkdir "$NEXT_ARCHIVES"
  tar --create --directory "$work/out" . | in_container tar --extract --no-same-owner --directory "$NEXT_ARCHIVES"
  rm -rf "$work"
}

# make_next_that_differs: in a file, by one that it has no more, and in a socket as well.
make_next_that_differs() {
  make_next
  in_container sh -c "echo '# news' >>$NEXT/etc/prometheus/rules/host.yml && rm $NEXT/etc/grafana/dashboards/host.json && echo '# news' >>$NEXT/systemd/metrics-service.socket"
}

# repack ARCHIVE NEW: with one more file in it.
repack() {
  local folder
  folder=$(mktemp -d "$SCRATCH/repack.XXXXXX")
  case $1 in
  *.zip) cp "$1" "$2" && (cd "$folder" && echo next >next && zip --quiet "$2" next) ;;
  *) tar --extract --file "$1" --directory "$folder" && echo next >"$(echo "$folder"/*)/next" && tar --create --directory "$folder" "$(ls "$folder")" | gzip -1 >"$2" ;;
  esac
  rm -rf "$folder"
}

# What the host has of us, with what is in it: programs by their trees, files by their sums, units by whether they are enabled.
host_state() {
  # shellcheck disable=SC2016  # for the shell in there
  in_container sh -c 'cd / && find opt/metrics-stack -maxdepth 2 ! -name store -printf "%p %y %l\n"
    find etc/metrics-stack etc/systemd/system -type f -exec sha256sum {} +
    find etc/metrics-stack etc/systemd/system ! -type f -printf "%p %y %l\n"' | sort
}

runs_from_store() {
  local component pid
  for component in prometheus metrics-service alloy grafana; do
    pid=$(in_container systemctl show --property MainPID --value "metrics-${component#metrics-}.service")
    equal "program of $component" "$(in_container readlink "/proc/$pid/exe")" "$(in_container readlink -f "/opt/metrics-stack/$component/bin/$component")"
  done
}
