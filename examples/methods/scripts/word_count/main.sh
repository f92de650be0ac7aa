#!/usr/bin/env bash
# Counts the bytes, lines and words of a text, and its most frequent words.
#
# A word is a run of ASCII letters and digits. Words of equal count are answered
# in the order of their bytes, so the same text gives the same answer.
#
# Exit code 78: the parameters can never give an answer.
set -euo pipefail
export LC_ALL=C

readonly UNFIT_EXIT_CODE=78
readonly INPUT=$1 PARAMETERS=$2

# Numbers and booleans stand in the JSON text as they are, so sed can read them.
parameter() {
  local value
  value=$(sed -n "s/.*\"$1\" *: *\([a-z0-9]*\) *\([,}].*\)*\$/\1/p" "$PARAMETERS")
  if [[ ! $value =~ ^($2)$ ]]; then
    echo "parameter '$1' is missing or of the wrong type" >&2
    exit "$UNFIT_EXIT_CODE"
  fi
  echo "$value"
}

# One word per line, of the length that was asked for.
words() {
  tr -cs 'A-Za-z0-9' '\n' <"$INPUT" |
    if [[ $ignore_case == true ]]; then tr 'A-Z' 'a-z'; else cat; fi |
    awk -v shortest="$shortest" 'length($0) > 0 && length($0) >= shortest'
}

top=$(parameter top '[0-9]{1,6}')
shortest=$(parameter minimum_length '[0-9]{1,6}')
ignore_case=$(parameter ignore_case 'true|false')
bytes=$(wc -c <"$INPUT")
lines=$(wc -l <"$INPUT")

words | sort | uniq -c | sort -k1,1nr -k2,2 |
  awk -v top="$top" -v bytes="$bytes" -v lines="$lines" '
    { words += $1 }
    NR <= top { list = list (NR > 1 ? "," : "") "{\"count\":" $1 ",\"word\":\"" $2 "\"}" }
    END {
      printf "{\"bytes\":%d,\"distinct_words\":%d,\"lines\":%d,", bytes, NR, lines
      printf "\"top_words\":[%s],\"words\":%d}\n", list, words
    }'
