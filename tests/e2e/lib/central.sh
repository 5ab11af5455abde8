# The central server that hosts forward to: a real VictoriaMetrics behind its vmauth, with TLS and
# a password. It is in a network namespace of its own, to which machines are connected.
# shellcheck shell=bash

readonly CENTRAL_URL=https://central.example:8427/api/v1/write
CENTRAL=$SCRATCH/central

# start_central_server LOGIN...: each USER:PASSWORD or :TOKEN.
start_central_server() {
  mkdir -p "$CENTRAL"
  unshare --net sleep infinity &
  CENTRAL_NETWORK=$!
  eventually 10 has_own_network
  on_central ip link set lo up
  make_certificate central
  make_certificate wrong
  set_logins "$@"
  start python3 "$E2E_DIR/lib/slow_proxy.py" "$CENTRAL" 8429 8428
  run_central_server
}
on_central() { nsenter --target "$CENTRAL_NETWORK" --net "$@"; }
# start COMMAND...: leaves its process ID in $!, so it calls no function in the background.
start() { nsenter --target "$CENTRAL_NETWORK" --net "$@" >>"$CENTRAL/log" 2>&1 & }
has_own_network() {
  [[ $(readlink "/proc/$CENTRAL_NETWORK/ns/net") != "$(readlink /proc/self/ns/net)" ]]
}

# make_certificate NAME: self-signed.
make_certificate() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
    -subj /CN=central.example -addext subjectAltName=DNS:central.example \
    -keyout "$CENTRAL/$1.key" -out "$CENTRAL/$1.pem" 2>>"$CENTRAL/log"
}

# set_logins LOGIN...: also of a running server.
set_logins() {
  local login
  {
    echo users:
    for login; do
      case $login in
      :*) printf "  - {bearer_token: '%s'," "${login#:}" ;;
      *) printf "  - {username: '%s', password: '%s'," "${login%%:*}" "${login#*:}" ;;
      esac
      echo " url_prefix: 'http://127.0.0.1:8429'}"
    done
  } >"$CENTRAL/users.yml"
  [[ ! -e $CENTRAL/pids ]] || kill -HUP "$(tail -n 1 "$CENTRAL/pids")"
}

# Process IDs are in a file, because tests run in subshells.
run_central_server() {
  start "$WORK/payload$HELPERS/victoria-metrics" -storageDataPath="$CENTRAL/data" \
    -httpListenAddr=127.0.0.1:8428 -search.latencyOffset=1s -loggerLevel=ERROR
  echo $! >"$CENTRAL/pids"
  start "$WORK/payload$HELPERS/vmauth" -auth.config="$CENTRAL/users.yml" \
    -httpListenAddr=:8427 -tls -loggerLevel=ERROR \
    -tlsCertFile="$CENTRAL/central.pem" -tlsKeyFile="$CENTRAL/central.key"
  echo $! >>"$CENTRAL/pids"
  eventually 20 central_query 1 >/dev/null 2>&1
  eventually 20 on_central curl --silent --insecure --output /dev/null https://127.0.0.1:8427/
}
stop_central_server() {
  local pid
  while read -r pid; do kill "$pid" && eventually 20 is_gone "$pid"; done <"$CENTRAL/pids"
}

# connect_to_central NUMBER: connects the machine, and adds central.example to its /etc/hosts.
connect_to_central() {
  ip link add eth0 netns "$(leader)" type veth peer name "central$1" netns "$CENTRAL_NETWORK"
  on_central ip address add "10.9.$1.1/24" dev "central$1"
  on_central ip link set "central$1" up
  on_network ip address add "10.9.$1.2/24" dev eth0
  on_network ip link set eth0 up
  in_container sh -c "echo 10.9.$1.1 central.example >>/etc/hosts"
}

# central_query PROMQL: prints the response of VictoriaMetrics itself.
central_query() {
  on_central curl --silent --show-error --fail --max-time 20 --get \
    --data-urlencode "query=$1" --data-urlencode nocache=1 http://127.0.0.1:8428/api/v1/query
}
central_instances() { central_query "count by (instance) ($1)" | labels instance; }
# central_samples SELECTOR: prints their times.
central_samples() { central_query "$1" | sample_times; }
