#!/usr/bin/env bash
# Downloads over HTTP, with and without failures, from a server on the container's loopback.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"
. "$E2E_DIR/lib/interrupt.sh"

readonly PINS=/usr/src/web.conf

# serve COMPONENT=MODES...: writes the pins, with a URL for each of the server's modes (see web.rs).
serve() {
  local component version arch sum url argument modes mode pins=''
  while read -r component version arch sum url _; do
    [[ $component != '#'* && -n $component ]] || continue
    pins+="$component $version $arch $sum"
    modes=plain
    for argument in "$@"; do [[ $argument != "$component="* ]] || modes=${argument#*=}; done
    for mode in $modes; do pins+=" http://127.0.0.1:7000/$mode/${url##*/}"; done
    pins+=$'\n'
  done <"$WORK/payload$ARCHIVE_DIR/versions.conf"
  in_container tee "$PINS" <<<"$pins" >/dev/null
  in_container truncate --size 0 /run/web.log
}
requests() { in_container cat /run/web.log; }
# requests_to MODE: prints status, start and end of each.
requests_to() { requests | awk -v path="^/$1/" '$2 ~ path { print $1, $4, $6 }'; }

# One connection is closed halfway, one server is busy, one does not have the file.
failed_downloads_are_retried() {
  serve prometheus=truncated alloy=busy grafana="gone plain"
  keep download in_container "$CHECKOUT/install.sh" --versions "$PINS" --download /root/fetched
  requests
  contains "$(<"$SCRATCH/download")" "prometheus $(in_container sed -n \
    's/^prometheus \([^ ]*\).*/\1/p' "$PINS" | head -n 1)"
  equal "the truncated download is resumed where it ended" \
    "$(requests_to truncated | awk '{ print $1, $2 - end; end = $3 }' | paste -sd' ')" "200 0 206 0"
  equal "the request to the busy server is repeated" \
    "$(requests_to busy | cut -d' ' -f1 | paste -sd' ')" "503 200"
  contains "$(<"$SCRATCH/download")" "/gone/"
  contains "$(requests | tail -n 1)" "200 /plain/"
  # shellcheck disable=SC2016  # awk's own fields
  equal "checksums of the files" \
    "$(in_container sh -c "cd /root/fetched && sha256sum * | cut -d' ' -f1 | sort")" \
    "$(in_container awk -v "a=$(dpkg --print-architecture)" \
      '$3 == a && $1 != "alertmanager" { print $4 }' "$PINS" | sort)"
}

existing_files_are_not_fetched_again() {
  in_container truncate --size 0 /run/web.log
  in_container "$CHECKOUT/install.sh" --versions "$PINS" --download /root/fetched
  equal "requests" "$(requests)" ""
  in_container "$CHECKOUT/install.sh" --versions "$PINS" --download /root/fetched --notify "$PINS"
  equal "requests with --notify" "$(requests | sed 's/.*\/\([a-z]*\)-.*/\1/')" alertmanager
  in_container truncate --size 0 /run/web.log
  in_container "$CHECKOUT/install.sh" --versions "$PINS" --download /root/agent --role agent
  equal "requests for an agent" "$(requests | sed 's/.*\/\([a-z]*\)-.*/\1/')" alloy
  in_container rm -r /root/fetched /root/agent
}

# Complete downloads stay for the next run; a purge removes them.
checksum_mismatch_is_refused() {
  local status=0
  serve alloy=other
  keep refusal in_container "$CHECKOUT/install.sh" --versions "$PINS" \
    --service-binary "$SERVICE" || status=$?
  equal "exit status" "$status" 1
  contains "$(<"$SCRATCH/refusal")" "checksum mismatch for "
  lacks "$(in_container ls /var/cache/metrics-stack)" alloy
  purge_leaves_no_trace "$SCRATCH/before"
}

progress_is_shown() {
  serve
  contains "$(in_container script --quiet --return /dev/null --command \
    "$CHECKOUT/install.sh --versions $PINS --download /root/fetched")" "100.0%"
  in_container rm -r /root/fetched
}

installs_from_the_web() {
  serve prometheus=truncated
  run_until_verify "$CHECKOUT/install.sh" --versions "$PINS" --service-binary "$SERVICE"
  equal "remaining downloads" "$(in_container find /var/cache/metrics-stack 2>/dev/null || :)" ""
}

boot trixie
in_container systemd-run --quiet --unit=web --property=StandardOutput=append:/run/web.log \
  "$HELPERS/web" 127.0.0.1:7000 "$ARCHIVE_DIR"
eventually 10 in_container curl --silent --output /dev/null http://127.0.0.1:7000/
traces >"$SCRATCH/before"
test "a truncated download, a busy server and one without the file" failed_downloads_are_retried
test "existing files are not fetched again" existing_files_are_not_fetched_again
test "a file with another checksum" checksum_mismatch_is_refused
test "progress on a terminal" progress_is_shown
test "an install from the web" installs_from_the_web
test "a purge leaves no trace" purge_leaves_no_trace "$SCRATCH/before"
