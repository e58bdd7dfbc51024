# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced after tools/stage.sh: packages of another suite or processor, fetched with apt's own
# directories made private and the machine's own source entries, so that nothing on the system changes
# and apt checks the archive's signatures as always.
#
#   private_apt_begin WORK SUITE [APT OPTION...]   sources and lists under WORK/apt; sets private_apt_options
#   apt-get "${private_apt_options[@]}" ...
#
# SUITE "": this release with its updates and security updates; else that suite in this release's place.

# Rewrites one apt source file (one-line .list or deb822 .sources) to stdout. Foreign suites and what
# binds an entry to one processor are left out.
private_apt_sources() {
  local file=$1 codename=$2 suite=$3
  case $file in
    *.list)
      sed -E 's/[[:blank:]]?arch(itectures)?[-+]?=[^][:blank:]]*//; s/\[[[:blank:]]*\]//' "$file" | awk -v old="$codename" -v new="$suite" '
        $1 != "deb" { next }
        { at = 2
          if ($2 ~ /^\[/) { while ($at !~ /\]$/ && at < NF) at++; at++ }
          s = at + 1
          ours = $s == old || $s == "stable" || $s == "oldstable"
          if (new != "" && ours) { $s = new; print }
          else if (new == "" && (ours || $s ~ "^(" old "|stable|oldstable)[-/](updates|security)$")) print }'
      ;;
    *.sources)
      awk -v old="$codename" -v new="$suite" '
        function flush(   i, n, parts, kept) {
          n = split(suites, parts, /[ \t]+/)
          kept = ""
          for (i = 1; i <= n; i++) {
            if (parts[i] == old || parts[i] == "stable" || parts[i] == "oldstable")
              kept = new == "" ? kept " " parts[i] : " " new
            else if (new == "" && parts[i] ~ "^(" old "|stable|oldstable)[-/](updates|security)$")
              kept = kept " " parts[i]
          }
          if (kept != "" && binary && enabled) printf "%sSuites:%s\n\n", text, kept
          text = suites = field = ""; binary = 0; enabled = 1
        }
        BEGIN { enabled = 1 }
        /^#/ { next }
        /^[ \t]*$/ { flush(); next }
        /^[ \t]/ { if (field == "suites") suites = suites " " $0; else if (field !~ /^architectures/) text = text $0 "\n"; next }
        { field = tolower($0); sub(/[ \t]*:.*/, "", field)
          value = $0; sub(/^[^:]*:[ \t]*/, "", value)
          if (field == "suites") { suites = value; next }
          if (field ~ /^architectures/) next
          if (field == "types") { binary = value ~ /(^|[ \t])deb([ \t]|$)/; text = text "Types: deb\n"; next }
          if (field == "enabled" && tolower(value) ~ /^(no|false|0|off)/) enabled = 0
          text = text $0 "\n" }
        END { flush() }' "$file"
      ;;
  esac
}

private_apt_begin() {
  local work=$1 suite=$2 codename file parts_dir
  shift 2
  codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
  mkdir -p "$work"/apt/{sources,lists/partial,cache/archives/partial,deb}
  parts_dir=$(apt-config shell dir Dir::Etc::sourceparts/d | sed -n "s/^dir='\(.*\)'$/\1/p")
  for file in /etc/apt/sources.list "${parts_dir%/}"/*.list "${parts_dir%/}"/*.sources; do
    [[ -r $file ]] || continue
    private_apt_sources "$file" "$codename" "$suite" >"$work/apt/sources/$(basename "$file")"
  done
  find "$work/apt/sources" -type f -empty -delete
  [[ -n $(ls "$work/apt/sources") ]] || return 1
  private_apt_options=(
    -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$work/apt/sources"
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
    -o "Dir::State::Lists=$work/apt/lists" -o "Dir::Cache=$work/apt/cache"
    -o APT::Sandbox::User=root -o APT::Default-Release= -o Acquire::Languages=none -o Acquire::Retries=3 "$@")
}
