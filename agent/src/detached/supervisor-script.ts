// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the text is a shell's
// The text that starts a command on a target so that it goes on without us, and the text that reads what it printed.
// Nothing but a POSIX shell, dd, find, mkfifo and setsid is asked for. docs/architecture.md tells how the parts meet.
import { quote } from '../steps/ssh-exec-script.ts';

/** Bytes of one stream in one file. */
const segmentBytes = 1024 * 1024;
/** So much of a stream may lie on the target unread or unconfirmed; then the command waits. */
const keptBytes = 32 * 1024 * 1024;
/** Above so many pieces small ones are gathered for a tenth of a second, so that the index of pieces stays small. */
const gatherAbovePieces = 2_000_000;

export interface DetachedStart {
  /** Name of the attempt's directory. */
  name: string;
  marker: string;
  nonce: string;
  /** What the command's shell reads; it reports on descriptor 8 and wakes the reader by descriptor 9. */
  script: string;
}

export interface DetachedRead {
  name: string;
  nonce: string;
  /** Read on from here. */
  stdout: number;
  stderr: number;
}

/** Starts the command in a directory that nobody else can have made, and reads on from its beginning. */
export function startScript({ name, marker, nonce, script }: DetachedStart): Buffer {
  const end = `END_${nonce}`;
  return compound([
    ...prelude(name, nonce),
    'for t in setsid mkfifo dd find id; do',
    'command -v $t >/dev/null 2>&1 || refuse "it has no $t"',
    'done',
    'm=$(umask); umask 077',
    'locate && { echo "$n exists"; exit 0; }',
    'make || refuse "neither the home directory nor /var/tmp is safe to write to"',
    'cd "$d" && mkfifo 1 2 wake && echo 0 >ack1 && echo 0 >ack2 && echo 0 >armed && : >index && boot >boot || abandon',
    `cat >script <<'${end}' || abandon`,
    script,
    end,
    `cat >supervisor <<'${end}' || abandon`,
    supervisor(marker),
    end,
    'setsid /bin/sh ./supervisor "$m" "$h" >/dev/null 2>&1 </dev/null &',
    ...reader(0, 0),
  ]);
}

/** Reads on where an earlier reader stopped. Makes the directory where there is none, so that no start can follow. */
export function readScript({ name, nonce, stdout, stderr }: DetachedRead): Buffer {
  return compound([
    ...prelude(name, nonce),
    'umask 077',
    'locate || { make && echo "$n never"; exit 0; }',
    'cd "$d" || exit 1',
    // A start may be at it just now.
    '[ -p wake ] && [ -e boot ] || { echo "$n early"; exit 0; }',
    ...reader(stdout, stderr),
  ]);
}

/** Removes all but the empty directory, which stays for the longest time a start could be under way. */
export function removeScript(name: string, nonce: string): string {
  return compound([
    ...prelude(name, nonce),
    'locate && cd "$d" && rm -rf ./* || exit 1',
    // Of the empty ones of earlier attempts, and of what was never collected.
    'cd .. && find ./* -prune -type d -mtime +8 -exec rmdir {} \\; 2>/dev/null',
    'find ./* -prune -type d -mtime +30 -exec rm -rf {} \\; 2>/dev/null',
    'echo "$n removed"',
  ]).toString();
}

/** Says the pid of the command's first process; of every attempt with this marker, whatever its token was. */
export function leaderScript(marker: string, nonce: string): string {
  return eachOf(marker, nonce, [
    `[ "$(boot)" = "$(cat "$d/boot" 2>/dev/null)" ] && read -r w p <"$d/report" && [ "$w" = start ] && l=$p`,
    'echo "$n leader $l"',
  ]);
}

/** Removes all but the empty directories of attempts with this marker. */
export function removeAllScript(marker: string, nonce: string): string {
  return eachOf(marker, nonce, ['(cd "$d" && rm -rf ./*)', 'echo "$n removed"']);
}

/** The first line runs for each directory `d`, the second at the end. */
function eachOf(marker: string, nonce: string, [each, last]: [string, string]): string {
  return compound([
    ...prelude(marker, nonce),
    'l=; for i in 1 2; do bases $i && own "$b" && own "$b/attempts" || continue',
    'for d in "$b/attempts/$a".*; do own "$d" || continue',
    each,
    'done; done',
    last,
  ]).toString();
}

// One compound command: a script cut short runs nothing.
function compound(lines: readonly string[]): Buffer {
  return Buffer.from(['{', ...lines, 'exit 0', '}', ''].join('\n'));
}

function prelude(name: string, nonce: string): string[] {
  if (!/^[\w.:-]+$/.test(name) || name.startsWith('.')) throw new Error(`not a name: ${name}`);
  return [
    `n=${nonce}; a=${quote(name)}; u=$(id -u); h=$HOME`,
    'boot() { cat /proc/sys/kernel/random/boot_id 2>/dev/null || who -b; }',
    'refuse() { echo "$n refused $1"; exit 0; }',
    'abandon() { rm -rf "$d"; refuse "its disk takes no files"; }',
    // Owned by the user or root; written by others only where they can't rename what isn't theirs.
    'safe() { [ -n "$(find "$1" -prune -type d \\( -user 0 -o -user "$u" \\) \\( ! -perm -0020 ! -perm -0002 -o -perm -1000 \\) 2>/dev/null)" ]; }',
    'own() { [ -n "$(find "$1" -prune -type d -user "$u" ! -perm -0020 ! -perm -0002 2>/dev/null)" ]; }',
    'above() { q=$1; while [ -n "$q" ]; do safe "$q" || return 1; q=${q%/*}; done; safe /; }',
    // Sets b to the base within $1, if everything on the way to it is safe.
    'base() { r=$(cd -P "$1" 2>/dev/null && pwd -P) && above "${r%/}" && b=${r%/}/$2; }',
    'bases() { case $1 in 1) base "$h" .opsconductor;; 2) base /var/tmp "opsconductor-$u";; esac; }',
    'locate() { for i in 1 2; do bases $i && own "$b" && own "$b/attempts" && own "$b/attempts/$a" && d=$b/attempts/$a && return 0; done; return 1; }',
    // `mkdir` without -p is the fence.
    'make() { for i in 1 2; do bases $i || continue; for q in "$b" "$b/attempts"; do [ -d "$q" ] || mkdir "$q" 2>/dev/null; done',
    'own "$b" && own "$b/attempts" && mkdir "$b/attempts/$a" 2>/dev/null && d=$b/attempts/$a && return 0; done; return 1; }',
  ];
}

/** Runs beside the command, outside its session: keeps its output, and writes down how it ended. */
function supervisor(marker: string): string {
  return `m=$1; h=$2; d=$(pwd -P)
OPSCONDUCTOR_SUPERVISOR='${marker}'; export OPSCONDUCTOR_SUPERVISOR
exec 4<>wake
start() { if read -r line 2>/dev/null <"/proc/$1/stat"; then line=\${line##*) }; set -- $line; shift 19; echo "$1"; else echo -; fi; }
echo "$$ $(start $$)" >super.new && mv super.new super
wake() { read -r a <armed; [ "$a" = "$seen" ] || { seen=$a; echo >&4; }; }
collect() {
exec 3<"$1"; i=0; at=0; total=0; acked=0; pieces=0; seen=
while :; do
while read -r a <"ack$1" && acked=\${a:-$acked}; [ $((total - acked)) -ge ${keptBytes} ]; do sleep 0.1 2>/dev/null || sleep 1; done
room=$((${segmentBytes} - at)); [ $room -le 65536 ] || room=65536
[ $pieces -le ${gatherAbovePieces} ] || [ $size -ge 32768 ] || sleep 0.1 2>/dev/null || sleep 1
said=$(LC_ALL=C dd bs=$room count=1 2>&1 <&3 >>"s$1.$i") || full=1
set -- "$1" \${said##*records out}
case $2 in '' | *[!0-9]*) size=$(($(wc -c <"s$1.$i") - at));; *) size=$2;; esac
[ -z "$full" ] || { echo "$1 -1" >>index; wake; cat <&3 >/dev/null; break; }
[ "$size" -gt 0 ] || break
echo "$1 $size" >>index
total=$((total + size)); at=$((at + size)); pieces=$((pieces + 1))
[ $at -lt ${segmentBytes} ] || { at=0; i=$((i + 1)); }
wake
done
echo "$1 0" >>index; echo >&4
}
collect 1 & c1=$!
collect 2 & c2=$!
exec 5<script; rm -f script
( unset OPSCONDUCTOR_SUPERVISOR; OPSCONDUCTOR_ATTEMPT='${marker}'; export OPSCONDUCTOR_ATTEMPT
cd "$h" 2>/dev/null || cd /
exec 8>"$d/report" 9>"$d/wake"; umask "$m"
exec setsid /bin/sh <&5 >"$d/1" 2>"$d/2" 4>&- 5<&- ) &
exec 5<&-; echo >&4
wait $!; code=$?
echo "$code" >exit.new; mv exit.new exit; echo >&4
wait $c1 $c2
echo over >over; echo >&4`;
}

/** Prints what there is and what comes, until the end or until nobody reads it. */
function reader(stdout: number, stderr: number): string[] {
  return [
    't=$$; echo $t >tailer; echo "$n begin"',
    // What the agent says: how far its server has confirmed; anything else makes the loop look again.
    'exec 7<&0',
    `drop() { for f in "s$1".*; do q=${'$'}{f##*.}; [ "$q" = '*' ] || [ $(((q + 1) * ${segmentBytes})) -gt "$2" ] || rm -f "$f"; done; }`,
    '( while read -r v x y <&7; do',
    'if [ "$v" = ack ]; then echo "$x" >ack1; echo "$y" >ack2; drop 1 "$x"; drop 2 "$y"; fi; echo >&4',
    `done; : >"gone.$t"; echo >&4 ) >/dev/null 2>&1 4<>wake &`,
    'exec 3<index 4<>wake',
    `p1=${stdout}; p2=${stderr}; w1=0; w2=0; o1=; o2=; e1=; e2=; ps=; pn=0; held=; rep=; code=; last=; z=0; k=0; on=`,
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
    // Pending bytes are not in p1 and p2 yet.
    '[ "$ps" = "$1" ] || flush; ps=$1; p=$((p$1 + pn)); s=$((w - p))',
    '[ $s -gt 0 ] || return 0; pn=$((pn + s))',
    `[ $(((p + s) % ${segmentBytes})) != 0 ] || flush`,
    '}',
    'alive() { [ -s super ] || { z=$((z + 1)); [ $z -lt 4 ]; return; }; read -r q s <super; kill -0 "$q" 2>/dev/null || return 1',
    '[ "$s" = - ] && return 0; read -r line 2>/dev/null <"/proc/$q/stat" || return 1; line=${line##*) }; set -- $s $line; [ "$1" = "${21}" ]; }',
    'while :; do',
    'did=',
    'while IFS= read -r x <&3; do piece $held$x; held=; did=1; done; held=$held$x',
    'flush',
    '[ -n "$rep" ] || { [ -s report ] && read -r rep <report && echo "r $rep"; }',
    '[ -n "$code" ] || { [ -s exit ] && read -r code <exit && echo "x $code"; }',
    '[ -z "$e1" ] || [ -z "$e2" ] || [ -z "$code" ] || { echo end; exit 0; }',
    '[ -z "$did" ] || continue',
    '[ -z "$on" ] || {',
    'read -r x <tailer; [ "$x" = $t ] && [ ! -e "gone.$t" ] || { rm -f "gone.$t"; exit 0; }',
    'if [ "$(boot)" != "$(cat boot)" ]; then echo "l rebooted"; exit 0; fi',
    'alive || { [ -n "$last" ] && { echo "l supervisor"; exit 0; }; last=1; continue; }',
    'read -r x <&4; on=; continue; }',
    'k=$((k + 1)); echo "$t.$k" >armed; on=1',
    'done',
  ];
}
