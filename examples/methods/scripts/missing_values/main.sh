#!/usr/bin/env bash
# Counts the missing values of each column of a CSV file, and the complete rows.
#
# A cell is missing when it is empty or says NA, NaN or null. A count below the
# minimum cell count is answered as null. The client may ask for a stricter
# minimum than the default, and for a laxer one only down to FLOOR.
#
# Exit code 78: the parameters or the data can never give an answer.
set -euo pipefail
export LC_ALL=C

readonly FLOOR=3
readonly UNFIT_EXIT_CODE=78
readonly INPUT=$1 PARAMETERS=$2

refuse() {
  echo "$1" >&2
  exit "$UNFIT_EXIT_CODE"
}

# Numbers and booleans stand in the JSON text as they are, so sed can read them.
parameter() {
  local value
  value=$(sed -n "s/.*\"$1\" *: *\([a-z0-9]*\) *\([,}].*\)*\$/\1/p" "$PARAMETERS")
  [[ $value =~ ^($2)$ ]] || refuse "parameter '$1' is missing or of the wrong type"
  echo "$value"
}

minimum=$(parameter min_cell_count '[0-9]{1,9}')
only_incomplete=$(parameter only_incomplete 'true|false')
((minimum >= FLOOR)) || refuse "parameter 'min_cell_count' must be at least $FLOOR"

awk -v minimum="$minimum" -v only_incomplete="$only_incomplete" \
  -v unfit="$UNFIT_EXIT_CODE" -f count.awk "$INPUT"
