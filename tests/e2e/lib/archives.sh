# What is installed in the containers: archives in upstream's layout, the service, and the programs behind the fakes.
# shellcheck shell=bash

# prepare IMAGE...: images, programs and archives, as far as no earlier run has left them; one run at a time builds.
prepare() {
  local name job jobs=()
  exec 8>"$CACHE/lock"
  flock 8
  fetch_debian &
  jobs+=($!)
  build_programs &
  jobs+=($!)
  for name in "$@"; do
    build_image "$name" &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job"; done
  fetch_debian
  pack_archives
  flock --unlock 8
  make_payload
}

# Static, so that they run on every Debian whatever this host is.
build_programs() {
  local target
  target=$(rustc -vV | sed -n 's/^host: //p')
  build() { RUSTFLAGS='-C target-feature=+crt-static' cargo build --quiet --release --locked --target "$target" --manifest-path "$1" --target-dir "$CACHE/target"; }
  build "$E2E_DIR/fakes/Cargo.toml"
  build "$ROOT/Cargo.toml"
  ln -sfn "$target/release" "$CACHE/target/programs"
}
readonly PROGRAMS=$CACHE/target/programs

# fetch_debian: the real Prometheus, promtool, node exporter and VictoriaMetrics, of Debian's next release, whose Prometheus is the newest.
# They come by a sources list of their own and change nothing of this host's.
fetch_debian() {
  DEBIAN=$CACHE/debian-$(key "$E2E_DIR/lib/archives.sh" "$(mirror)")
  [[ ! -d $DEBIAN ]] || return 0
  rm -rf "$CACHE"/debian-*
  local lists=$WORK/apt deb
  mkdir -p "$lists"/{lists/partial,cache/archives/partial}
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) forky main" >"$lists/sources.list"
  local apt=(apt-get -qq -o Dir::Etc::SourceList="$lists/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$lists/lists"
    -o Dir::Cache="$lists/cache" -o APT::Sandbox::User=root)
  "${apt[@]}" update
  (cd "$lists" && "${apt[@]}" download prometheus promtool prometheus-node-exporter victoria-metrics)
  for deb in "$lists"/*.deb; do dpkg-deb -x "$deb" "$lists/root"; done
  mv "$lists/root/usr/bin" "$DEBIAN"
}

# pack_archives: leaves in PACKED the three archives and their versions.conf.
pack_archives() {
  if [[ -n ${ARCHIVES-} ]]; then
    [[ -f $ARCHIVES/versions.conf ]] || die "$ARCHIVES has no versions.conf"
    PACKED=$ARCHIVES
    return
  fi
  PACKED=$CACHE/archives-$(key "$E2E_DIR/lib/archives.sh" "$DEBIAN" "$PROGRAMS/alloy" "$PROGRAMS/grafana")
  [[ ! -d $PACKED ]] || return 0
  rm -rf "$CACHE"/archives-*
  local build=$WORK/pack machine
  machine=$(architecture)
  mkdir -p "$build/out"
  pack_prometheus "$build" "$machine"
  pack_alloy "$build" "$machine"
  pack_grafana "$build" "$machine"
  mv "$build/out" "$PACKED"
}

architecture() { case $(uname -m) in aarch64) echo arm64 ;; *) echo amd64 ;; esac }

# pin FOLDER COMPONENT VERSION ARCHITECTURE FILE: the line of versions.conf. The address leads nowhere: tests bring their own.
pin() { echo "$2 $3 $4 $(sha256sum "$1/$5" | cut -d' ' -f1) http://127.0.0.1:1/$5" >>"$1/versions.conf"; }

pack_prometheus() {
  local version folder
  version=$("$DEBIAN/prometheus" --version 2>&1 | sed -n 's/^prometheus, version \([0-9.]*\).*/\1/p')
  folder=prometheus-$version.linux-$2
  mkdir "$1/$folder"
  cp "$DEBIAN/prometheus" "$DEBIAN/promtool" "$1/$folder/"
  tar --create --directory "$1" "$folder" | gzip -1 >"$1/out/$folder.tar.gz"
  pin "$1/out" prometheus "$version" "$2" "$folder.tar.gz"
}

pack_alloy() {
  cp "$PROGRAMS/alloy" "$1/alloy-linux-$2"
  chmod 0644 "$1/alloy-linux-$2"
  (cd "$1" && zip --quiet -1 "out/alloy-linux-$2.zip" "alloy-linux-$2")
  pin "$1/out" alloy 0.0.1-fake "$2" "alloy-linux-$2.zip"
}

pack_grafana() {
  local folder=grafana-0.0.1-fake
  local plugin=$1/$folder/data/plugins-bundled/prometheus
  mkdir -p "$1/$folder"/{bin,conf,public} "$plugin"
  cp "$PROGRAMS/grafana" "$1/$folder/bin/grafana"
  cp "$PROGRAMS/grafana" "$plugin/gpx_prometheus_fake"
  echo '; a fake has no defaults' >"$1/$folder/conf/defaults.ini"
  echo '{"id": "prometheus", "type": "datasource", "executable": "gpx_prometheus_fake", "info": {"version": "0.0.1-fake"}}' >"$plugin/plugin.json"
  tar --create --gzip --directory "$1" --file "$1/out/$folder.linux-$2.tar.gz" "$folder"
  pin "$1/out" grafana 0.0.1-fake "$2" "$folder.linux-$2.tar.gz"
}

# make_payload: what every container has on top of its image.
make_payload() {
  local layer=$WORK/payload
  mkdir -p "$layer"{"$CHECKOUT","$ARCHIVE_DIR","$HELPERS"}
  # What is not committed is tested too, what git ignores is not.
  git -c safe.directory='*' -C "$ROOT" ls-files -z --cached --others --exclude-standard --deduplicate |
    (cd "$ROOT" && while IFS= read -r -d '' file; do [[ ! -f $file ]] || printf '%s\0' "$file"; done) |
    tar --create --directory "$ROOT" --null --files-from=- | tar --extract --no-same-owner --directory "$layer$CHECKOUT"
  cp "$PACKED"/* "$layer$ARCHIVE_DIR"
  cp "$PROGRAMS/metrics-service" "$layer$SERVICE"
  cp "$PROGRAMS"/{load,web} "$layer$HELPERS"
  cp "$DEBIAN"/{prometheus,prometheus-node-exporter,victoria-metrics,vmauth} "$layer$HELPERS"
  chmod -R u=rwX,go=rX "$layer"
}
