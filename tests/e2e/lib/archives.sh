# Files for the containers: archives in upstream's layout, the service, and the helper programs.
# shellcheck shell=bash

# prepare IMAGE...: builds the images, programs and archives that are not in the cache. The lock
# lets one run at a time build.
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
  # Sets DEBIAN in this shell.
  fetch_debian
  pack_archives
  flock --unlock 8
  make_payload
}

# Static, so that the programs run on every Debian.
build_programs() {
  local target manifest
  target=$(rustc -vV | sed -n 's/^host: //p')
  for manifest in "$E2E_DIR/fakes/Cargo.toml" "$ROOT/Cargo.toml"; do
    RUSTFLAGS='-C target-feature=+crt-static' cargo build --quiet --release --locked \
      --target "$target" --manifest-path "$manifest" --target-dir "$CACHE/target"
  done
  ln -sfn "$target/release" "$CACHE/target/programs"
}
readonly PROGRAMS=$CACHE/target/programs

# fetch_debian: leaves in DEBIAN a directory with the real Prometheus, promtool, Alertmanager, node
# exporter and VictoriaMetrics. They come from Debian's next release, which has the newest
# Prometheus, by a sources list of their own; this host's apt stays unchanged.
fetch_debian() {
  DEBIAN=$CACHE/debian-$(key "$E2E_DIR/lib/archives.sh" "$(mirror)")
  [[ ! -d $DEBIAN ]] || return 0
  rm -rf "$CACHE"/debian-*
  local lists=$WORK/apt deb
  mkdir -p "$lists"/{lists/partial,cache/archives/partial}
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) forky main" \
    >"$lists/sources.list"
  local apt=(apt-get -qq -o Dir::Etc::SourceList="$lists/sources.list"
    -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$lists/lists"
    -o Dir::Cache="$lists/cache" -o APT::Sandbox::User=root)
  "${apt[@]}" update
  (cd "$lists" &&
    "${apt[@]}" download prometheus{,-alertmanager,-node-exporter} promtool victoria-metrics)
  for deb in "$lists"/*.deb; do dpkg-deb -x "$deb" "$lists/root"; done
  # Debian's Alertmanager reads its templates from here, upstream's has them inside.
  mv "$lists/root/usr/share/prometheus/alertmanager" "$lists/root/usr/bin/alertmanager-templates"
  mv "$lists/root/usr/bin" "$DEBIAN"
}

# pack_archives: leaves in PACKED the directory of the archives and their versions.conf.
pack_archives() {
  if [[ -n ${ARCHIVES-} ]]; then
    [[ -f $ARCHIVES/versions.conf ]] || die "$ARCHIVES has no versions.conf"
    PACKED=$ARCHIVES
    return
  fi
  local inputs=("$E2E_DIR/lib/archives.sh" "$DEBIAN" "$PROGRAMS/alloy" "$PROGRAMS/grafana")
  PACKED=$CACHE/archives-$(key "${inputs[@]}")
  [[ ! -d $PACKED ]] || return 0
  rm -rf "$CACHE"/archives-*
  local build=$WORK/pack arch
  arch=$(architecture)
  mkdir -p "$build/out"
  pack_debian "$build" "$arch" prometheus prometheus promtool
  pack_debian "$build" "$arch" alertmanager prometheus-alertmanager amtool
  pack_alloy "$build" "$arch"
  pack_grafana "$build" "$arch"
  mv "$build/out" "$PACKED"
}

architecture() { case $(uname -m) in aarch64) echo arm64 ;; *) echo amd64 ;; esac }

# pin DIR COMPONENT VERSION ARCHITECTURE FILE: adds a line to versions.conf. Nothing listens at
# the URL: tests have their own server.
pin() {
  local sum
  sum=$(sha256sum "$1/$5" | cut -d' ' -f1)
  echo "$2 $3 $4 $sum http://127.0.0.1:1/$5" >>"$1/versions.conf"
}

# pack_debian DIR ARCHITECTURE COMPONENT PROGRAM TOOL
pack_debian() {
  local version dir
  version=$("$DEBIAN/$4" --version 2>&1 | sed -n "s/^$3, version \([0-9.]*\).*/\1/p")
  dir=$3-$version.linux-$2
  mkdir "$1/$dir"
  cp "$DEBIAN/$4" "$1/$dir/$3"
  cp "$DEBIAN/$5" "$1/$dir/"
  tar --create --directory "$1" "$dir" | gzip -1 >"$1/out/$dir.tar.gz"
  pin "$1/out" "$3" "$version" "$2" "$dir.tar.gz"
}

pack_alloy() {
  cp "$PROGRAMS/alloy" "$1/alloy-linux-$2"
  chmod 0644 "$1/alloy-linux-$2"
  (cd "$1" && zip --quiet -1 "out/alloy-linux-$2.zip" "alloy-linux-$2")
  pin "$1/out" alloy 0.0.1-fake "$2" "alloy-linux-$2.zip"
}

pack_grafana() {
  local dir=grafana-0.0.1-fake
  local plugin=$1/$dir/data/plugins-bundled/prometheus
  mkdir -p "$1/$dir"/{bin,conf,public} "$plugin"
  cp "$PROGRAMS/grafana" "$1/$dir/bin/grafana"
  cp "$PROGRAMS/grafana" "$plugin/gpx_prometheus_fake"
  touch "$1/$dir/conf/defaults.ini"
  tar --create --gzip --directory "$1" --file "$1/out/$dir.linux-$2.tar.gz" "$dir"
  pin "$1/out" grafana 0.0.1-fake "$2" "$dir.linux-$2.tar.gz"
}

# make_payload: makes the overlay layer that every container has on top of its image.
make_payload() {
  local layer=$WORK/payload file
  mkdir -p "$layer"{"$CHECKOUT","$ARCHIVE_DIR","$HELPERS",/usr/share/prometheus}
  # Uncommitted files are tested too, ignored ones are not.
  git -c safe.directory='*' -C "$ROOT" ls-files -z \
    --cached --others --exclude-standard --deduplicate |
    (cd "$ROOT" && while IFS= read -r -d '' file; do
      [[ ! -f $file ]] || printf '%s\0' "$file"
    done) |
    tar --create --directory "$ROOT" --null --files-from=- |
    tar --extract --no-same-owner --directory "$layer$CHECKOUT"
  cp "$PACKED"/* "$layer$ARCHIVE_DIR"
  cp "$PROGRAMS/metrics-service" "$layer$SERVICE"
  cp "$PROGRAMS"/{load,web} "$layer$HELPERS"
  cp "$DEBIAN"/{prometheus,prometheus-node-exporter,victoria-metrics,vmauth} "$layer$HELPERS"
  cp -r "$DEBIAN/alertmanager-templates" "$layer/usr/share/prometheus/alertmanager"
  chmod -R u=rwX,go=rX "$layer"
}
