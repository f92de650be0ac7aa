#!/bin/sh
# Runs the jobs of one array task, one after the other: `task.sh ARRAYFOLDER [late]`, with Slurm's
# own variables set. It is the batch script itself, and needs a POSIX shell, /proc and the tools of
# every Linux. `tasks/TASK` in the array's folder says what to run, by calling `job`.
#
# What it promises of each job: it is started at most once, by whoever makes its `start`; it is
# killed with everything it started when it is over its limits, when it was cancelled and when
# Slurm says so; `exit` is there, whole, once nothing of it runs, then `ended/TASK.POSITION`.
#
# To fork costs 0.2 ms, to start a program 0.6 ms more, and shells read /proc byte by byte: so one
# watcher serves all jobs of the task. It kills but never signals this shell: a `wait` that a trap
# interrupts may lose the status of a job (bash). With `late` it starts only when Slurm sends
# SIGURG, within a minute: most short jobs need none. Who does not wait for that signal ignores it.

umask 077
ulimit -c 0
trap '' USR1        # sites may have it sent, as a warning
devices=            # which of the node's Slurm has given the task, as methods are told it
for clean in CUDA_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES GPU_DEVICE_ORDINAL ZE_AFFINITY_MASK; do
    eval "given=\${$clean-}"
    case $given in '' | *[!A-Za-z0-9,:._/-]*) ;; *) devices="$devices $clean=$given" ;; esac
done
set -- "$1" "$SLURM_ARRAY_TASK_ID" "$SLURM_ARRAY_JOB_ID" "${SLURMD_NODENAME-}" "$PATH" "${2-}" \
    "$devices"
if [ "${BASH_VERSION-}${KSH_VERSION-}${ZSH_VERSION-}" ]; then
    set -- "$1" "$2" "$3" "$4" "$5" "" "$7"
    clean=          # these hand on what is no variable of theirs, too: jobs need `env -i`
    LC_ALL=C
    export LC_ALL   # tools start quicker
else
    set -f
    IFS="
"
    for clean in $(export -p); do
        clean=${clean#export } clean=${clean%%=*}
        case $clean in '' | [0-9]* | *[!A-Za-z0-9_]* | IFS) ;; *) unset "$clean" ;; esac
    done
    unset IFS
    set +f
    clean=yes       # nothing is handed on any more: jobs need no `env -i`
fi
array=$1 task=$2 id=$3_$2 node=$4 PATH=$5 late=$6 devices=$7
[ "$node" ] || read -r node </proc/sys/kernel/hostname
position=-1
stopping=           # SIGTERM came: nothing more is started
pid=                # of the job that runs
ready=              # whether what all jobs need is there
woken=              # SIGURG came
watched=            # the watcher is started, or about to be
watcher=            # its pid
youngest=0 wrapped= # the last pid that was seen; whether they have begun anew since
counted=0           # processor time of our children, in 10 ms
ancestors=          # our pid, our parent's and so on
kills=0             # how often the kernel found our control group out of memory
members= events=    # its files, when it is Slurm's

# job FOLDER NAME LIMIT_CENTISECONDS MEMORY_BYTES NOT_FOUND CWD VAR=value ... -- WORD ...
job() {
    position=$((position + 1))
    [ -z "$stopping" ] || return 0
    folder=$1 name=$2 limit=$3 memory=$4 not_found=$5 cwd=$6
    shift 6
    cause=NONE reason=null code=null signal=null used=null peak=null
    claim || return 0
    if is_cancelled; then
        cause=CANCELLED signal=9
        { true >"$folder/stdout" && true >"$folder/stderr"; } 2>/dev/null
    else
        run $devices "$@"
    fi
    record
}

is_cancelled() { [ -e "$array/cancel/$task.$position" ]; }

is_any() { [ -e "$1" ] || [ -L "$1" ]; }

# --- starting -----------------------------------------------------------------------------------

# Make `start`: who makes it runs the job. False when somebody else has, or nobody can.
claim() {
    tries=150
    until create "{\"name\": \"$name\", \"slurm_job_id\": \"$id\", \"node\": \"$node\"}"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] && [ -z "$stopping" ] || return 1
        [ -d "$folder" ] && ! is_any "$folder/start" || return 1
        sleep 2     # the disk may be full
    done
}

# Whether this very call made `start`. On a full disk it may stay empty, and is ours all the same.
create() {
    made=
    ! is_any "$folder/start" || return 1    # the shell would open a FIFO
    set -C
    { { made=yes; echo "$1" >&3; } 3>"$folder/start"; } 2>/dev/null
    set +C
    [ "$made" ]
}

run() {
    path=
    for word do
        case $word in PATH=*) path=${word#PATH=} ;; --) break ;; esac
    done
    if ! [ -d "$cwd" ]; then
        cause=NOT_STARTED reason='"the folder of the method is not there"'
        return
    fi
    if ! word_after_dashes "$@" || ! look_up "$word" "$path" "$cwd"; then
        cause=NOT_STARTED reason=$not_found
        return
    fi
    [ "$ready" ] || prepare
    if ! can_watch; then
        cause=NOT_STARTED reason='"the node does not show what a job starts: see docs/slurm.md"'
        return
    fi
    # For the watcher; to the server it shows that we live. Without room nothing is started.
    until { echo "$position $limit $memory" >"$array/now/$task"; }; do
        [ -d "$array/now" ] && [ -z "$stopping" ] || { cause=TERMINATED signal=9; return; }
        sleep 2
    done 2>/dev/null
    read_clock
    began=$now
    until launch "$@" </dev/null >"$folder/stdout" 2>"$folder/stderr"; do
        [ -d "$folder" ] && [ -z "$stopping" ] || { cause=TERMINATED signal=9; return; }
        sleep 2     # the disk may be full
    done 2>/dev/null
    await
    judge
    sweep
}

word_after_dashes() {
    while [ "$1" != -- ]; do shift; done
    word=$2
}

# look_up WORD PATH CWD: set `program` to the file that the word means, as a shell finds it.
look_up() {
    rest=$2:
    case $1 in */*) rest=: ;; esac
    while [ "$rest" ]; do
        program=${rest%%:*}
        case $1 in */*) program=$1 ;; *) program=${program:-.}/$1 ;; esac
        case $program in /*) ;; *) program=$3/$program ;; esac
        [ -f "$program" ] && [ -x "$program" ] && return
        rest=${rest#*:}
    done
    return 1
}

# What the first job needs that is started, and all others.
prepare() {
    look_up setsid "$PATH" / || look_up setsid /usr/bin:/bin /
    setsid=$program
    find_group
    choose_marks
    ready=yes
}

can_watch() { [ -e "/proc/$$/task/$$/children" ] && [ "$option$members" ]; }

# Processes of jobs are known by what no other process has and all descendants inherit, whatever
# session, parent or environment they have. The proof is a limit that no kernel since 2.4 heeds
# (RLIMIT_LOCKS). To read those of all processes is dear, so a sign that is read quickly is looked
# at first: one of the other ways to dump core, of which there is no use here.
choose_marks() {
    mark=$$0000
    for option in -w -x ''; do      # of dash and busybox, of bash
        [ -z "$option" ] || ulimit -S "$option" "$((mark + 9999))" && break
    done 2>/dev/null
    sign=
    {
        read -r usual <"/proc/$$/coredump_filter" &&
            echo "$(($$ % 459 + 52))" >"/proc/$$/coredump_filter" &&
            read -r sign <"/proc/$$/coredump_filter" &&
            echo "0x$usual" >"/proc/$$/coredump_filter"
    } 2>/dev/null
}

# Fork the job's process; our own output is the job's for the moment.
launch() {
    {
        trap - USR1
        cd "$cwd" || exit
        [ -z "$option" ] || ulimit -S "$option" "$((mark + position))"
        [ -z "$sign" ] || echo "0x$sign" >/proc/self/coredump_filter
        if [ "$clean" ]; then
            unset PATH PWD OLDPWD
            while [ "$1" != -- ]; do
                export "$1"
                shift
            done
            exec "$setsid" "$@"
        fi
        words=$# dashes=
        for word do
            [ "$dashes$word" != -- ] || { dashes=seen; set -- "$@" "$setsid"; }
            set -- "$@" "$word"
        done
        shift "$words"
        exec env -i "$@"
    } &
    pid=$!
}

# --- while it runs ------------------------------------------------------------------------------

# For SIGTERM.
terminate() {
    stopping=yes
    [ -z "$pid" ] || kill -KILL "$pid" "-$pid" 2>/dev/null
}

# For SIGURG. While there is no pid yet, `$!` must stay what it is: `await` starts it then.
wake() {
    woken=yes late=
    [ -z "$pid" ] || start_watcher
}

start_watcher() {
    [ -z "$watched" ] || return 0
    watched=yes
    watch </dev/null >/dev/null 2>&1 &
    watcher=$!
}

await() {
    [ "$late" ] || start_watcher
    [ -z "$stopping" ] || terminate
    wait "$pid" 2>/dev/null
    code=$?
    # It was interrupted; or the job ended by such a signal itself, and is not known any more.
    while [ "$code$woken" = 151yes ]; do
        woken=
        kill -0 "$pid" 2>/dev/null && known=yes || known=
        wait "$pid" 2>/dev/null
        again=$?
        [ -z "$known" ] && [ "$again" = 127 ] || code=$again
    done
    while [ "$stopping" ] && kill -0 "$pid" 2>/dev/null; do
        wait "$pid" 2>/dev/null
        code=$?
    done
    # Of one that we have killed bash may not know it any more.
    [ -z "$stopping" ] || { [ "$code" -ge 0 ] && [ "$code" -le 128 ]; } || code=137
    ended=$pid pid=
    count_cpu
}

# Look at the running job now and then, and kill it when it is over.
watch() {
    trap - TERM
    cd /        # its last nap may outlast the task by a moment
    read -r watcher _ </proc/self/stat
    seen= nap=0.3
    while sleep "$nap" || sleep 1; do
        kill -0 "$$" || exit
        job=
        read -r children <"/proc/$$/task/$$/children"   # one line without an end
        for process in $children; do
            [ "$process" = "$watcher" ] || job=$process
        done
        # In this order: that is of the job, if it lives still.
        [ "$job" ] && read -r at time room <"$array/now/$task" && lives "$job" && is_job || continue
        if [ "$job" != "$seen" ]; then
            seen=$job position=$at limit=$time memory=$room peak=0 noted=0 looks=0 stopped=0
        fi
        look
    done
}

# Whether it leads a session: a tool of ours does not.
is_job() { [ "$session" = "$job" ]; }

look() {
    read_clock
    [ "$looks" != 0 ] || shown=$now last=$now
    # When we were stopped, so was the job: that time is not its own.
    [ "$((now - last))" -lt 500 ] || stopped=$((stopped + now - last - 100))
    last=$now looks=$((looks + 1)) left=$((limit + stopped - (now - born)))
    if [ "$((now - shown))" -gt 2000 ]; then
        shown=$now
        echo >>"$array/now/$task"
    fi
    if [ "$left" -le 0 ]; then
        stop OVER_TIME
    elif is_cancelled; then
        stop CANCELLED
    elif [ "$memory" -gt 0 ] || [ "$looks" -le 3 ] || [ "$((looks % 10))" = 0 ]; then
        weigh   # for the record only where there is no limit
    fi
    if [ "$looks" -le 2 ]; then nap=0.3; else nap=1; fi
    [ "$left" -ge 100 ] || [ "$left" -lt 10 ] || nap=0.$((left / 10))
    [ "$left" -ge 10 ] || nap=0.1
}

# stop CAUSE: say why, then kill the job.
stop() {
    note "$1"
    kill -KILL "$job" "-$job"
}

# note CAUSE: what `judge` reads.
note() {
    noted=$peak
    echo "$job $1 $peak" >"$array/now/$task.seen"
}

# Add up what the job's processes hold. To tell shared pages apart is dear: only when it matters.
weigh() {
    find_job "$job"
    add_up VmRSS status
    if [ "$memory" -gt 0 ] && [ "$sum" -gt "$memory" ]; then
        if [ -e /proc/self/smaps_rollup ]; then add_up Pss smaps_rollup; else add_up Pss smaps; fi
    fi
    [ "$sum" -le "$peak" ] || peak=$sum
    if [ "$memory" -gt 0 ] && [ "$sum" -gt "$memory" ]; then
        stop OVER_MEMORY
    elif [ "$((peak - noted))" -gt "$((noted / 16))" ]; then
        note NONE
    fi
}

# add_up WHAT FILE: set `sum` to the bytes that /proc tells of the processes `found`.
add_up() {
    sum=0 files=
    for process in $found; do files="$files /proc/$process/$2"; done
    [ "$files" ] || return 0
    for word in $(grep -hs "^$1:" $files); do
        case $word in *[!0-9]*) ;; *) sum=$((sum + word * 1024)) ;; esac
    done
}

# --- when it has ended --------------------------------------------------------------------------

# From the status of its process to how the job ended.
judge() {
    read_clock
    long=
    # Pids may have begun anew since, though no watcher has noted anything.
    [ "$((now - began))" -lt 500 ] || long=yes
    if read -r job why sum <"$array/now/$task.seen" && [ "$job" = "$ended" ]; then
        cause=$why peak=$sum long=yes
        [ "$peak" != 0 ] || peak=null
    fi 2>/dev/null
    # The watcher may have found no room to say why.
    if [ "$code$cause" = 137NONE ] && [ "$((now - began))" -ge "$limit" ]; then cause=OVER_TIME; fi
    # Slurm sends SIGTERM to everybody: ours may be about to come.
    tries=10
    while [ "$code" = 143 ] && [ -z "$stopping" ] && [ "$tries" -gt 0 ]; do
        tries=$((tries - 1))
        sleep 0.1
    done
    if [ "$code" -gt 128 ] && [ "$code" -le 192 ]; then signal=$((code - 128)) code=null; fi
    if [ "$stopping" ] && [ "$cause" = NONE ]; then
        cause=TERMINATED
        ! is_cancelled || cause=CANCELLED
    fi
    # One that came to its end before it was killed has ended by itself.
    [ "$cause" = NONE ] || case $signal in 9 | 15) signal=9 ;; *) cause=NONE ;; esac
    kills_before=$kills
    [ -z "$events" ] || count_kills
    [ "$kills" = "$kills_before" ] || { cause=OVER_MEMORY code=null signal=9; }
}

# Kill what is left of the job, until nothing is.
sweep() {
    kill -KILL "-$ended" 2>/dev/null
    while
        found=
        ! may_be_left || find_job "$ended" "$long"
        [ "$found" ]
    do
        kill -KILL $found 2>/dev/null
        sleep 0.05
    done
}

# Put the job's end on record. There may be no room for now, or no folder any more.
record() {
    line="{\"name\": \"$name\", \"slurm_job_id\": \"$id\", \"node\": \"$node\", \
\"exit_code\": $code, \"signal\": $signal, \"cause\": \"$cause\", \"reason\": $reason, \
\"cpu_milliseconds\": $used, \"peak_memory_bytes\": $peak}"
    pause=0
    until ! [ -d "$folder" ] || { write && show; }; do
        sleep "$pause"
        pause=2
        chmod u+rwx "$folder"
    done 2>/dev/null
    until ! [ -d "$array/ended" ] || { true >"$array/ended/$task.$position"; }; do
        sleep 2
    done 2>/dev/null
}

write() {
    for forged in "$folder/exit.new" "$folder/exit"; do
        ! is_any "$forged" || rm -rf "$forged"
    done
    echo "$line" >"$folder/exit.new" && [ -s "$folder/exit.new" ]
}

# Have `exit` be there, whole. `ln` starts quicker than `mv`, but not all file systems can do it.
show() {
    ln "$folder/exit.new" "$folder/exit" || mv "$folder/exit.new" "$folder/exit"
}

# --- what /proc tells ---------------------------------------------------------------------------

# find_job LOWEST [ALL]: set `found` to the living processes of the job at `position`.
find_job() {
    found=
    if [ "$members" ]; then find_strangers; else find_marked "$1" "$2"; fi
}

# Whether anything may be left of the job that has ended; mostly there is nothing, and to look at all
# processes is dear. What is left has lost its parent, or an ancestor of it has: it is among the
# children of ours, or below one of them - of their first threads, which are given what has lost its
# parent. The kernel may skip a child while others end: so look twice.
may_be_left() {
    [ -z "$members" ] || return 0
    files= from=$ended
    look_at_youngest
    # To find it among few is as cheap.
    [ "$wrapped$long" ] || [ "$((youngest - ended))" -gt 50 ] || return 0
    [ "$ancestors" ] || find_ancestors
    [ -z "$headless" ] || return 0
    for ancestor in $ancestors $ancestors; do
        children=hidden
        { read -r children <"/proc/$ancestor/task/$ancestor/children"; } 2>/dev/null
        [ "$children" != hidden ] || return 0
        for process in $children; do
            [ -z "$wrapped$long" ] && [ "$process" -lt "$ended" ] || suspect
        done
        [ -z "$files" ] || return 0
    done
    return 1
}

# Set `ancestors` to us, our parent, its parent and so on; `headless` if one's first thread is gone.
find_ancestors() {
    ancestors=$$ parent=$PPID headless=
    while [ "$parent" -gt 1 ]; do
        ancestors="$ancestors $parent"
        lives "$parent" || break
        [ "$state" != Z ] || headless=yes
    done
    ancestors="$ancestors 1"
}

# No process of the job has a lower pid than LOWEST. Pids rise, so nothing slips through that is
# born meanwhile - until they begin anew: from then on, and after a time in which they may have,
# ALL have to be looked at.
find_marked() {
    files= from=$1
    look_at_youngest
    if [ "$wrapped$2" ] || [ "$((youngest - from))" -gt 200 ]; then
        for process in /proc/[0-9]*; do
            process=${process#/proc/}
            [ -z "$wrapped$2" ] && [ "$process" -lt "$1" ] || suspect
        done
        from=$((youngest + 1))
        look_at_youngest
    fi
    while [ "$from" -le "$youngest" ]; do
        process=$from
        while [ "$process" -le "$youngest" ]; do
            suspect
            process=$((process + 1))
        done
        from=$process
        look_at_youngest
    done
    [ "$files" ] || return 0
    # Slurm sends SIGTERM to everybody: a look that it cuts short would have seen nothing.
    proof="Max file locks            $((mark + position)) "
    for process in $(trap '' TERM && exec grep -Fls "$proof" $files); do
        process=${process#/proc/} process=${process%/*}
        ! lives "$process" || found="$found $process"
    done
}

look_at_youngest() {
    read -r _ _ _ _ pid_now </proc/loadavg
    [ "$pid_now" -ge "$youngest" ] && [ "$pid_now" -ge "$((from - 1))" ] || wrapped=yes
    youngest=$pid_now
}

suspect() {
    [ -e "/proc/$process" ] || return 0
    [ -z "$sign" ] || { read -r shown_sign <"/proc/$process/coredump_filter"; } 2>/dev/null &&
        [ "$shown_sign" = "$sign" ] && files="$files /proc/$process/limits"
}

# Set `found` to all in our control group that is not ours.
find_strangers() {
    while read -r process; do
        case " $$ $PPID $watcher " in *" $process "*) continue ;; esac
        ! lives "$process" || [ "$parent" = "$watcher" ] || found="$found $process"
    done <"$members"
}

# Whether a process lives (a zombie does not); sets `state`, `parent`, `session`, `born` in 10 ms.
lives() {
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    skip_name
    set -- $stat
    state=$1 parent=$2 session=$4 born=${20}
    case $1 in [ZXx]) [ "${18}" -gt 1 ] ;; esac     # threads that outlive the first
}

# Cut off the name that begins `stat`; it ends with the last `) `, for which shells search slowly.
skip_name() {
    while case $stat in *') '*) ;; *) false ;; esac; do stat=${stat#*) }; done
}

# Set `members` and `events` if we are in a control group that Slurm made for this task.
find_group() {
    while IFS=: read -r _ kind path; do
        case $path in */job_[0-9]*/step_*) ;; *) continue ;; esac
        case $kind in
        '')
            members=/sys/fs/cgroup$path/cgroup.procs
            events=/sys/fs/cgroup$path/memory.events
            ;;
        freezer) members=/sys/fs/cgroup/freezer$path/cgroup.procs ;;
        memory) events=/sys/fs/cgroup/memory$path/memory.oom_control ;;
        esac
    done <"/proc/$$/cgroup"
    [ -r "$members" ] || members=
    [ -r "$events" ] || events=
    [ -z "$events" ] || count_kills
}

count_kills() {
    while read -r key value; do
        [ "$key" != oom_kill ] || kills=$value
    done <"$events"
}

# Set `used` to the processor time since the last job in ms: the millisecond that we needed between
# the two is in it.
count_cpu() {
    read -r stat <"/proc/$$/stat"
    skip_name
    set -- $stat
    used=$(((${14} + ${15} - counted) * 10)) counted=$((${14} + ${15}))
}

# Set `now`, in 10 ms.
read_clock() {
    read -r now _ </proc/uptime
    now=${now%.*}${now#*.}
}

# --- the task -----------------------------------------------------------------------------------

trap terminate TERM
[ -z "$late" ] || trap wake URG
. "$array/tasks/$task"
if [ "$watcher" ]; then
    kill -STOP "$watcher"       # it starts nothing any more
    read -r nap <"/proc/$watcher/task/$watcher/children"
    kill -KILL "$watcher" $nap
    wait "$watcher"
fi 2>/dev/null
exit 0
