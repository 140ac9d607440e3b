// Places in words, expansions and tests where no value may stand.
import { type Refused, testRefused } from './testing.ts';

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

testRefused({ quoting, expansions, tests });
