# The far end of forwarding: a real VictoriaMetrics behind its vmauth, with TLS and a password, in a network namespace of its own
# that machines are cabled to.
# shellcheck shell=bash

readonly FAR_URL=https://far.example:8427/api/v1/write
# The same with a certificate that has the name as common name only.
readonly CN_URL=https://far.example:8426/api/v1/write
FAR=$SCRATCH/far

# make_far_end USER:PASSWORD-OR-TOKEN..., with no user before a token
make_far_end() {
  mkdir -p "$FAR"
  unshare --net sleep infinity &
  FAR_NETWORK=$!
  eventually 10 has_own_network
  on_far ip link set lo up
  certify far -addext subjectAltName=DNS:far.example
  certify wrong -addext subjectAltName=DNS:far.example
  certify cn
  logins_are "$@"
  start python3 "$E2E_DIR/lib/slow_proxy.py" "$FAR" 8429 8428
  far_is_back
}
on_far() { nsenter --target "$FAR_NETWORK" --net "$@"; }
# start COMMAND...: leaves its process in $!
start() { nsenter --target "$FAR_NETWORK" --net "$@" >>"$FAR/log" 2>&1 & }
has_own_network() { [[ $(readlink "/proc/$FAR_NETWORK/ns/net") != "$(readlink /proc/self/ns/net)" ]]; }

# certify NAME OPTION...: signed by itself, so that it is its own authority's.
certify() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=far.example \
    "${@:2}" -keyout "$FAR/$1.key" -out "$FAR/$1.pem" 2>>"$FAR/log"
}

logins_are() {
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
  } >"$FAR/users.yml"
  [[ ! -e $FAR/pids ]] || kill -HUP "$(tail -n 1 "$FAR/pids")"
}

# In files, as tests run in subshells.
far_is_back() {
  start "$WORK/payload$HELPERS/victoria-metrics" -storageDataPath="$FAR/data" -httpListenAddr=127.0.0.1:8428 -search.latencyOffset=1s -loggerLevel=ERROR
  echo $! >"$FAR/pids"
  start "$WORK/payload$HELPERS/vmauth" -auth.config="$FAR/users.yml" -httpListenAddr=:8427,:8426 -tls=true,true \
    -tlsCertFile="$FAR/far.pem,$FAR/cn.pem" -tlsKeyFile="$FAR/far.key,$FAR/cn.key" -loggerLevel=ERROR
  echo $! >>"$FAR/pids"
  eventually 20 far_query 1 >/dev/null 2>&1
  eventually 20 on_far curl --silent --insecure --output /dev/null https://127.0.0.1:8427/
}
far_goes_away() {
  local pid
  while read -r pid; do kill "$pid" && eventually 20 is_gone "$pid"; done <"$FAR/pids"
}

# cable NUMBER: connects the machine, which then knows far.example.
cable() {
  ip link add eth0 netns "$(leader)" type veth peer name "far$1" netns "$FAR_NETWORK"
  on_far ip address add "10.9.$1.1/24" dev "far$1"
  on_far ip link set "far$1" up
  on_network ip address add "10.9.$1.2/24" dev eth0
  on_network ip link set eth0 up
  in_container sh -c "echo 10.9.$1.1 far.example >>/etc/hosts"
}

# far_query PROMQL: the answer of the store itself.
far_query() { on_far curl --silent --show-error --fail --max-time 20 --get --data-urlencode "query=$1" --data-urlencode nocache=1 http://127.0.0.1:8428/api/v1/query; }
far_instances() { far_query "count by (instance) ($1)" | grep -o '"instance":"[^"]*"' | cut -d'"' -f4 | sort | paste -sd' '; }
# far_samples SELECTOR: their times.
far_samples() { far_query "$1" | grep -o '\[[0-9.]*,"[^"]*"\]' | sed 's/^\[\([0-9]*\).*/\1/'; }
