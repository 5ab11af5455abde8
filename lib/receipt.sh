# The receipt: what the install put on the host, a line for each, tab-separated. The uninstall removes these and nothing else.
#
#   version V              of metrics-stack
#   tree PATH SHA256       an unpacked archive (its sum) or the service (its binary's)
#   link PATH              the symlink to the live tree
#   file PATH SHA256       a configuration file as it was shipped last: differs from the file when a person edited it
#   unit PATH SHA256       a unit file
#   dir PATH               a folder outside of ours that was not there before
#   package NAME           came from the distribution, and stays
#
# shellcheck shell=bash

receipt_has() { grep --quiet --fixed-strings --line-regexp -e "$2" <(receipt_values "$1"); }

# receipt_values KIND: the paths or names of that kind, in the order in which they were written.
receipt_values() { [[ ! -e $RECEIPT ]] || awk -F'\t' -v kind="$1" '$1 == kind { print $2 }' "$RECEIPT"; }

# receipt_sum PATH: the sum that the receipt gives for it, or nothing.
receipt_sum() { [[ ! -e $RECEIPT ]] || awk -F'\t' -v path="$1" '$2 == path { print $3; exit }' "$RECEIPT"; }

sum_of() { sha256sum "$1" 2>/dev/null | cut -d' ' -f1; }
