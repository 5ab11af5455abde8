#!/usr/bin/env bash
# Finds expressions that documentation, comments and messages avoid, and prints a better one for
# each.
#
#   tests/words.sh           every tracked file, except generated ones
#   tests/words.sh FILE...   some files
#
# Exit status: 0 if there are none, 1 otherwise.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Each line: a Perl regular expression, and what to write instead. Grafana has folders; a file
# system has directories.
words() {
  cat <<'LIST'
\b[Ff]ar[ -]ends?\b => central server, or remote-write endpoint for its URL
\b[Ww]hoever\b => name the role: client, caller, administrator, process
(^|[.:;#/*] )Who (?!.*\?) => name the role: client, caller, administrator, process
(^|[.;#/*] )What (is|no|was|has (no|a|been (?!tested))|can|comes|does)\b(?!.*\?) => a noun
(^|[.;#/*] )What (did|did not|both|only|runs|stays|must)\b(?!.*\?) => a noun
\banew\b => again
, too([.,;:)]|$) => also, before the verb
(^|[\s(])[0-9.,]+ %(?=[ ,.;:)]|$) => 5%, without a space
\b(requests|samples|series|bytes|[KMG]B|times|writes|scrapes) a second\b => per second
\b([Mm]end(s|ed)?|mending)\b => fix, repair
\b[Aa] person('s)?\b => you in docs; the administrator, or user-edited, in comments
\bof root's\b => root-only
\bours\b => shipped, or of this stack
\b[Ss]tand-ins?\b => fake
\b[Rr]emed(y|ies)\b => hint
\bcut off\b => interrupted
n[o']t be had\b => could not be downloaded
\b(had|have) from any of\b => downloaded from any of
\bthe way back\b => rollback
\b(go|goes|went|going) on from\b => resume
\b(go|goes|going) back to what\b => roll back to
\bdoes not get ready\b => did not become ready
\b[Ll]ikewise\b => also, or name the thing again
\bbut (for|on) (?!not\b) => except
\bbeside\b => next to, alongside
\b(lies?|lay|lying) (in|at|on|there|about)\b => is in, is stored in
\bstands? in (the|a|each|its)\b => is in, appears in
\bhand(s|ed|ing)? (it |them )?over\b => pass
\btak(es?|en|ing) (it )?away\b => remove
, as (it|they|there|this|these|those|nothing|nobody)\b(?! (do|does|did|will|would)\b) => because
\bis to be\b => can be, must be, or the imperative
\bit says so\b => prints
\bprove[sdn]?\b(?!( nothing|$)) => verify
\b([Cc]olour|[Bb]ehaviour|[Ll]icences?|[Hh]onour|[Ff]avour)(s|ed|ing)?\b => US spelling
\b[a-z]+(alis|ognis|eris|ganis|chronis)(e|es|ed|ing|ation)\b => US spelling: -ize
^(?!.*(Grafana|title|folder:)).*(^|\s)(#|//[/!]?) .*?\K\bfolders?\b(?![=:"]) => directory
^(?!.*Grafana).*\b(say|die|warn|\w*error|fail_check|echo) ".*?\K\bfolders?\b(?![=:"]) => directory
^(?!.*(Grafana|title|folder:))[A-Z|*-].*?\K\bfolders?\b(?![=:"]) => directory
LIST
}

main() {
  local files=("$@") pattern better passed=0 failed=0 found status
  if ((${#files[@]} == 0)); then mapfile -t files < <(text_files); fi
  ((${#files[@]} > 0)) || { echo "error: no files were found" && exit 1; }
  while IFS= read -r pattern; do
    better=${pattern##* => } pattern=${pattern% => *}
    status=0
    found=$(grep -nHoP -e "$pattern" "${files[@]}") || status=$?
    # An error of grep, such as an invalid pattern, must not look like a pass.
    if ((status > 1)); then exit 1; fi
    if ((status == 0)); then
      printf '%s\n' "${found//$'\n'/" → $better"$'\n'} → $better"
      failed=$((failed + 1))
    else
      passed=$((passed + 1))
    fi
  done < <(words)
  printf '%s passed, %s failed\n' "$passed" "$failed"
  ((failed == 0))
}

# text_files: prints the tracked files, except generated ones, and symlinks to files that are here.
text_files() {
  local file
  while IFS= read -r file; do
    if [[ -f $file && ! -L $file ]]; then printf '%s\n' "$file"; fi
  done < <(git ls-files -- ':!*.json' ':!*.lock' ':!*.sum' ':!*.png' ':!LICENSE' ':!tests/words.sh')
}

main "$@"
