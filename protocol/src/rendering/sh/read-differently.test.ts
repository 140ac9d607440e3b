// Scripts that run a value although it looks as if they did not, in at least one shell; each was run to see that. And
// scripts beside them that run none.
import { describe, expect, test } from 'vitest';
import { checkStep } from '../index.ts';
import { scopeFor } from '../testing.ts';

const T = '${{ parameters.text }}';
/** `T` stands for a placeholder. */
function problemsOf(script: string, config: Record<string, unknown> = {}): string[] {
  const command = script.replaceAll(/\bT\b/g, T);
  return checkStep({ type: 'ssh.exec', config: { command, ...config } }, scopeFor()).map(
    ({ message }) => message,
  );
}
const inSh = (script: string) => problemsOf(script);
const inBash = (script: string) => problemsOf(script, { shell: 'bash' });

describe('refused in sh and bash', () => {
  test.each([
    // A quote in a default is text in double quotes; in a pattern it begins quotes.
    `x=T; echo "\${y:-a/'}"; eval "$x"; echo "'}"`,
    `x=T; echo \${y:-$'\\''}; eval "$x"; echo '} #'`,
    // What ends with two parentheses is arithmetic, whatever else is wrong with it.
    "x=T; echo $(( x + '1' ))",
    "x=T; (( x + '1' ))",
    'x=T; echo $(( x ] ))',
    'x=T; : $(( "))" ; eval $x ) ) #"',
    // The function is unknown to what runs the command, or was defined elsewhere.
    'sh() { echo; }\nenv sh -c "echo T"',
    '(sh() { echo; }); sh -c "echo T"',
    "command alias run='eval '\nrun T",
    // In $'…' nothing is expanded at first.
    `x=T; eval $'eval "$x"'`,
    `export x=T; bash -c $'eval "$x"'`,
    `x=T; trap $'eval "$x"' EXIT`,
    // These are evaluated when they are set, by whatever.
    'for SECONDS in T; do :; done',
    'read -r RANDOM <<E\nT\nE',
    'printf -v RANDOM %s T',
    'x=T; : "${RANDOM:=$x}"',
    'd=-i; declare $d y; y=T',
    // What reads the input stands in an argument.
    'echo T | eval "$(cat)"',
    'echo T | echo "$(sh)"',
    'exec 3<<<T; . /dev/fd/3',
    'exec 3<<<T; y=$(cat <&3); eval "$y"',
    'echo T >f; y=$(env cat f); eval "$y"',
    'echo T >f; y=$(sed p f); eval "$y"',
    'echo T >f; mv f g; sh g',
    'echo T >f; cp f g; . ./g',
    'x=T; f() { echo "$x"; }; eval "$(f)"',
    'x=T; f() { echo "$x"; }; f | sh',
    'x=T; f() { echo "$x"; }; f >g; sh g',
    `x=T; z=fi; eval "if true; then eval \\"\\$x\\"; $z"`,
    'strace -o T true',
    'strace -fo "$x" -o T true',
  ])('%s', (script) => {
    expect(inSh(script)).not.toEqual([]);
    expect(inBash(script)).not.toEqual([]);
  });
});

describe('refused in sh only, where it may not be bash', () => {
  test.each([
    // What bash takes for one test, sh takes for several commands.
    'a=q; [[ $a =~ ^b|T ]]',
    '[[ -n a\nT = b ]]',
    'f() { eval "$2"; }; [[ -z a || f == "T" ]]',
    `((read y; eval "$y")) <<E\nT\nE`,
    `x=T\n(( a # ));: '\neval "$x"\n)) # '`,
    'echo T >f; echo $[ 1; sh f ]',
    `x=T; echo "\${y/'}" & eval "$x"; echo "'/b}"`,
  ])('%s', (script) => {
    expect(inSh(script)).not.toEqual([]);
  });
  test.each(['a=q; [[ $a =~ ^b|"T" ]]', '[[ -n a &&\n"T" = b ]]', 'echo "$[ 1 + 2 ]" T'])(
    'bash runs no value in %s',
    (script) => {
      expect(inBash(script)).toEqual([]);
    },
  );
  test.each(['x=T; [[ a =~ b;eval "$x" ]]', `x=T\ncat <<$'E'\n$E\neval "$x"\nE`])(
    'no shell reads all of %s as one command',
    (script) => {
      expect(inSh(script)).not.toEqual([]);
    },
  );
});

test.each(['[ $NAME = prod ]', 'find $NAME -name x', 'tar xf $NAME'])(
  'a variable of the environment is not split into options: %s',
  (command) => {
    expect(problemsOf(command, { environment: { NAME: T } })).toEqual([
      expect.stringContaining('$NAME, which holds the value of ${{ parameters.text }}, stands unquoted'),
    ]);
    expect(problemsOf(command.replace('$NAME', '"$NAME"'), { environment: { NAME: T } })).toEqual([]);
  },
);

describe('accepted in sh and bash', () => {
  test.each([
    `echo "\${y:-it's}" T`,
    `echo "\${y%$'\\n'}" T`,
    `echo "\${y#'a'}" "\${y%%/*}" T`,
    'echo "$((cd /tmp && echo "a b") | cat)" T',
    `echo "$( (cd /tmp && echo 'a') )" T`,
    '(( i > 5 && (j + 1) * 2 < 3 )) || echo T',
    'for ((i=0; i<3; i++)); do echo T; done',
    '[[ $a =~ ^(a|b)$ && -n $c ]] && echo T',
    'log() { printf "%s\\n" "$*"; }\nlog T',
    'n=$(date +%s); echo T | while read -r l; do m=$(date); echo $m $n "$l"; done',
    'for file in T; do echo "$file"; done',
    "trap $'' EXIT; IFS=$'\\n'; echo T",
    'cp T a; mv a b; cat b',
  ])('%s', (script) => {
    expect(inSh(script)).toEqual([]);
    expect(inBash(script)).toEqual([]);
  });
});
