# Commands of docs/ that a scenario runs only once, and on one make of coreutils.
# shellcheck shell=bash disable=SC2034,SC2154,SC2317  # harness.sh sets and calls these

# The file may be there from an earlier run, and may have been readable by everyone.
test_a_password_is_written_for_root_alone() {
  local command mode
  command=$(grep -E "^(sudo rm|echo .*) .*/etc/central-password" "$ROOT/docs/forwarding.md")
  command=${command//\/etc\//$SCRATCH/}
  sudo() { "$@"; }
  umask 022
  for mode in absent 600 644; do
    [[ $mode == absent ]] || chmod "$mode" "$SCRATCH/central-password"
    eval "$command"
    equal "the file over one of mode $mode" \
      "$(stat --format %a "$SCRATCH/central-password") $(<"$SCRATCH/central-password")" \
      "600 the password"
  done
}

test_the_readme_counts_the_alerts() {
  local count
  count=$(cat "$ROOT"/etc/prometheus/rules/*.yml | grep -c 'alert:')
  contains "$(<"$ROOT/README.md")" "- $count alerts"
  contains "$(<"$ROOT/CHANGELOG.md")" "$count alerts"
}

# The URL of the archives and the repository are placeholders until the heading of CHANGELOG.md
# announces a release.
test_the_docs_fetch_this_version() {
  local page placeholder
  for page in README.md docs/operations.md docs/scaling.md; do
    contains "$(<"$ROOT/$page")" "/metrics-stack-$VERSION-linux-amd64.tar.gz"
  done
  contains "$(<"$ROOT/CHANGELOG.md")" "## $VERSION"
  for placeholder in example.invalid OWNER/REPOSITORY; do
    grep -q "^## $VERSION, not yet released" "$ROOT/CHANGELOG.md" ||
      lacks "$(<"$ROOT/README.md")" "$placeholder"
  done
}
