# What forwarding takes from its options, and what it keeps of a release.
# shellcheck shell=bash

# settled WORD...: prints what the host forwards to, after these options.
settled() {
  local key
  merge_settings
  for key in role url user tenant query-url; do [[ -z ${SETTINGS[$key]-} ]] || echo "$key=${SETTINGS[$key]}"; done | paste -sd' '
}

test_query_url_is_stored_and_used() {
  OPTIONS=(["url"]=https://a.example/api/v1/write ["query-url"]=https://b.example/prom/)
  equal "settings" "$(settled)" "url=https://a.example/api/v1/write query-url=https://b.example/prom/"
  merge_settings
  equal "query URL" "$(query_url)" https://b.example/prom
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
