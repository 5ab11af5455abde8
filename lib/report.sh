# What a bug report needs to know of this host, in one text, read only, however broken the install is.

# report FILE ARGUMENT-OF-VERIFY_ALL...
report() {
  local unit
  {
    echo "metrics-stack $VERSION, reported on $(date --utc --iso-8601=seconds)"
    section "host" sh -c 'grep ^PRETTY_NAME /etc/os-release; uname -srm; systemctl --version | head -n 1; getconf GNU_LIBC_VERSION; nproc; head -n 3 /proc/meminfo'
    section "release" find "$OPT" -maxdepth 2 -printf '%p %l\n'
    section "what differs from the release" plan "$(realpath "$OPT/current")"
    section "units" systemctl list-units --all --full --no-pager 'metrics-*'
    section "memory" systemctl show --property Id,MemoryCurrent,MemoryPeak,MemoryMax "${UNITS[@]}"
    section "drop-ins" systemctl show --property Id,DropInPaths,NRestarts,Result,UnitFileState 'metrics-*'
    section "ports" sh -c 'ss --listening --tcp --numeric || cat /proc/net/tcp /proc/net/tcp6'
    section "disk" df --human-readable "$OPT" "$VAR" "$ETC" "$LOGS"
    for unit in "${UNITS[@]}"; do section "journal of $unit" journalctl --quiet --no-pager --lines 30 --output short-iso --unit "$unit"; done
    section "files of applications" find -L "$ETC/targets.d" -mindepth 1 -printf '%M %u %g %s %TY-%Tm-%Td %TH:%TM %f\n'
    section "their targets of which Prometheus has no up" targets_without_up
    # Their names begin with their times.
    section "the last run" sh -c "tail -n 60 \"\$(ls $LOGS/*.log | tail -n 1)\""
    section "verify" verify_all "${@:2}"
  } 2>&1 | without_secrets >"$1"
  say "the report is in $1; read it before you attach it anywhere"
}

section() { printf '\n== %s\n' "$1" && { "${@:2}" || echo "(could not be told)"; }; }

# targets_without_up: prints what looks like an address in the files of targets.d, where no instance has that name. A target that
# Alloy refuses, such as http://shop:9200, is not even down.
targets_without_up() {
  local up file address
  up=$(curl_local 9090/api/v1/query --get --data-urlencode query=up) || return
  while IFS=$'\t' read -r file address; do
    [[ $up == *"\"instance\":\"$address\""* ]] || echo "$file: $address"
  done < <(target_files | while IFS= read -r file; do
    sed -E 's/(^|[[:blank:]])#.*//' "$file" 2>/dev/null | grep -oE '(https?://)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):[0-9]+[^] ,"'\'']*' | sed "s|^|${file##*/}\t|"
  done)
}

# without_secrets: masks whatever looks like a secret. No source of the report should contain one, but some do. Of a secret that is
# named, the rest of the line goes. Paths of files with secrets stay, and so do names and sums without capital letters.
without_secrets() {
  local name='passw(or)?d|passwd|passphrase|pass|passcode|otp|pwd|secret|token|jwt|credential|authorization|x-auth|cookie|session|signature|basic_auth|bearer'
  name+='|(api|access|account|auth|private|signing|encryption|master|license|sas)[_-]?key|[a-z0-9]_key'
  # shellcheck disable=SC2016  # expressions of sed
  sed -E '
    # Private keys: in one line, or up to their end or the next section.
    s/-----BEGIN[A-Z0-9 ]* PRIVATE KEY.*-----END[A-Z0-9 -]*/…/g
    /-----BEGIN[A-Z0-9 ]* PRIVATE KEY/,/-----END|^== /{ /^== /!{ /-----BEGIN/!s/.*/…/; s/-----BEGIN.*/…/ } }
    # User and password of a URL: a password may contain / and @.
    s#(://)[^[:space:]]*@#\1…@#g
    s#(^|[[:space:]"=(])[^[:space:]/:"=(]+:[^[:space:]]+@([[:alnum:]])#\1…@\2#g
    s/((^|[^[:alnum:]])(user|login)(name)?["'\'']?[[:blank:]]*[=:][[:blank:]]*["'\'']?[^[:space:]:"]+:)[^[:space:]"'\'']+/\1…/Ig
    # A byte that no text has keeps the names of files from the rule below.
    s/[_-](file|path|dir)\b/\x01&/Ig
    s/((^|[^[:alnum:]])--?[a-z-]*('"$name"')[a-z-]*)[[:blank:]]+[^-[:space:]].*/\1 …/I
    s/((^|[^[:alnum:]])(-u|--user|--proxy-user)[ =]).*/\1…/
    /('"$name"')[^][ =:,;\x01]*[]["'\'']*[[:blank:]]*[=:][[:blank:]]*[|>]?[-+0-9]*[[:blank:]]*$/I{ n; s/[^[:blank:]].*/…/ }
    s/(('"$name"')[^ =:,;\x01]*[[:blank:]]*[=:]+>?[[:blank:]]*).*/\1…/I
    s/([?&;](key|sig|code|auth|hash|pw|p|k)=)[^&[:space:]"]*/\1…/Ig
    s/basic[ _-]auth/\x01&/Ig
    s/(^|[^\x01[:alnum:]])(Bearer|Basic|ApiKey)([[:blank:]]+)[^[:space:]"'\'']+/\1\2\3…/Ig
    s/\x01//g
    s/\b(Token[[:blank:]]+)[A-Za-z0-9._~+/=-]{16,}/\1…/Ig
    s/\b(identified by|sshpass -p|login [^ ]+ password)[[:blank:]]+[^[:blank:]]+/\1 …/Ig
    # Tokens that their first letters tell, and hooks whose path is the secret.
    s/\b(gh[opusr]_|github_pat_|gl(c|sa|pat|ft|rt)[_-]|eyJ|xox[a-z]-|xapp-|hv[sb]\.|dop_v1_|AIza|ya29\.|AKIA|ASIA)[A-Za-z0-9._~+/=-]+/…/g
    s/\b(sk|rk|pk|hf|npm|SG)([-_.])[A-Za-z0-9._-]{20,}/…/g
    s#(hooks\.slack\.com/[a-z]+/|/api/webhooks/|api\.telegram\.org/bot|/webhook/)[^[:space:]"]+#\1…#g
    # Hashes of passwords, as a file of logins has them.
    s/\$(2[abxy]|apr1|[156y]|argon2[a-z]*)\$[^[:space:]"]+/…/g
    # Long words of capital and small letters and digits.
    s#\b([A-Za-z0-9_-]{32,}|[A-Za-z0-9+/]{40,})={0,2}#\x01&\x02#g
    s/\x01([^A-Z\x02]*)\x02/\1/g
    s/\x01([^a-z\x02]*)\x02/\1/g
    s/\x01([^0-9\x02]*)\x02/\1/g
    s/\x01[^\x02]*\x02/…/g'
}
