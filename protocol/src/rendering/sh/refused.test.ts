// Places where no value may stand: refused when saving, with the place, the reason and how to write it instead.
import { describe, expect, test } from 'vitest';
import { checkStep } from '../index.ts';
import { scopeFor } from '../testing.ts';

const T = '${{ parameters.text }}';
/** `⟦` precedes what is refused; `T` stands for a placeholder of a string. Then words of the reason and of the fix. */
type Refused = readonly [command: string, why: string, fix: string];

const quoting: Refused[] = [
  ["echo '⟦T'", 'stands in single quotes', 'Use double quotes'],
  ["echo 'it'\\''s ⟦T'", 'stands in single quotes', 'Use double quotes'],
  ["echo $'⟦T'", "stands in $'…'", 'Use double quotes'],
  ['echo \\⟦T', 'stands after a backslash', 'Remove the backslash'],
  ['echo "a$"⟦T', 'stands after a dollar sign', 'Remove the dollar sign'],
  ['echo `cat ⟦T`', 'stands in backticks', 'Use $(…)'],
  ['echo "`cat "⟦T"`"', 'stands in backticks', 'Use $(…)'],
  ["cat <<'E'\n⟦T\nE", 'whose delimiter is quoted', 'Remove the quotes from the delimiter'],
  ['cat <<\\E\n⟦T\nE', 'whose delimiter is quoted', 'Remove the quotes from the delimiter'],
  ['cat <<⟦E-T\nx\nE', 'has no plain delimiter', 'Fix the script'],
  ['true # ⟦T', 'stands in a comment', 'Take it out of the comment'],
  ['ls *⟦T', 'stands unquoted in a word with a pattern', 'leave the pattern outside'],
  ['ls {a,⟦T}', 'stands unquoted in a word with a pattern', 'leave the pattern outside'],
  ['ls @(⟦T)', 'stands unquoted in a word with a pattern', 'leave the pattern outside'],
  ['ls ~⟦T', 'stands after a tilde', 'Write the folder itself'],
  ['x=~⟦T', 'stands after a tilde', 'Write the folder itself'],
];

const expansions: Refused[] = [
  ['echo ${x:-⟦T}', 'stands inside ${…}', 'Set a variable first'],
  ['echo "${x#⟦T}"', 'stands inside ${…}', 'Set a variable first'],
  ['echo "${x/⟦T/b}"', 'stands inside ${…}', 'Set a variable first'],
  ['echo "${x:⟦T}"', 'stands inside ${…}', 'Set a variable first'],
  ['n=T; echo "${s:⟦$n}"', 'stands in an offset', 'parameter of the type integer'],
  ['n=T; echo "${a[⟦$n]}"', 'stands in an offset, a subscript', 'parameter of the type integer'],
  ['n=T; echo "⟦${n@P}"', 'transformation', ''],
  ['n=T; echo "⟦${!n}"', 'is taken for the name of a variable', 'Use case'],
  ['a[⟦T]=1', 'stands in a subscript', 'Use case'],
  ['echo $((⟦T + 1))', 'is not a number and stands in arithmetic', 'as an integer'],
  ['((⟦T))', 'is not a number and stands in arithmetic', 'as an integer'],
  ['for ((i=0; i<⟦T; i++)); do :; done', 'is not a number and stands in arithmetic', 'as an integer'],
  ['n=T; echo $((⟦n + 1))', 'is not a number and stands in arithmetic', 'as an integer'],
  ['n=T; echo $((⟦$n + 1))', 'is not a number and stands in arithmetic', 'as an integer'],
  ['echo $((1⟦${{ parameters.count }}))', 'touches other text in arithmetic', 'Put an operator between them'],
  ['echo $[⟦${{ parameters.count }}]', 'stands in $[…]', 'Write $(('],
  ['x=T; rm ⟦$x', 'stands unquoted', 'Put it in double quotes'],
  ['x=T; rm ${y:-⟦$x}', 'stands unquoted', 'Put it in double quotes'],
  ['env x=$(echo ⟦T)', 'goes into $(…) outside of quotes', 'or take one piece after the other'],
  ['tar xf a.tar $(basename ⟦T)', 'goes into $(…) outside of quotes', 'Put it in double quotes: "$(…)"'],
  ['x=T; rm ${y:-$(basename "⟦$x")}', 'goes into $(…) outside of quotes', ''],
  ['x=T; rm ⟦`basename "$x"`', 'goes into $(…) outside of quotes', ''],
];

const commands: Refused[] = [
  ['⟦T', 'decides which command runs', 'Name the commands yourself'],
  ['"⟦T" now', 'decides which command runs', 'Name the commands yourself'],
  ['sudo -u root ⟦T', 'decides which command runs', 'Name the commands yourself'],
  ['env A=b ⟦T', 'decides which command runs', 'Name the commands yourself'],
  ['env a.b=c ⟦T', 'decides which command runs', 'Name the commands yourself'],
  ['env x=- = "a⟦T"', 'decides which command runs', 'Name the commands yourself'],
  ['sudo =1 ⟦T', 'decides which command runs', 'Name the commands yourself'],
  ['command time ls ⟦T', 'expands its arguments a second time in mksh', 'Write time first'],
  ['\\time ls ⟦T', 'expands its arguments a second time in mksh', '/usr/bin/time'],
  ['nsenter -t 1 sh -c "⟦T"', 'an argument of nsenter', 'environment'],
  ['ip netns exec blue bash -c "⟦T"', 'an argument of ip', 'environment'],
  ['xterm -e "⟦T"', 'an argument of xterm', 'environment'],
  ['timeout 5 ⟦T', 'decides which command runs', 'Name the commands yourself'],
  ['$CMD ⟦T', 'a command that is only known when the script runs', 'Write the name of the command itself'],
  ['NAME=⟦T printenv NAME', 'in front of a command', 'in a line of its own'],
  ['PATH=⟦T', 'tells the shell, or programs, what to run', 'a name of your own'],
  ['env LD_PRELOAD=⟦T ls', 'tells the shell, or programs, what to run', 'a name of your own'],
  ['export BASH_ENV="⟦T"', 'tells the shell, or programs, what to run', 'a name of your own'],
  ['declare -i n; n=⟦T', 'declares as a number', 'Remove -i, -n or -A'],
  ['echo x >&⟦T', 'stands after >&', '2>&1'],
  ['case $x in ⟦T) echo y ;; esac', 'stands in a pattern of case', 'Compare instead'],
  ['ls -⟦T', 'completes an option', 'Write the option whole'],
  ['ls --⟦T', 'completes an option', 'Write the option whole'],
  ['tar -xf a.tar --to-command=⟦T', 'an option that names a command', 'Write that command itself'],
  ['tar -I "⟦T" -xf a.tar', 'an option that names a command', 'Write that command itself'],
  ['git -c core.pager="⟦T" log', 'an option that names a command', 'Write that command itself'],
  ['sort --compress-program ⟦T x', 'an option that names a command', 'Write that command itself'],
  ['sudo -i ⟦T', 'hands it to a shell with this option', 'with the command itself'],
  ['sudo --new-option x ⟦T', 'an option here that OpsConductor does not know', 'leave the option out'],
  ['echo ⟦${{ parameters.list }}', 'is a list or an object', 'Refer to one of its items'],
];

const tests: Refused[] = [
  ['[ -v ⟦T ]', 'is taken for the name of a variable', 'Ask whether it is empty'],
  ['test -v ⟦T', 'is taken for the name of a variable', 'Ask whether it is empty'],
  ['[[ -v ⟦T ]]', 'is taken for the name of a variable', 'Ask whether it is empty'],
  ['[[ ⟦T -eq 1 ]]', 'is not a number and is compared as one', 'compare texts with ='],
  ['[ ⟦T -gt 3 ]', 'is not a number and is compared as one', 'compare texts with ='],
  ['n=T; [[ ⟦$n -lt 5 ]]', 'is not a number and is compared as one', 'compare texts with ='],
  ['[ -n ⟦T -a -n x ]', 'in a test that -a, -o or parentheses join', 'Write two tests'],
  ['[ "$x" ⟦T ]', 'stands beside another value', 'Put the operator between them'],
];

const interpreters: Refused[] = [
  ['sh -c "echo ⟦T"', 'is an argument of sh', 'Set it in the environment'],
  ['bash -c \'echo "$1"\' x ⟦T', 'is an argument of bash', 'Set it in the environment'],
  ['/usr/bin/env bash -c "⟦T"', 'is an argument of', 'Set it in the environment'],
  ['eval "echo ⟦T"', 'is an argument of eval', 'Set it in the environment'],
  ['. ⟦T', 'is an argument of .', 'Set it in the environment'],
  ['source "⟦T"', 'is an argument of source', 'Set it in the environment'],
  ['trap "⟦T" EXIT', 'is an argument of trap', 'Set it in the environment'],
  ['alias x="⟦T"', 'is an argument of alias', 'Set it in the environment'],
  ['x=T; eval "⟦$x"', 'is an argument of eval', 'Set it in the environment'],
  ['for f in T; do sh -c "⟦$f"; done', 'is an argument of sh', 'Set it in the environment'],
  ['f() { eval "⟦$1"; }; f T', 'is an argument of eval', 'Set it in the environment'],
  ['echo T | while read -r l; do eval "⟦$l"; done', 'is an argument of eval', 'Set it in the environment'],
  ['ssh host ⟦T', 'is an argument of ssh', 'make it a target'],
  ['scp a host:⟦T', 'is an argument of scp', 'Run the step on that host'],
  ['su - user -c "⟦T"', 'is an argument of su', 'Use sudo -u'],
  ['xargs -I{} ⟦T', 'is an argument of xargs', 'Use a loop'],
  ['echo "⟦T" | xargs rm', 'goes into the input of xargs', 'Use a loop'],
  ['find . -exec ⟦T \\;', 'is an argument of find', 'Put the value before -exec'],
  ['awk "{ print ⟦T }"', 'is an argument of awk', 'ENVIRON'],
  ['awk -v x=⟦T 1', 'is an argument of awk', 'ENVIRON'],
  ['sed "s/a/⟦T/"', 'is an argument of sed', 'ENVIRON'],
  ['perl -e "print ⟦T"', 'is an argument of perl', '$ENV{NAME}'],
  ['python3 -c "print(⟦T)"', 'is an argument of python3', 'os.environ'],
  ['python3.12 -c "⟦T"', 'is an argument of python3.12', 'os.environ'],
  ['ruby -e "⟦T"', 'is an argument of ruby', 'ENV["NAME"]'],
  ['node -e "⟦T"', 'is an argument of node', 'process.env.NAME'],
  ['psql -c "select ⟦T"', 'is an argument of psql', 'getenv'],
  ['mysql <<E\nselect "⟦T"\nE', 'goes into the input of mysql', 'environment'],
  ['sh <<E\necho ⟦T\nE', 'goes into the input of sh', 'environment'],
  ['sh <<<⟦T', 'goes into the input of sh', 'environment'],
  ['printf "%s" "⟦T" | sh', 'goes into the input of sh', 'environment'],
  ['{ echo ⟦T; } | sudo bash -s', 'goes into the input of bash', 'environment'],
  ['run() { sh; }; echo ⟦T | run', 'goes into the input of sh', 'environment'],
  ['jq ".x == ⟦T"', 'is an argument of jq', '--arg'],
  ['docker exec c sh -c "⟦T"', 'is an argument of docker', '-e NAME'],
  ['crontab - <<E\n* * * * * ⟦T\nE', 'goes into the input of crontab', ''],
  ['make ⟦T', 'is an argument of make', ''],
  ['printf ⟦T', 'takes it for its format', "printf '%s"],
  ["printf '%d' ⟦T", 'takes it for its format', "printf '%s"],
  ['read ⟦T', 'is an argument of read', 'Set a variable by itself'],
  ['declare x=⟦T', 'is an argument of declare', 'Set a variable by itself'],
  ['let "x = ⟦T"', 'is an argument of let', 'Set a variable by itself'],
  ['unset ⟦T', 'is an argument of unset', 'Set a variable by itself'],
  ['export ⟦T', 'is an argument of export', 'with a name of your own'],
  ['exit ⟦T', 'takes it for an expression', 'as an integer'],
  ['set ⟦T', 'takes it for options', 'set -- '],
  ['expr ⟦T + 1', 'is an argument of expr', '$(( … ))'],
  ['flock /tmp/l -c "⟦T"', 'is an argument of flock', ''],
];

// The command that a shell runs is not the one that seems to be written.
const hidden: Refused[] = [
  ['ping -c 1 h &>/dev/null ⟦"T"', 'a word follows &>, where sh begins another command', 'Fix the script'],
  ['[[ -n x || "⟦T" == b ]]', 'a shell without [[ runs as a command', 'with shell: bash'],
  ['x=T; [[ a == b && ! ⟦$x == b ]]', 'a shell without [[ runs as a command', 'with shell: bash'],
  ['[[ a == b || eval "⟦T" ]]', 'a shell without [[ runs as a command', 'with shell: bash'],
  ['{sh,-c} "⟦T"', 'only known when the script runs', 'Write the name of the command itself'],
  ['/bin/s? -c "⟦T"', 'only known when the script runs', 'Write the name of the command itself'],
  ['alias run=eval\nrun "⟦T"', 'only known when the script runs', 'Write the name of the command itself'],
  ['alias run=sh\necho ⟦T | run', 'goes into the input of a command that is only known', 'Write the name'],
  ['env - PATH=/bin sh -c "⟦T"', 'is an argument of sh', 'environment'],
  ['systemd-inhibit --what=idle bash -c "⟦T"', 'is an argument of bash', 'environment'],
  ['uv run python -c "⟦T"', 'is an argument of python', 'os.environ'],
  ['git submodule foreach "⟦T"', 'an option that names a command', 'Write that command itself'],
  ['ncat --sh-exec "⟦T" h 1', 'an option that names a command', 'Write that command itself'],
  ['echo "⟦T" | tee >(sh)', 'goes into the input of sh', 'environment'],
  ['echo "⟦T" > >(sh)', 'goes into the input of sh', 'environment'],
  ['exec > >(sh)\necho "⟦T"', 'goes into the input of sh', 'environment'],
  ['y=T; : "${x:=$y}"; eval "⟦$x"', 'is an argument of eval', 'environment'],
  ['set -- T; for x do eval "⟦$x"; done', 'is an argument of eval', 'environment'],
  ['!\\\n eval "⟦T"', 'is an argument of eval', 'environment'],
  ['echo "⟦$\\\n(eval T)"', 'a line ends within what follows a $', 'Fix the script'],
  ['cat <<E\n⟦$\\\n(eval T)\nE', 'a line ends within what follows a $', 'Fix the script'],
  ['cat <<EOF\nEO\\⟦\nF\neval T\nEOF', 'before the end of a here-document', 'Fix the script'],
  ["echo $'\\⟦'' \"';eval T;'\"", 'where some shells end the quotes', 'Fix the script'],
  ['a=(x)⟦eval T', 'touches the end of an array', 'Fix the script'],
];

// Found by running random scripts in real shells (test/shell-scripts): the value takes a way that is not seen at once.
const elsewhere: Refused[] = [
  ['x=T; ⟦eval \'sh -c "$x"\'', '$x, which holds', 'environment'],
  ['export x=T; ⟦sh -c \'eval "$x"\'', '$x, which holds', 'environment'],
  ['export x=T; ⟦find . -exec sh -c \'eval "$x"\' \\;', '$x, which holds', 'environment'],
  ['export x=T; ⟦su -m user -c \'eval "$x"\'', '$x, which holds', 'environment'],
  ['export x=T; ⟦systemd-inhibit bash -ec \'eval "$x"\'', '$x, which holds', 'environment'],
  ['x=T; ⟦trap \'eval "$x"\' EXIT', '$x, which holds', 'environment'],
  ['k=T; eval \'x=$k\'; sh -c "⟦$x"', 'is an argument of sh', 'environment'],
  ['k=T; eval "x=\\$k"; sh -c "⟦$x"', 'is an argument of sh', 'environment'],
  ['set -- T; eval x=\\$1; sh -c "⟦$x"', 'is an argument of sh', 'environment'],
  ['k=T; n=k; eval "x=\\${$n}"; sh -c "⟦$x"', 'is an argument of sh', 'environment'],
  ['k=T; ⟦eval "$run \\"\\$k\\""', 'a command that is only known when the script runs', 'Write the name'],
  ['x=T; ⟦sh -c \'set -- "$x"; eval "$1"\'', 'is an argument of eval', 'environment'],
  ['k=T; n=k; sh -c "⟦${!n}"', 'which may hold the value of', 'environment'],
  ['k=T; n=k; rm ⟦${!n}', 'stands unquoted', 'Put it in double quotes: "$name"'],
  ['k=T; declare -n x=k; sh -c "⟦$x"', 'is an argument of sh', 'environment'],
  ['f() { local -n x=$1; sh -c "⟦$x"; }; k=T; f k', 'is an argument of sh', 'environment'],
  ['[[ "T" =~ (.*) ]]; sh -c "⟦${BASH_REMATCH[1]}"', 'is an argument of sh', 'environment'],
  ['true T; sh -c "⟦$_"', 'is an argument of sh', 'environment'],
  ['getopts a: o -a T; sh -c "⟦$OPTARG"', 'is an argument of sh', 'environment'],
  ['set -- T; while getopts a: o; do sh -c "⟦$OPTARG"; done', 'is an argument of sh', 'environment'],
  ['mkdir -p T; cd T; sh -c "cd ⟦$PWD"', 'is an argument of sh', 'environment'],
  ['exec 4<<E\nT\nE\nread x <&4\nsh -c "⟦$x"', 'is an argument of sh', 'environment'],
  ['exec 4<<E\n⟦T\nE\n{ cd /; sh; } <&4', 'goes into the input of sh', 'environment'],
  ['exec <<E\n⟦T\nE\nsh', 'goes into the input of sh', 'environment'],
  ['export k=T; x=$(printenv k); sh -c "⟦$x"', 'is an argument of sh', 'environment'],
  ['k=T; x=$(declare -p k); sh -c "⟦$x"', 'is an argument of sh', 'environment'],
  ['k=T; x=$(set | grep k=); sh -c "⟦$x"', 'is an argument of sh', 'environment'],
  ['printf -v \'r[0]\' %s T; sh -c "⟦${r[0]}"', 'is an argument of sh', 'environment'],
  ['printf -v\'r[0]\' %s T; sh -c "⟦${r[0]}"', 'is an argument of sh', 'environment'],
  ['printf -vr %s T; eval "⟦$r"', 'is an argument of eval', 'environment'],
  ['printf -v r[0] %s T; eval "⟦$r"', 'is an argument of eval', 'environment'],
  ['printf -v "r$n" %s T; eval "⟦$q"', 'is an argument of eval', 'environment'],
  ['read -ar <f; echo T >f; eval "⟦$r"', 'is an argument of eval', 'environment'],
  ['echo T | while read "r$i"; do eval "⟦$q"; done', 'is an argument of eval', 'environment'],
  ['x=T; export x; ⟦sh <<\'E\'\neval "$x"\nE', 'is an argument of eval', 'environment'],
  ["x=T; export x; ⟦sudo -E bash -s <<'E'\nrm $x\nE", 'stands unquoted', 'Put it in double quotes'],
  ['x=T; export x; ⟦sh <<E\nrm \\$x\nE', 'stands unquoted', ''],
  ["x=T; cat <<'E' | ⟦. /dev/stdin\n$x now\nE", 'decides which command runs', ''],
  ["x=T; export x; echo 'rm $x' | ⟦sh", 'stands unquoted', ''],
  ["x=T; export x; { echo a; printf '%s\\n' 'rm $x'; } | ⟦$SUDO sh", 'stands unquoted', ''],
  ["x=T; export x; echo '$'x | ⟦xargs -n1 sh -c", 'decides which command runs', ''],
  ['read c <<< T; $(true) declare -i b; ⟦b=c', 'is not a number and stands in arithmetic', ''],
  ["x=T; export x; echo 'rm $x' > >(⟦sh)", 'goes into the input of sh', ''],
  ["x=T; export x; echo 'rm $x' | tee >(⟦sh) >/dev/null", 'goes into the input of sh', ''],
  ["x=T; export x; { date; ⟦sh; } <<'E'\nrm $x\nE", 'stands unquoted', ''],
  ["x=T; export x; echo 'rm $x' | (cd /; ⟦bash)", 'stands unquoted', ''],
  ['x=T; export x; y=$(env a.b=c | grep x=); eval "⟦$y"', 'is an argument of eval', ''],
  ['x=T; export x; y=$(sudo printenv x); eval "⟦$y"', 'is an argument of eval', ''],
  ['export $n=T; eval "⟦$q"', 'is an argument of eval', 'environment'],
  ['echo T >file; read -r x <file; sh -c "⟦$x"', 'is an argument of sh', 'environment'],
  ['echo T | tee ./file; eval "$(cat ⟦file)"', 'The file file, which holds', 'environment'],
  ['echo T >>"$d/a"; x=$(<"$d/a"); sh -c "⟦$x"', 'is an argument of sh', 'environment'],
  ['echo T >file; sh <⟦file', 'The file file, which holds', 'environment'],
  ['x=T; echo a >&⟦$x', 'stands after >&', '2>&1'],
  ['x=T; r[⟦x]=1', 'stands in a subscript', 'Use case'],
  ['x=T; r=(⟦[x]=1)', 'stands in a subscript', 'Use case'],
  ['x=T; export x; ⟦$SUDO sh -c \'eval "$x"\'', 'is an argument of eval', 'environment'],
  ['x=T; ⟦$(true) sudo eval \'eval "$x"\'', 'is an argument of eval', 'environment'],
  ['x=T; $SUDO let ⟦n=x', 'stands in arithmetic', 'as an integer'],
  ['echo T >file; $SUDO read x <file; sh -c "⟦$x"', 'is an argument of sh', 'environment'],
  ['x=T; r[⟦q[0]+x]=1', 'stands in a subscript', 'Use case'],
  ['x=T; r=(⟦[q[0]+x]=1)', 'stands in a subscript', 'Use case'],
  ['x=T; exec ⟦{r[x]}>/dev/null', 'stands in a subscript', 'Use case'],
  ['x=T; exec ⟦{r[q[0]+x]}>/dev/null', 'stands in a subscript', 'Use case'],
  ["x=T; unset '⟦r[q[0]+x]'", 'stands in arithmetic', 'as an integer'],
  ['x=T; unset "r[${q[0]}⟦+x]"', 'stands in arithmetic', 'as an integer'],
  ["x=T; [[ -v '⟦r[q[0]+x]' ]]", 'is taken for the name of a variable', 'Ask whether it is empty'],
  ['x=T; ⟦r[ x ]=1', 'a subscript has a blank or an operator in it', 'Fix the script'],
  ['x=T; A=b ⟦r[\nx ]+=1', 'a subscript has a blank or an operator in it', 'Fix the script'],
  ['x=T; ⟦r[(x)]=1', 'a subscript has a blank or an operator in it', 'Fix the script'],
  ['x=T; r=(⟦[ x ]=1)', 'a subscript has a blank or an operator in it', 'Fix the script'],
  ["x=T; ⟦eval 'r[ x ]=1'", 'a subscript has a blank or an operator in it', 'Fix the script'],
  ["x=T; ⟦eval 'let n=x'", 'stands in arithmetic', 'as an integer'],
  ['x=T; echo "${r⟦[x]}"', 'stands in an offset, a subscript', 'parameter of the type integer'],
  ['x=T; echo "${s⟦:x}"', 'stands in an offset, a subscript', 'parameter of the type integer'],
  ['x=T; echo $[⟦ x ]', 'stands in $[…]', 'Write $(('],
  ['x=T; [[ -n y && ⟦x -ge 1 ]]', 'is compared as one', 'compare texts with ='],
  ["x=T; [[ -v '⟦r[x]' ]]", 'is taken for the name of a variable', 'Ask whether it is empty'],
  ['x=T; let ⟦n=x', 'stands in arithmetic', 'as an integer'],
  ['x=T; declare -i ⟦n=x', 'stands in arithmetic', 'as an integer'],
  ['x=T; declare -i n; ⟦n=x', 'stands in arithmetic', 'as an integer'],
  ["x=T; unset '⟦r[x]'", 'stands in arithmetic', 'as an integer'],
  [
    'cat >s.sh <<E\necho ⟦T\nE\nsh ./s.sh',
    'goes into the input of s.sh, which the script runs',
    'environment',
  ],
  ['x=$(mktemp); echo ⟦T >"$x"; . "$x"', 'which the script runs', 'environment'],
  ['echo ⟦T | tee ./run; chmod +x run; ./run', 'which the script runs', 'environment'],
];

const all = { quoting, expansions, commands, tests, interpreters, hidden, elsewhere };

for (const [kind, cases] of Object.entries(all)) {
  describe(kind, () => {
    test.each(cases)('%s', (marked, why, fix) => {
      const written = marked.replaceAll('T', (_, at: number) => (isPlaceholder(marked, at) ? T : 'T'));
      const at = written.indexOf('⟦');
      const command = written.replace('⟦', '');
      const problems = checkStep({ type: 'ssh.exec', config: { command } }, scopeFor());
      const before = command.slice(0, at);
      const place = `Line ${before.split('\n').length}, column ${before.length - before.lastIndexOf('\n')}: `;
      expect(problems.map(({ message }) => message)).toContainEqual(expect.stringContaining(place));
      const { message = '', path } = problems.find((problem) => problem.message.startsWith(place)) ?? {};
      expect(path).toBe('steps[0].config.command');
      expect(message).toContain(why);
      // The reason is followed by how to write it instead.
      expect(message.slice(message.indexOf(why) + why.length)).toMatch(/\. \S/);
      expect(message).toContain(fix);
    });
  });
}

/** A `T` that isn't part of a word. */
function isPlaceholder(text: string, at: number): boolean {
  return !/[A-Za-z_]/.test(text[at - 1] ?? '') && !/[A-Z_a-z]/.test(text[at + 1] ?? '');
}

test('a step that bash runs may use what only bash reads as one command', () => {
  const command = `[[ "${T}" == a || "${T}" == b ]] && cat &>/dev/null -- "${T}"; echo $'it\\'s' "${T}"`;
  const problems = (shell: string) => checkStep({ type: 'ssh.exec', config: { command, shell } }, scopeFor());
  expect(problems('bash')).toEqual([]);
  expect(problems('sh').length).toBeGreaterThan(0);
});

test('at least sixty different places are refused', () => {
  const commands = Object.values(all).flatMap((cases) => cases.map(([command]) => command));
  expect(new Set(commands).size).toBeGreaterThanOrEqual(60);
});

// Similar scripts that must remain possible.
test.each([
  'systemctl restart -- T',
  'echo "$(cat -- T)" && test -n "T"',
  '[ "T" = production ] || [ x = "T" ]',
  '[[ "T" == a* ]] && echo yes',
  'case "T" in a|b) echo ab ;; *) exit 2 ;; esac',
  'for x in a T "T"; do printf "%s\\n" "$x"; done',
  'export NAME="T"; python3 -c \'import os; print(os.environ["NAME"])\'',
  'sudo -u deploy -- git -C /srv checkout -- T',
  'cp -- "T" /srv/"T".bak',
  'curl --fail --data-urlencode "name=T" -- https://example.org/',
  "jq --arg name T '.x == $name' file",
  'python3 /opt/tool.py T',
  'echo T >>/var/log/"T".log 2>&1',
  'find /srv -name "T" -type f',
  'sh /opt/script.sh T',
  'docker ps --filter "name=T"',
  'git --no-pager log --author=T',
  'tar --exclude=T -cf /tmp/a.tar -- T',
  'while read -r line; do echo "$line"; done <<E\nT\nE',
  'tar -C "T" -xzf - <"T"',
  'curl -- "T" &>/dev/null',
  '[[ "T" == a && -n x ]] || [[ "T" == b ]]',
  '/usr/lib/postgresql/*/bin/pg_isready -h T',
  'diff <(sort a) "T"',
  'env - PATH=/bin printenv -- T',
  'cat <<E\na \\\n b T\nc\nE',
  '/opt/bin/constructor --name "T"; __proto__ -c T',
  'eval "$(ssh-agent -s)"; ssh-add -- T',
  'x=T; export x; sh -c \'printf "%s" "$x"\'',
  'exec 3<T; while read -r line <&3; do echo "$line"; done; sh tool.sh; "$tool" now',
  'r[0]=T; r[n+1]+=a"T"; echo "${r[0]}"',
  '$SUDO sh -c "systemctl restart x" && $SUDO let n=1 && x=T && echo "$x"',
  'r[q[0]+1]=T; r=([0]="T" [q[0]+1]=b); ls a[ b key[[:alpha:]] -- T; [[ "T" == key[[:space:]]* ]]',
  'x=T; export x; find . -name a -exec bash -c \'cp -- "$1" "$x"\' x {} \\;',
  'trap \'rm -f -- "$tmp"\' EXIT; tmp=$(mktemp); cat <"$tmp" >"T"',
  'mkdir -p T && cd "$_" && ls "$PWD" && cd $OLDPWD',
  "f() { sh -c 'for x; do echo $x; done' x a b; }; f T",
  'exec 3>&1 4<T; read -r line <&4; echo "$line" >&3',
  'x=T; n=${#x}; (( n > 3 )) && [[ $n -gt 3 && -n "$x" ]]',
  'x=T; y="${!x@} ${!OPS*}"; echo "$y" "${r[0]}" "${s:1:2}"',
  'python3 tool.py T >tool.log; cat >conf.ini <<E\nname=T\nE',
  "echo T >file; awk '{ print $1 }' file; cat file; rm file; sh tool.sh file",
  'for name in a b; do eval "v=\\$$name"; echo "$v" T; done',
  '[[ "T" =~ ^([a-z]+)$ ]] && echo "${BASH_REMATCH[1]}"',
  'while getopts ab: o; do case $o in b) echo "$OPTARG" ;; esac; done; ls -- "T"',
  'x=T; export x; sudo -E bash <<\'E\'\nrm -- "$x"\nfor i in 1 2; do echo $i; done\nE',
  "x=T; export x; python3 - <<'E'\nprint('$x')\nE\ncat <<'E' >f\nrm $x it's\nE\nsh tool.sh <<'E'\nrm $x\nE",
  'time -p ls T; time -f %e ls T; sudo time ls T; /usr/bin/time ls T',
  'x=T; sudo -u "$x" id; sh -c "$y"; printf -v "r$n" %s 1; read "q$n" <f; eval "$r1"',
])('accepted: %s', (text) => {
  const command = text.replaceAll('T', (_, at: number) => (isPlaceholder(text, at) ? T : 'T'));
  expect(checkStep({ type: 'ssh.exec', config: { command } }, scopeFor())).toEqual([]);
});
