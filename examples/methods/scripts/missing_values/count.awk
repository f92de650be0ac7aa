# Reads CSV records and answers with the count of missing cells per column.
# Promises: quoted cells may hold commas, quotes and line ends; a record that is
# not as long as the header is refused, and so is a file without a header.

NR == 1 { sub(/^\357\273\277/, "") }

{
  sub(/\r$/, "")
  record = is_open ? record "\n" $0 : $0
  # A line end inside quotes belongs to the cell: go on with the next line.
  is_open = (gsub(/"/, "\"", record) % 2 == 1)
  if (!is_open && record != "") take(record)
}

END {
  if (refused) exit unfit
  if (is_open) { refuse("a quoted cell has no end"); exit unfit }
  if (!width) { refuse("the data have no header line"); exit unfit }
  answer()
}

function take(record,    i, count) {
  count = split_record(record)
  if (!width) {
    width = count
    for (i = 1; i <= width; i++) { names[i] = cells[i]; missing[i] = 0 }
    return
  }
  rows++
  if (count != width) {
    refuse("row " rows " has " count " cells, the header has " width)
    exit unfit
  }
  count_missing()
}

function count_missing(    i, is_complete) {
  is_complete = 1
  for (i = 1; i <= width; i++)
    if (tolower(cells[i]) ~ /^(na|n\/a|nan|null)?$/) { missing[i]++; is_complete = 0 }
  complete += is_complete
}

# Cuts a record into cells[1..]; returns how many there are.
function split_record(record,    i, count, parts, piece, part) {
  delete cells
  count = 0
  parts = split(record, piece, ",")
  for (i = 1; i <= parts; i++) {
    part = piece[i]
    # A comma inside quotes is part of the cell: put it back.
    while (gsub(/"/, "\"", part) % 2 == 1 && i < parts) part = part "," piece[++i]
    cells[++count] = unquote(part)
  }
  return count
}

function unquote(cell) {
  if (cell ~ /^".*"$/ || (substr(cell, 1, 1) == "\"" && cell ~ /"$/)) {
    cell = substr(cell, 2, length(cell) - 2)
    gsub(/""/, "\"", cell)
  }
  gsub(/^[ \t]+|[ \t]+$/, "", cell)
  return cell
}

function answer(    i, separator) {
  printf "{\"columns\":["
  for (i = 1; i <= width; i++) {
    if (only_incomplete == "true" && !missing[i]) continue
    printf "%s{\"missing\":%s,\"name\":\"%s\"}", separator, shown(missing[i]), escape(names[i])
    separator = ","
  }
  printf "],\"complete_rows\":%s,", shown(rows - complete) == "null" ? "null" : shown(complete + 0)
  printf "\"min_cell_count\":%d,\"rows\":%s}\n", minimum, shown(rows + 0)
}

# A count as the answer may show it: null hides it.
function shown(count) {
  return count > 0 && count < minimum ? "null" : count + 0 ""
}

function escape(text) {
  gsub(/\\/, "&&", text)
  gsub(/"/, "\\\"", text)
  gsub(/[\001-\037]/, " ", text)
  return text
}

function refuse(message) {
  print message > "/dev/stderr"
  refused = 1
}
