# What a bug report needs to know about this host, however broken the installation is.

# report FILE ARGUMENT-OF-VERIFY_ALL...
report() {
  local unit
  {
    echo "metrics-stack $VERSION, reported on $(date --utc --iso-8601=seconds)"
    section "host" sh -c 'grep ^PRETTY_NAME /etc/os-release; uname -srm; getconf GNU_LIBC_VERSION
      systemctl --version | head -n 1; nproc; head -n 3 /proc/meminfo'
    section "release" find "$OPT" -maxdepth 2 -printf '%p %l\n'
    section "differences from the release" plan "$(realpath "$OPT/current")"
    section "units" systemctl list-units --all --full 'metrics-*'
    section "properties" systemctl show 'metrics-*' \
      --property Id,DropInPaths,NRestarts,Result,MemoryCurrent,MemoryPeak,MemoryMax
    section "ports" sh -c 'ss --listening --tcp --numeric || cat /proc/net/tcp /proc/net/tcp6'
    section "disk" df --human-readable "$OPT" "$VAR" "$ETC" "$LOGS"
    for unit in "${UNITS[@]}"; do
      section "journal of $unit" journalctl -q -n 30 -o short-iso -u "$unit"
    done
    section "files in targets.d" find -L "$ETC/targets.d" -mindepth 1 -printf '%M %u %g %s %t %f\n'
    section "targets without up in Prometheus" targets_without_up
    section "the last run" sh -c "tail -n 60 \"\$(ls $LOGS/*.log | tail -n 1)\""
    # A failed check is a result, not a missing section.
    section "verify" true
    verify_all "${@:2}" || :
  } 2>&1 | mask_secrets >"$1"
  say "the report is in $1; read it before you attach it anywhere"
}

section() {
  printf '\n== %s\n' "$1"
  "${@:2}" || echo "(not available)"
}

# targets_without_up: prints the addresses in targets.d that no instance has. Alloy reports nothing
# about a target that it refuses, such as http://shop:9200.
targets_without_up() {
  local up file address
  local pattern='(https?://)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):[0-9]+[^] ,"'\'']*'
  up=$(curl_local 9090/api/v1/query --get --data-urlencode query=up) || return
  while IFS= read -r file; do
    while IFS= read -r address; do
      if [[ $up != *"\"instance\":\"$address\""* ]]; then echo "${file##*/}: $address"; fi
    done < <(sed -E 's/(^|[[:blank:]])#.*//' "$file" | grep -oE "$pattern")
  done < <(target_files)
}

# mask_secrets: masks everything that might be a secret, and much that is not. These sources should
# not contain secrets, but some do.
mask_secrets() {
  local name='(pass(w|ph|code|_|[0-9]|\b)|pwd|otp|secret|token|jwt|credential|auth|cookie|session'
  name+='|signature|bearer|basic\b|identified by|(api|access|private)[_-]?key|key\b)'
  # shellcheck disable=SC2016  # expressions of sed
  sed -E '
    # Private keys and certificates: on one line, or until their end or the next section.
    s/-----BEGIN.*-----END[A-Z -]*/…/g
    /-----BEGIN/,/-----END|^== /{ /^== /!s/.*/…/ }
    # User and password of a URL; the password might contain / and @.
    s/[^[:space:]"]*:[^[:space:]]*@/…@/g
    s/((-u|user|login)[a-z-]*["'\'']?[ =:]+["'\'']?[^[:space:]:]+:).*/\1…/I
    s/([?&][^=&[:space:]]+=)[^&[:space:]"]+/\1…/g
    # A named secret: the rest of the line, and the next line if there is no rest.
    /'"$name"'[^ :=]*[[:blank:]]*[:=][[:blank:]]*([|>][-+0-9]*)?$/I{ n; s/[^[:blank:]].*/…/ }
    s/('"$name"'[a-z_-]*["'\'']?[:= ]*).*/\1…/I
    # Tokens by their prefix, hooks, and hashes of passwords.
    s/\b(gh[a-z]_|github_|gl(c|sa|pat|ft|rt)[_-]|eyJ|xox[a-z]-|xapp-)[A-Za-z0-9._-]+/…/g
    s/\b([srp]k[_-]|hf_|npm_|SG\.|hv[sb]\.|dop_v1_|AIza|ya29\.|A[KS]IA)[A-Za-z0-9._-]+/…/g
    s#(hooks\.[a-z.]+|/webhooks?|api\.telegram\.org)/[^[:space:]"]+#\1/…#g
    s/\$[0-9a-z]+\$[^[:space:]"]+/…/g
    # Long words with a digit next to a capital letter.
    s#[A-Za-z0-9+/_-]{6,}([0-9][A-Z]|[A-Z][0-9])[A-Za-z0-9+/_-]{6,}#…#g'
}
