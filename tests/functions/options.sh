# What forwarding takes from its options, and what it keeps of a release.
# shellcheck shell=bash

# settled WORD...: prints what the host forwards to, after these options.
settled() {
  local key
  merge_settings
  for key in role url user tenant query-url; do
    [[ -z ${SETTINGS[$key]-} ]] || echo "$key=${SETTINGS[$key]}"
  done | paste -sd' '
}

test_query_url_is_stored_and_used() {
  OPTIONS=(["url"]=https://a.example/api/v1/write ["query-url"]=https://b.example/prom/)
  equal "settings" "$(settled)" \
    "url=https://a.example/api/v1/write query-url=https://b.example/prom/"
  merge_settings
  equal "query URL" "$(query_url)" https://b.example/prom
}

test_values_that_break_a_configuration_are_refused() {
  local key value
  for key in url query-url user tenant; do
    for value in 'https://a.example/"x' "https://a.example/\\x" 'https://a.example/ x' \
      $'https://a.example/\nx'; do
      OPTIONS=(["url"]=https://a.example/w ["$key"]=$value)
      fails merge_settings
      contains "$OUTPUT" \
        "error: invalid --forward-$key (contains a blank, quote, backslash or control character)"
    done
  done
  OPTIONS=(["url"]=https://a.example/w ["role"]=half)
  fails merge_settings
  contains "$OUTPUT" "invalid role: half"
}

# forward.alloy has a block for each credential, and values that a pattern or a sed would change.
test_forward_alloy_has_the_settings() {
  local text
  SETTINGS=(["url"]='https://a.example/w?a=1&b=\1' ["tenant"]='x|&y'
    ["token"]=$SCRATCH/token)
  touch "$SCRATCH/token"
  text=$(forward_alloy)
  contains "$text" $'\t\turl  = "https://a.example/w?a=1&b=\\1"\n\n\t\theaders = '"\
{\"X-Scope-OrgID\" = \"x|&y\"}"$'\n\n\t\tauthorization {'
  contains "$text" $'"/forward-token"\n\t\t}\n\n\t\t// A loopback'
  lacks "$text" basic_auth
  lacks "$text" tls_config
  lacks "$text" FORWARD_
  SETTINGS=(["url"]=https://a.example/w)
  contains "$(forward_alloy)" $'\t\turl  = "https://a.example/w"\n\n\t\t// A loopback'
}

# The edits of outputs.alloy depend on its text.
test_outputs_alloy_forwards() {
  local role outputs=$STAGED/etc/alloy/outputs.alloy
  for role in full agent; do
    mkdir -p "${outputs%/*}"
    cp "$ROOT/etc/alloy/outputs.alloy" "$outputs"
    SETTINGS=(["url"]=https://a.example/w ["role"]=$role)
    stage_forwarding
    if [[ $role == full ]]; then
      contains "$(<"$outputs")" \
        "[prometheus.remote_write.local.receiver, prometheus.remote_write.forward.receiver]"
    else
      contains "$(<"$outputs")" "= [prometheus.remote_write.forward.receiver]"
      equal "lines about the local Prometheus" "$(grep -c '^[^/]*local' "$outputs" || :)" 0
    fi
  done
}

test_query_url_is_derived() {
  local url query
  while read -r url query; do
    SETTINGS=(["url"]=$url)
    equal "query URL for $url" "$(query_url)" "$query"
  done <<'END'
https://a.example/api/v1/write https://a.example
https://a.example/api/v1/receive https://a.example
https://a.example/api/v1/push https://a.example/prometheus
https://a.example/api/prom/push https://a.example/api/prom
https://a.example/insert/0/prometheus/api/v1/write https://a.example/select/0/prometheus
END
}

test_forwarding_ends_on_a_host_with_a_password() {
  mkdir -p "$STATE/credentials"
  echo secret >"$STATE/credentials/a"
  has_stored url https://a.example/w user u password "$STATE/credentials/a"
  OPTIONS=(["none"]=1)
  merge_settings
  equal "settings" "${SETTINGS["url"]-}${SETTINGS["user"]-}${SETTINGS["password"]-}" ""
}

test_a_token_replaces_a_password_and_the_reverse() {
  echo word >"$SCRATCH/new"
  has_stored url https://a.example/w user me password /p tenant t
  OPTIONS=(["token"]=$SCRATCH/new)
  merge_settings
  equal "token" "${SETTINGS["user"]-}|${SETTINGS["password"]-}|${SETTINGS["tenant"]}" "||t"
  SETTINGS=() STORED=()
  has_stored url https://a.example/w token /t
  OPTIONS=(["user"]=me ["password"]=$SCRATCH/new)
  merge_settings
  equal "password" "${SETTINGS["token"]-}|${SETTINGS["user"]}" "|me"
}

# password BYTES~STORED: an empty STORED means that the file is refused.
test_a_password_of_grafana_is_one_line() {
  local bytes stored
  CREDENTIALS=$SCRATCH/stored PASSWORD_FILE=$SCRATCH/grafana-password
  while IFS='~' read -r bytes stored; do
    printf '%b' "$bytes" >"$PASSWORD_FILE"
    if [[ -z $stored ]]; then
      fails check_password
      contains "$OUTPUT" "$PASSWORD_FILE is not one line with at least 5 characters, in UTF-8"
    else
      check_password
      store_password
      equal "stored of $bytes" "$(<"${SETTINGS["admin-password"]}")" "$stored"
      equal "mode" "$(stat --format %a "${SETTINGS["admin-password"]}")" 600
    fi
  done <<'END'
fives~fives
fives\n~fives
fives \t\r\n~fives
\xEF\xBB\xBFfives\r\n~fives
\xC3\xBC\xC3\xB6\xE2\x82\xAC\xF0\x9F\x98\x80x\n~üö€😀x
a "b" \\c $d ${e} #;%f\n~a "b" \c $d ${e} #;%f
~
\n~
four\n~
 four\n~
two\nlines\n~
\nfives\n~
ta\tbs\n~
latin\xFCone\n~
\xFF\xFEf\x00i\x00v\x00e\x00s\x00\n\x00~
f\x00i\x00v\x00e\x00s\x00\n~
END
}

test_a_password_is_kept_until_another_comes() {
  local first
  CREDENTIALS=$SCRATCH/kept PASSWORD_FILE=$SCRATCH/grafana-password
  rm -rf "$CREDENTIALS"
  echo first >"$PASSWORD_FILE"
  store_password
  first=${SETTINGS["admin-password"]} STORED["admin-password"]=$first
  printf 'first \r\n' >"$PASSWORD_FILE"
  store_password
  equal "path of the same password" "${SETTINGS["admin-password"]}" "$first"
  echo other >"$PASSWORD_FILE"
  store_password
  lacks "${SETTINGS["admin-password"]}" "$first"
}

# The password of Grafana is no setting of forwarding, except that an agent has no Grafana.
test_a_password_survives_forwarding() {
  local key
  has_stored url https://a.example/w tenant t admin-password "$STATE/credentials/b"
  for key in none url; do
    OPTIONS=(["$key"]=https://b.example/w)
    merge_settings
    equal "password" "${SETTINGS["admin-password"]}" "$STATE/credentials/b"
    equal "tenant" "${SETTINGS["tenant"]-}" ""
  done
  echo fives >"$SCRATCH/grafana-password"
  PASSWORD_FILE=$SCRATCH/grafana-password OPTIONS=(["role"]=agent)
  fails merge_settings
  contains "$OUTPUT" "an agent has no Grafana"
}

# A unit does not start if the file of a credential is missing.
test_a_deleted_password_is_not_passed_to_grafana() {
  local drop_in=$STAGED/systemd/metrics-grafana.service.d/password.conf
  SERVICE_PATH=$SCRATCH/service SETTINGS["admin-password"]=$SCRATCH/password
  echo fives >"$SCRATCH/password"
  stage_release
  contains "$(<"$drop_in")" "LoadCredential=password:$SCRATCH/password"
  rm -r "$STAGED" "$SCRATCH/password"
  stage_release
  [[ ! -e $drop_in ]]
}
