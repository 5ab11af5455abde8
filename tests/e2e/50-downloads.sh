#!/usr/bin/env bash
# Archives that come over HTTP, on good days and bad ones: from a server on the container's loopback.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"

readonly PINS=/usr/src/web.conf

# serve COMPONENT=WAYS...: the pins with the addresses of the ways in which the server gives the component's archive.
serve() {
  local component version machine sum url address ways pins=''
  while read -r component version machine sum url _; do
    [[ $component != '#'* && -n $component ]] || continue
    pins+="$component $version $machine $sum"
    ways=plain
    for address in "$@"; do [[ $address != "$component="* ]] || ways=${address#*=}; done
    for address in $ways; do pins+=" http://127.0.0.1:7000/$address/${url##*/}"; done
    pins+=$'\n'
  done <"$WORK/payload$ARCHIVE_DIR/versions.conf"
  in_container tee "$PINS" <<<"$pins" >/dev/null
  in_container truncate --size 0 /run/web.log
}
requests() { in_container cat /run/web.log; }

# One archive is cut on the way, one server is busy, one has nothing: each is had all the same.
bad_days_are_overcome() {
  serve prometheus=cut alloy=busy grafana="gone plain"
  keep download in_container "$CHECKOUT/install.sh" --versions "$PINS" --download /root/fetched
  requests
  contains "$(<"$SCRATCH/download")" "prometheus $(awk '$1 == "prometheus" { print $2; exit }' "$WORK/payload$ARCHIVE_DIR/versions.conf")"
  equal "where the cut download went on, from where it ended" \
    "$(requests | awk '$2 ~ "^/cut/" { print $1, $4 - ended; ended = $6 }' | tr '\n' ' ')" "200 0 206 0 "
  equal "the busy server is asked again" "$(requests | awk '$2 ~ "^/busy/" { print $1 }' | tr '\n' ' ')" "503 200 "
  contains "$(<"$SCRATCH/download")" "/gone/"
  contains "$(requests | tail -n 1)" "200 /plain/"
  equal "what was fetched" "$(in_container sh -c "cd /root/fetched && sha256sum * | cut -d' ' -f1 | sort")" \
    "$(in_container sh -c "awk -v a=$(dpkg --print-architecture) '\$3 == a { print \$4 }' $PINS | sort")"
}

what_is_there_is_not_fetched_again() {
  in_container truncate --size 0 /run/web.log
  in_container "$CHECKOUT/install.sh" --versions "$PINS" --download /root/fetched
  equal "requests" "$(requests)" ""
  in_container rm -r /root/fetched
}

# What did arrive stays for the next run, and a purge takes it.
other_bytes_are_refused() {
  local status=0
  serve alloy=other
  keep refusal in_container "$CHECKOUT/install.sh" --versions "$PINS" --service-binary "$SERVICE" || status=$?
  equal "exit status" "$status" 1
  contains "$(<"$SCRATCH/refusal")" "checksum mismatch for "
  lacks "$(in_container ls /var/cache/metrics-stack)" alloy
  purge_leaves_no_trace "$SCRATCH/before"
}

progress_is_shown() {
  serve
  contains "$(in_container script --quiet --return --command "$CHECKOUT/install.sh --versions $PINS --download /root/fetched" /dev/null)" "100.0%"
  in_container rm -r /root/fetched
}

installs_from_the_web() {
  serve prometheus=cut
  keep install in_container "$CHECKOUT/install.sh" --versions "$PINS" --service-binary "$SERVICE"
  says_how_to_go_on
  equal "downloads that are left" "$(in_container find /var/cache/metrics-stack 2>/dev/null || :)" ""
}

boot trixie
in_container systemd-run --quiet --unit=web --property=StandardOutput=append:/run/web.log "$HELPERS/web" 127.0.0.1:7000 "$ARCHIVE_DIR"
traces >"$SCRATCH/before"
test "a cut download, a busy server and one without the file" bad_days_are_overcome
test "what is there is not fetched again" what_is_there_is_not_fetched_again
test "a file with another checksum" other_bytes_are_refused
test "progress on a terminal" progress_is_shown
test "an install from the web" installs_from_the_web
test "a purge leaves no trace" purge_leaves_no_trace "$SCRATCH/before"
