#!/bin/sh
# Runs the jobs of one array task, one after the other: `task.sh ARRAYFOLDER`, with Slurm's own
# variables set. It is the batch script itself, and needs a POSIX shell, /proc and the tools of
# every Linux. `tasks/TASK` in the array's folder says what to run, by calling `task` and `job`.
#
# What it promises of each job: it is started at most once, by whoever makes its `start`; it is
# killed with everything it started when it is over its limits, when it was cancelled and when
# Slurm says so; `exit` is there, whole, once nothing of it runs, then `ended/TASK.POSITION`.
#
# To fork costs 0.2 ms here, to start a program 0.6 ms more, and the shell reads /proc byte by
# byte. So one timer serves the whole task, and jobs are swept up after, and their ends put on
# record, together: at most a second late.

array=$1
task=${2-$SLURM_ARRAY_TASK_ID}
id=${3-${SLURM_ARRAY_JOB_ID}_$task}
node=${4-${SLURMD_NODENAME-}}
clean=${4+1}        # called by ourselves, see `task`
count=1 position=-1
stopping=           # SIGTERM came: nothing more is started
poked=              # a signal came: look at the job that runs
pid=                # of the job that runs
timer=              # pid of what pokes us now and then
waiting=            # positions of the jobs that ended and are not on record yet
patterns=           # what shows the processes of those jobs, line by line
oldest=             # no process of theirs has a lower pid
youngest=0 wrapped= # the last pid that was seen; whether they have begun from 1 again since
counted=            # processor time of our children; empty when it has to be read anew
kills=0             # how often the kernel found our control group out of memory
members= events=    # its files, when it is Slurm's
shown=0             # when `now/TASK` was touched

# --- what tasks/TASK calls ----------------------------------------------------------------------

# task COUNT: how many jobs follow.
task() {
    count=$1
    # One clean environment for all of them is cheaper than `env -i` for each.
    [ "$count" -eq 1 ] || [ "$clean" ] ||
        exec env -i "PATH=$PATH" sh "$0" "$array" "$task" "$id" "$node"
}

# job FOLDER NAME LIMIT_CENTISECONDS MEMORY_BYTES NOT_FOUND CWD VAR=value ... -- WORD ...
job() {
    position=$((position + 1))
    [ -z "$stopping" ] || return 0
    folder=$1 name=$2 limit=$3 memory=$4 not_found=$5 cwd=$6
    shift 6
    ended=
    cause=NONE reason=null code=null signal=null used=null peak=0
    claim || return 0
    if [ -e "$array/cancel/$task.$position" ]; then
        cause=CANCELLED signal=9
    else
        run "$@"
    fi
    conclude
}

# --- starting -----------------------------------------------------------------------------------

# Make `start`: who makes it runs the job. False when somebody else has, or nobody can.
claim() {
    tries=60
    until create "{\"name\": \"$name\", \"slurm_job_id\": \"$id\", \"node\": \"$node\"}"; do
        tries=$((tries - 1))
        [ -d "$folder" ] && ! is_any "$folder/start" && [ "$tries$stopping" != 0 ] || return 1
        sleep 5         # the disk may be full
    done
}

# Whether this very call made `start`. On a full disk it may stay empty, and is ours all the same.
create() {
    made=
    set -C
    { { made=1; echo "$1" >&3; } 3>"$folder/start"; } 2>/dev/null
    set +C
    [ "$made" ]
}

is_any() { [ -e "$1" ] || [ -L "$1" ]; }

run() {
    path=
    for word do
        case $word in PATH=*) path=${word#PATH=} ;; --) break ;; esac
    done
    if ! [ -d "$cwd" ]; then
        cause=NOT_STARTED reason='"the folder of the method is not there"'
    elif ! word_after_dashes "$@" || ! look_up "$word" "$path" "$cwd"; then
        cause=NOT_STARTED reason=$not_found
    else
        [ "$timer" ] || prepare
        [ "$counted" ] || count_cpu
        until launch "$@" </dev/null >"$folder/stdout" 2>"$folder/stderr"; do
            [ -d "$folder" ] && [ -z "$stopping" ] || { cause=TERMINATED signal=9; return; }
            sleep 5     # the disk may be full
        done 2>/dev/null
        await
        judge
    fi
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
    # A job's processes are known by a limit that no kernel since 2.4 heeds, and that nothing else
    # sets: it passes to all descendants, whatever session, parent or environment they have.
    mark=$$0000 shows=limits
    for marks in -w -x ''; do   # of dash and busybox, of bash
        [ -z "$marks" ] || ulimit -S "$marks" "$((mark + 9999))" && break
    done 2>/dev/null
    [ "$marks" ] || shows=environ
    find_groups
    # A shell that hands on nothing of its own needs no `env -i`.
    [ -z "$clean" ] || [ "$(unset PWD OLDPWD LC_ALL; env)" = "PATH=$PATH" ] || clean=
    poke_often </dev/null >/dev/null 2>&1 &
    timer=$!
}

poke_often() {
    trap '' USR1 USR2
    trap 'kill "$!"; exit' TERM
    for nap in 0.3 0.3 0.4; do
        poke "$nap"
    done
    while :; do
        poke 1
    done
}

poke() {
    sleep "$1" &
    wait "$!"
    kill -USR2 "$$" || exit
}

# Fork the job's process; our own output is the job's for the moment.
launch() {
    {
        cd "$cwd" || exit
        [ -z "$marks" ] || ulimit -S "$marks" "$((mark + position))"
        if [ "$clean" ]; then
            unset PATH PWD OLDPWD LC_ALL
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
    case $marks in
    '') pattern=JOB_WORKSPACE=$folder/workspace ;;
    *) pattern="Max file locks            $((mark + position)) " ;;
    esac
}

# --- while it runs ------------------------------------------------------------------------------

await() {
    elapsed=0 looks=0 before=$counted poked=$stopping
    read_clock
    last=$now
    while :; do
        [ -z "$poked" ] || look
        wait "$pid" 2>/dev/null
        code=$?
        [ "$poked" ] || break
        kill -0 "$pid" 2>/dev/null && continue
        # It has ended, and `wait` may have said so or that we were poked: ask again. A shell that
        # has said so may not know it any more (127).
        wait "$pid" 2>/dev/null
        again=$?
        [ "$again" = 127 ] || code=$again
        break
    done
    ended=$pid pid=
    count_cpu
    used=$(((counted - before) * 10))
}

# See to the job that runs, now that we were poked.
look() {
    poked=
    stop_if_cancelled
    [ -z "$stopping" ] || stop TERMINATED
    read_clock
    step=$((now - last)) last=$now looks=$((looks + 1))
    # We were stopped, and the job with us: that time is not its own.
    [ "$step" -lt 500 ] || step=100 wrapped=1
    elapsed=$((elapsed + step))
    [ "$elapsed" -lt "$limit" ] || stop OVER_TIME
    if [ "$((now - shown))" -gt 2000 ]; then
        shown=$now
        { echo >"$array/now/$task"; } 2>/dev/null
    fi
    notice_wrap "$pid"
    count_cpu
    before=$((before - counted))
    # Without a limit it is for the record only.
    [ "$memory" = 0 ] && [ "$looks" -gt 3 ] && [ "$((looks % 10))" != 0 ] || weigh
    [ -z "$waiting" ] || settle
    count_cpu
    before=$((before + counted))
}

# stop CAUSE: kill the job that runs. The first cause is the one that counts.
stop() {
    [ "$pid" ] && [ "$cause" = NONE ] || return 0
    cause=$1
    kill -KILL "$pid" "-$pid" 2>/dev/null
}

stop_if_cancelled() {
    [ -z "$pid" ] || ! [ -e "$array/cancel/$task.$position" ] || stop CANCELLED
}

# Add up what the job's processes hold. To tell shared pages apart is dear, so only when it matters.
weigh() {
    seek "$pattern" "$pid"
    add_up VmRSS status
    if [ "$memory" -gt 0 ] && [ "$sum" -gt "$memory" ]; then
        add_up Pss smaps_rollup
        [ "$sum" -le "$memory" ] || stop OVER_MEMORY
    fi
    [ "$sum" -le "$peak" ] || peak=$sum
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
    if [ "$code" -gt 128 ] && [ "$code" -le 192 ]; then signal=$((code - 128)) code=null; fi
    # Slurm sends SIGTERM to everybody: ours may be about to come.
    [ "$signal" != 15 ] || [ "$stopping" ] || sleep 0.1
    [ -z "$stopping" ] || [ "$cause" != NONE ] || cause=TERMINATED
    # One that came to its end before it was killed has ended by itself.
    [ "$cause" = NONE ] || case $signal in 9 | 15) signal=9 ;; *) cause=NONE ;; esac
    known_kills=$kills
    [ -z "$events" ] || count_kills
    [ "$kills" = "$known_kills" ] || { cause=OVER_MEMORY code=null signal=9; }
}

# Write down how the job ended. It is put on record now, or together with those that come next.
conclude() {
    [ "$peak" != 0 ] || peak=null
    line="{\"name\": \"$name\", \"slurm_job_id\": \"$id\", \"node\": \"$node\", \
\"exit_code\": $code, \"signal\": $signal, \"cause\": \"$cause\", \"reason\": $reason, \
\"cpu_milliseconds\": $used, \"peak_memory_bytes\": $peak}"
    eval "folder_$position=\$folder line_$position=\$line"
    [ "$waiting" ] || since=$now oldest=
    waiting="$waiting $position"
    write "$folder" "$line"
    if [ "$ended" ]; then
        patterns="${patterns:+$patterns
}$pattern" oldest=${oldest:-$ended}
        ! kill -KILL "-$ended" 2>/dev/null || cause=LEFTOVERS
    fi
    # Who had to be killed, or has left something behind, is not to be in the way of the next.
    [ "$count" -gt 1 ] && [ "$cause" = NONE ] && [ "$((now - since))" -lt 100 ] || settle
}

# Sweep up after the jobs that wait, and put their ends on record. What cannot be done now is left.
settle() {
    until sweep; do
        [ -z "$pid" ] || return 0
        sleep 0.05
    done
    left=
    for place in $waiting; do
        put "$place" || left="$left $place"
    done
    waiting=$left patterns= counted=
}

# Kill what is left of the jobs that wait. True when nothing was.
sweep() {
    found=
    if [ "$members" ] && [ -z "$pid" ]; then
        find_strangers
    elif [ "$patterns" ]; then
        seek "$patterns" "$oldest"
    fi
    [ "$found" ] || return 0
    kill -KILL $found 2>/dev/null
    return 1
}

# put POSITION: put a job's end on record, and tell that it is there.
put() {
    eval "home=\$folder_$1 line=\$line_$1"
    if [ "$line" ] && [ -d "$home" ]; then
        ! is_any "$home/exit" || rm -rf "$home/exit"    # not by us
        { mv "$home/exit.new" "$home/exit" || {
            chmod u+rwx "$home" && write "$home" "$line" && mv "$home/exit.new" "$home/exit"
        }; } 2>/dev/null || return 1
    fi
    eval "line_$1="
    ! [ -d "$array/ended" ] || { true >"$array/ended/$task.$1"; } 2>/dev/null
}

# write FOLDER LINE: write `exit.new`, whole, or leave none.
write() {
    ! is_any "$1/exit.new" || rm -rf "$1/exit.new"      # not by us
    { echo "$2" >"$1/exit.new" && read -r back <"$1/exit.new" && [ "$back" = "$2" ]; } 2>/dev/null ||
        { rm -rf "$1/exit.new"; return 1; }
}

# --- what /proc tells ---------------------------------------------------------------------------

# seek PATTERNS LOWEST: set `found` to the living processes that show one of the patterns.
seek() {
    files= found=
    notice_wrap "$2"
    for process in /proc/[0-9]*; do
        [ "${process#/proc/}" -lt "$2" ] && [ -z "$wrapped" ] || files="$files $process/$shows"
    done
    [ "$files" ] || return 0
    for process in $(grep -Fls -e "$1" $files); do
        process=${process%/*} process=${process#/proc/}
        ! lives "$process" || found="$found $process"
    done
}

# notice_wrap PID: pids rise until they begin anew; from then on all have to be looked at.
notice_wrap() {
    was_youngest=$youngest
    read -r _ _ _ _ youngest </proc/loadavg
    [ "$youngest" -ge "$was_youngest" ] && [ "$youngest" -ge "$1" ] || wrapped=1
}

# Set `found` to all in our control group that is not ours.
find_strangers() {
    found=
    while read -r process; do
        case " $$ $PPID $timer " in *" $process "*) continue ;; esac
        ! lives "$process" || [ "$parent" = "$timer" ] || found="$found $process"
    done <"$members"
}

# Whether a process lives (a zombie does not); sets `parent`.
lives() {
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    set -- ${stat##*) }
    parent=$2
    case $1 in [ZXx]) [ "${18}" -gt 1 ] ;; esac     # threads that outlive the first
}

# Set `members` and `events` if we are in a control group that Slurm made for this task.
find_groups() {
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

# Set `counted` to the processor time of all children that were waited for, in 10 ms.
count_cpu() {
    read -r stat <"/proc/$$/stat"
    set -- ${stat##*) }
    counted=$((${14} + ${15}))
}

# Set `now`, in 10 ms.
read_clock() {
    read -r now _ </proc/uptime
    now=${now%.*}${now#*.}
}

# ------------------------------------------------------------------------------------------------

umask 077
ulimit -c 0
LC_ALL=C    # tools start quicker; jobs do not see it
export LC_ALL
[ "$node" ] || read -r node </proc/sys/kernel/hostname
trap 'poked=1 stopping=1; stop_if_cancelled; stop TERMINATED' TERM
trap 'poked=1; stop_if_cancelled' USR1
trap 'poked=1' USR2     # by `poke`
. "$array/tasks/$task"
settle
while [ "$waiting" ]; do
    sleep 5     # the disk may be full
    settle
done
[ -z "$timer" ] || { kill "$timer" && wait "$timer"; } 2>/dev/null
exit 0
