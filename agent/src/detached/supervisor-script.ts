// Builds the script that starts a command on a target so that it survives its agent, and the script that reads its
// output. They need only a POSIX shell, dd, find, id, mkfifo and setsid. docs/architecture.md explains how the parts
// work together.
import { quote } from '../ssh/quote.ts';
import type { StopNote } from './stop-note.ts';

/** Size of one file of a stream. */
const segmentBytes = 1024 * 1024;
/**
 * How much is read of a stream at a time: a pipe's capacity, or up to `maxBlocks` times that if it is written quickly.
 */
const blockBytes = 64 * 1024;
const maxBlocks = 16;
/** How much unconfirmed output of a stream the target keeps before the command has to wait. */
const keptBytes = 32 * 1024 * 1024;
/** Above this many pieces, small ones are gathered for a tenth of a second, so that the index of pieces stays small. */
const gatherAbovePieces = 2_000_000;

/**
 * How many processes of the host are looked at in each second to measure a command, on average: for each, its shell takes
 * some 50 microseconds.
 */
const readPerSecond = 256;

export interface DetachedStart {
  /** Name of the attempt's directory. */
  name: string;
  marker: string;
  nonce: string;
  /** The script for the command's shell; it reports on descriptor 8 and wakes the reader through descriptor 9. */
  script: string;
}

export interface DetachedRead {
  name: string;
  nonce: string;
  /** Positions to continue reading from. */
  stdout: number;
  stderr: number;
  /** How often the command has been taken over: the agent with the highest number collects its output. */
  collector: number;
}

/**
 * Returns a script that starts the command in a directory that nobody else can have made, and reads from the beginning.
 */
export function startScript({ name, marker, nonce, script }: DetachedStart): Buffer {
  const end = `END_${nonce}`;
  return compound([
    ...prelude(name, nonce),
    'for t in setsid mkfifo dd find id; do',
    'command -v $t >/dev/null 2>&1 || refuse "it has no $t"',
    'done',
    // With a limit on the size of files, a write would otherwise end the shell without a word.
    "trap '' XFSZ",
    'm=$(umask); umask 077',
    'locate && { echo "$n exists"; exit 0; }',
    'make || { find / -prune >/dev/null 2>&1 && id -u >/dev/null 2>&1 || refuse "it can not run find or id (a low limit on memory, for example)"; refuse "neither the home directory nor /var/tmp is safe to write to"; }',
    'cd "$d" && mkfifo 1 2 wake && echo 0 >ack1 && echo 0 >ack2 && echo 0 >armed && echo "0 0" >index && boot && echo "$B" >boot || abandon',
    // They take their room now: the disk may be full when the command has ended. Nothing shortens them later. Agents of
    // the version before read two of them too: to those, a process without a start time lives, and an empty line says
    // nothing.
    'for f in tailer exit.new stopped.new spare1 spare2 spare3; do echo no >$f || abandon; done',
    'echo "$$ -" >super && echo >report || abandon',
    `cat >script <<'${end}' || abandon`,
    script,
    end,
    `cat >supervisor <<'${end}' || abandon`,
    supervisor(marker),
    end,
    'trap - XFSZ',
    'setsid /bin/sh ./supervisor "$m" "$h" >/dev/null 2>&1 </dev/null &',
    ...reader(0, 0, 0),
  ]);
}

/**
 * Returns a script that continues reading where an earlier reader stopped. If there is no directory it makes one, so
 * that a delayed start can't run the command later.
 */
export function readScript({ name, nonce, stdout, stderr, collector }: DetachedRead): Buffer {
  return compound([
    ...prelude(name, nonce),
    'umask 077',
    'locate || { make && echo "$n never"; exit 0; }',
    'cd "$d" || exit 1',
    // A start may be in progress right now.
    '[ -p wake ] && [ -e boot ] || { echo "$n early"; exit 0; }',
    ...reader(stdout, stderr, collector),
  ]);
}

/**
 * Returns a script that removes the files of an attempt. The directory of a command stays, empty, for longer than a
 * delayed start could take to arrive; the directory of its output file is removed completely.
 */
export function removeScript(names: { command?: string; handedOn?: string }, nonce: string): string {
  const { command, handedOn } = names;
  return compound([
    ...prelude(command ?? handedOn ?? '', nonce),
    // `old` removes empty directories of earlier attempts, and output that was never collected. It is only called in a
    // directory that `locate` has checked.
    'old() { find ./* -prune -type d -mtime +8 -exec rmdir {} \\; 2>/dev/null',
    'find ./* -prune -type d -mtime +30 -exec rm -rf {} \\; 2>/dev/null; }',
    ...(handedOn === undefined
      ? []
      : [`( a=${quote(handedOn)}; locate && rm -rf "$d" && cd "$b/attempts" && old )`]),
    ...(command === undefined ? [] : ['locate && cd "$d" && rm -rf ./* && cd .. || exit 1', 'old']),
    'echo "$n removed"',
  ]).toString();
}

/**
 * Returns a script that prints the pid of the command's first process, for any token of an attempt with this marker.
 */
export function leaderScript(marker: string, nonce: string): string {
  return eachOf(marker, nonce, [
    '[ -e "$d/boot" ] && booted "$d" && read -r w p <"$d/report" && [ "$w" = start ] && k=$p',
    'echo "$n leader $k"',
  ]);
}

/**
 * Returns shell text to run before the signals that end a command. It notes the reason in the command's directory, so
 * that an agent that collects the command doesn't take it for one that ended by itself. The first note wins, and none
 * is made for a command that has already ended.
 */
export function stopNote(marker: string, why: StopNote): string {
  const lines = [
    ...prelude(marker, '-'),
    'umask 077',
    'for i in 1 2; do bases $i && own "$b" "$b/attempts" || continue',
    'for d in "$b/attempts/$a".*; do own "$d" && [ -e "$d/boot" ] && [ ! -e "$d/exit" ] && [ ! -e "$d/stopped" ] || continue',
    `echo ${why} 1<>"$d/stopped.new" && mv "$d/stopped.new" "$d/stopped"`,
    'done; done',
  ];
  return ['(', ...lines, ') 2>/dev/null'].join('\n');
}

/** Returns a script that empties the directories of all attempts with this marker; the empty directories stay. */
export function removeAllScript(marker: string, nonce: string): string {
  return eachOf(marker, nonce, ['(cd "$d" && rm -rf ./*)', 'echo "$n removed"']);
}

/** Runs the first line for each directory `d`, and the second one at the end. */
function eachOf(marker: string, nonce: string, [each, last]: [string, string]): string {
  return compound([
    ...prelude(marker, nonce),
    'k=; for i in 1 2; do bases $i && own "$b" "$b/attempts" || continue',
    'for d in "$b/attempts/$a".*; do own "$d" || continue',
    each,
    'done; done',
    last,
  ]).toString();
}

// One compound command: a script cut short runs nothing.
export function compound(lines: readonly string[]): Buffer {
  return Buffer.from(['{', ...lines, 'exit 0', '}', ''].join('\n'));
}

export function prelude(name: string, nonce: string): string[] {
  if (!/^[\w.:-]+$/.test(name) || name.startsWith('.')) throw new Error(`not a name: ${name}`);
  return [
    `n=${nonce}; a=${quote(name)}; u=$(id -u); h=$HOME; r1=; r2=`,
    '[ -n "$h" ] && cd -P "$h" 2>/dev/null && r1=$PWD; cd -P /var/tmp 2>/dev/null && r2=$PWD; cd /',
    'boot() { IFS= read -r B 2>/dev/null </proc/sys/kernel/random/boot_id || B=$(who -b); }',
    'booted() { boot; IFS= read -r x <"$1/boot" && [ "$B" = "$x" ]; }',
    'refuse() { echo "$n refused $1"; exit 0; }',
    'abandon() { rm -rf "$d"; refuse "its disk takes no files"; }',
    // One `find` checks several directories: it prints those that are safe, in the given order. Safe means owned by the
    // user or root, and writable by others only if the sticky bit keeps them from renaming what isn't theirs.
    'nl="\n"; safe() { l=; for q; do l=$l$nl$q; done; [ "$nl$(find "$@" -prune -type d \\( -user 0 -o -user "$u" \\) \\( ! -perm -0020 ! -perm -0002 -o -perm -1000 \\) 2>/dev/null)" = "$l" ]; }',
    'own() { l=; for q; do l=$l$nl$q; done; [ "$nl$(find "$@" -prune -type d -user "$u" ! -perm -0020 ! -perm -0002 2>/dev/null)" = "$l" ]; }',
    'above() { q=$1; set --; while [ -n "$q" ]; do set -- "$@" "$q"; q=${q%/*}; done; safe "$@" /; }',
    // Sets b to the base directory, and r to the directory that holds it.
    'base() { case $1 in (1) r=$r1; b=${r%/}/.opsconductor;; (2) r=$r2; b=${r%/}/opsconductor-$u;; esac; [ -n "$r" ]; }',
    'bases() { base $1 && above "${r%/}"; }',
    'locate() { for i in 1 2; do base $i && [ -d "$b/attempts/$a" ] && above "${r%/}" && own "$b" "$b/attempts" "$b/attempts/$a" && d=$b/attempts/$a && return 0; done; return 1; }',
    // `mkdir` without -p fails if the directory exists: that prevents a second start of the attempt.
    'make() { for i in 1 2; do bases $i && [ ! -h "$b" ] || continue; for q in "$b" "$b/attempts"; do [ -d "$q" ] || mkdir "$q" 2>/dev/null; done',
    'own "$b" "$b/attempts" && mkdir "$b/attempts/$a" 2>/dev/null && d=$b/attempts/$a && return 0; done; return 1; }',
  ];
}

/**
 * The supervisor runs next to the command, outside its session: it keeps its output and records how it ended. A command
 * that was ended before it had opened its output would leave `collect` waiting for that for ever: `opened` does it then.
 * Files that the command's shell inherits are opened where it is started: ksh closes those that were opened before.
 */
function supervisor(marker: string): string {
  return `m=$1; h=$2; d=$(pwd -P)
OPSCONDUCTOR_SUPERVISOR='${marker}'; export OPSCONDUCTOR_SUPERVISOR
exec 4<>wake
start() { if read -r line 2>/dev/null <"/proc/$1/stat"; then line=\${line##*) }; set -- $line; shift 19; s=$1; else s=-; fi; }
trap '' XFSZ
start $$; echo "$$ $s" 1<>super || exit 1
note() { echo "$1" >>index || { rm -f spare?; echo "$1" >>index; }; }
wake() { read -r a <armed; [ "$a" = "$seen" ] || { seen=$a; echo $1 >&4; }; }
tick() { t=0; while kill -0 $$ 2>/dev/null; do
t=$((t + 1)); if [ $t -le 50 ]; then sleep 0.1 2>/dev/null || sleep 1; else sleep 0.5 2>/dev/null || sleep 1; fi
wake t; done; }
quick() { [ $many -gt 1 ] || { echo 1 >"bulk$1"; tick 3<&- & ticker=$!; }; many=$((many * 2)); }
slow() { [ $many = 1 ] || { many=1; : >"bulk$1"; kill -9 $ticker; wait $ticker; } 2>/dev/null; }
collect() {
exec 3<"$1"; i=0; at=0; total=0; acked=0; pieces=0; seen=; many=1
while :; do
while read -r a <"ack$1" && acked=\${a:-$acked}; [ $((total - acked)) -ge ${keptBytes} ]; do sleep 0.1 2>/dev/null || sleep 1; done
room=$((${segmentBytes} - at)); count=$((room / ${blockBytes}))
if [ $count -le 1 ]; then count=1; [ $room -le ${blockBytes} ] || room=${blockBytes}; else room=${blockBytes}; [ $count -le $many ] || count=$many; fi
[ $pieces -le ${gatherAbovePieces} ] || [ $size -ge 32768 ] || sleep 0.1 2>/dev/null || sleep 1
LC_ALL=C dd bs=$room count=$count 2>"said$1" <&3 >>"s$1.$i" || full=1
got=; size=; { read -r got; read -r x; read -r size x; } <"said$1"
[ -z "$full" ] || { slow "$1"; rm -f spare?; size=$(($(wc -c <"s$1.$i") - at)); [ "$size" -le 0 ] || note "$1 $size"; note "$1 -1"; wake; cat <&3 >/dev/null; break; }
case $size in
'' | *[!0-9]*) slow "$1"; size=$(($(wc -c <"s$1.$i") - at));;
*) if [ "$got" != "$count+0 records in" ]; then slow "$1"; elif [ $many -lt ${maxBlocks} ]; then quick "$1"; fi;;
esac
[ "$size" -gt 0 ] || break
note "$1 $size"
total=$((total + size)); at=$((at + size)); pieces=$((pieces + 1))
[ $at -lt ${segmentBytes} ] || { at=0; i=$((i + 1)); }
wake
done
slow "$1"
note "$1 0"; echo >&4
}
collect 1 & c1=$!
collect 2 & c2=$!
measure() {
s=; trap '[ -z "$s" ] || kill $s; exit' TERM; k=; most=0; t=0; every=0.2
while kill -0 $$ && [ ! -e used ]; do
sleep $every & s=$!; wait $s || { sleep 1 & s=$!; wait $s; }; s=
every=1
[ -n "$k" ] || { read -r w k <report && [ "$w" = start ]; } || { k=; [ -n "$w" ] || { kill -0 $c1 && kill -0 $c2; } || kill -9 $c; continue; }
now=0; set -- /proc/[0-9]*/stat; n=$#
for f; do
read -r line <"$f" || continue
case $line in *" $k "*) line=\${line##*) }; set -- $line; [ "$4" != "$k" ] || now=$((now + \${22}));; esac
done
[ $now -le $most ] || { most=$now; echo $most >memory; }
[ $t -lt 20 ] || every=5; [ $n -le $((every * ${readPerSecond})) ] || every=$((n / ${readPerSecond})); t=$((t + every))
done; }
opened() { while kill -0 $$ && [ -p 1 ] && [ -p 2 ]; do true 3<>1 5<>2; sleep 1; done; }
exec 5<script
( unset OPSCONDUCTOR_SUPERVISOR; OPSCONDUCTOR_ATTEMPT='${marker}'; export OPSCONDUCTOR_ATTEMPT
cd "$h" 2>/dev/null || cd /
umask "$m"; trap - XFSZ
exec setsid /bin/sh <&5 >"$d/1" 2>"$d/2" 8<>"$d/report" 9>"$d/wake" 4>&- 5<&- ) &
c=$!; exec 5<&-; measure 4>&- & u=$!
rm -f script; echo >&4
wait $c; code=$?
w=; read -r w x <report; [ -n "$w" ] || { opened 4>&- & o=$!; }
{ times; } >used
{ kill $u; wait $u; } 2>/dev/null
read -r most 2>/dev/null <memory && g=$(getconf PAGESIZE) && echo "$most $g" >>used
echo "$code" 1<>exit.new && mv exit.new exit; echo >&4
wait $c1 $c2
[ -z "$o" ] || kill $o
echo over >over; echo >&4`;
}

/** The reader prints existing and new output until the end, or until nobody reads it any more. */
function reader(stdout: number, stderr: number, collector: number): string[] {
  return [
    // An agent that takes over leaves a file with a higher number. It makes its file before it looks for others, so
    // that of two that come at the same time the one with the higher number continues.
    `ours() { for f in collector.*; do case $f in *'*') ;; *) [ "${'$'}{f#*.}" -le ${collector} ] || return 1;; esac; done; }`,
    // If there is room for no other file, one of those that were made for that becomes it. A failed `:` ends some shells.
    ...(collector === 0
      ? []
      : [
          `true 2>/dev/null >collector.${collector} || for f in spare?; do mv "$f" collector.${collector} 2>/dev/null && break; done`,
        ]),
    'ours || { echo "$n taken"; exit 0; }',
    't=$$; echo $t 1<>tailer; echo "$n begin"',
    // Input from the agent: how much its server has stored. Any other line makes the loop check again.
    'exec 7<&0',
    `drop() { e=$2; set -- "s$1".*; for f; do q=${'$'}{f##*.}; shift; [ "$q" = '*' ] || [ $(((q + 1) * ${segmentBytes})) -gt "$e" ] || set -- "$@" "$f"; done; [ $# = 0 ] || rm -f "$@"; }`,
    '( while read -r v x y <&7; do',
    'if [ "$v" = ack ] && ours; then echo "$x" 1<>ack1; echo "$y" 1<>ack2; drop 1 "$x"; drop 2 "$y"; fi; echo >&4',
    `done; : >"gone.$t"; echo >&4 ) >/dev/null 2>&1 4<>wake &`,
    'exec 3<index 4<>wake',
    `p1=${stdout}; p2=${stderr}; w1=0; w2=0; o1=; o2=; e1=; e2=; ps=; pn=0; held=; rep=; code=; last=; z=0; k=0; on=; y=`,
    'flush() {',
    '[ $pn -gt 0 ] || return 0',
    'echo "d $ps $pn"',
    `if [ $ps = 1 ]; then`,
    `if [ -z "$o1" ] || [ $((p1 % ${segmentBytes})) = 0 ]; then exec 5<"s1.$((p1 / ${segmentBytes}))"; s=$((p1 % ${segmentBytes})); [ $s = 0 ] || dd bs=$s count=1 <&5 >/dev/null 2>&1; o1=1; fi`,
    'dd bs=$pn count=1 <&5 2>/dev/null; p1=$((p1 + pn)); else',
    `if [ -z "$o2" ] || [ $((p2 % ${segmentBytes})) = 0 ]; then exec 6<"s2.$((p2 / ${segmentBytes}))"; s=$((p2 % ${segmentBytes})); [ $s = 0 ] || dd bs=$s count=1 <&6 >/dev/null 2>&1; o2=1; fi`,
    'dd bs=$pn count=1 <&6 2>/dev/null; p2=$((p2 + pn)); fi',
    'pn=0; }',
    'piece() {',
    'case $2 in 0) flush; eval "e$1=1"; return;; -1) flush; echo "f $1"; return;; esac',
    'w=$((w$1 + $2)); eval "w$1=$w"',
    // What the other stream wrote earlier comes first.
    '[ "$ps" = "$1" ] || grown $((3 - $1)); upto $1 $w; }',
    'upto() {',
    // p1 and p2 don't include pending bytes yet.
    '[ "$ps" = "$1" ] || flush; ps=$1; p=$((p$1 + pn)); s=$(($2 - p))',
    '[ $s -gt 0 ] || return 0; pn=$((pn + s))',
    `[ $(((p + s) % ${segmentBytes})) != 0 ] || flush`,
    '}',
    // While a stream is read many blocks at a time, its file holds more than the index says.
    'grown() { [ ! -s "bulk$1" ] || more $1; }',
    'more() {',
    '[ "$ps" = "$1" ] || flush; ps=$1',
    `f=$(((p$1 + pn) / ${segmentBytes})); q=$(wc -c 2>/dev/null <"s$1.$f") && upto $1 $((f * ${segmentBytes} + q)); }`,
    // What kept a stream is gone.
    'rest() { eval "x=\\$e$1"; [ -n "$x" ] || { more $1; flush; echo "f $1"; }; }',
    // Without a start time, it may be the shell that starts the supervisor, which is ourselves at first. If another one
    // started it and is gone, we look again by ourselves, not when our agent asks. One that is done counts as gone: it
    // wakes nobody any more.
    'alive() { [ ! -e over ] || return 1; q=$t; s=-; [ ! -s super ] || read -r q s <super; if [ "$s" = - ]; then [ "$q" != $t ] && kill -0 "$q" 2>/dev/null && return; z=$((z + 1)); [ $z -lt 4 ] || return; [ "$q" = $t ] || { sleep 1; echo >&4; }; return 0; fi',
    'kill -0 "$q" 2>/dev/null && read -r line 2>/dev/null <"/proc/$q/stat" || return 1; line=${line##*) }; set -- $s $line; [ "$1" = "${21}" ]; }',
    'while :; do',
    'did=',
    'while IFS= read -r x <&3; do piece $held$x; held=; did=1; done; held=$held$x',
    'flush',
    // A line that is not whole yet is read again: it may be read while it is written.
    '[ -n "$rep" ] || { [ -s report ] && read -r rep <report && [ -n "$rep" ] && echo "r $rep"; } || rep=',
    '[ -n "$code" ] || { [ -s exit ] && read -r code <exit && { [ -s stopped ] && read -r x <stopped && echo "w $x"; x=; [ -e used ] && while read -r v; do echo "u $v"; done <used; echo "x $code"; }; }',
    '[ -z "$e1" ] || [ -z "$e2" ] || [ -z "$code" ] || { echo end; exit 0; }',
    '[ -z "$did" ] || continue',
    '[ "$y" != t ] || { y=; grown 1; grown 2; [ $pn = 0 ] || { flush; continue; }; }',
    '[ -z "$on" ] || {',
    'read -r x <tailer; [ "$x" = $t ] && [ ! -e "gone.$t" ] || { rm -f "gone.$t"; exit 0; }',
    'booted . || { echo "l rebooted"; exit 0; }',
    // So it is with the line of the supervisor.
    'alive && last= || { [ -n "$last" ] && { [ -n "$code" ] && { rest 1; rest 2; echo end; } || echo "l supervisor"; exit 0; }; last=1; sleep 0.1 2>/dev/null || sleep 1; continue; }',
    'read -r y <&4; on=; continue; }',
    'k=$((k + 1)); echo "$t.$k" 1<>armed; on=1',
    'done',
  ];
}
