// Which goals are met: the mark of a row, and the table at the top of docs/benchmarks.md of goals that were missed.

export type Mark = 'yes' | '**no**' | '?' | '';

const limits: Record<string, (measured: number, limit: number) => boolean> = {
  'at least': (measured, limit) => measured >= limit,
  'at most': (measured, limit) => measured <= limit,
  under: (measured, limit) => measured < limit,
  '': (measured, limit) => measured === limit,
};

/**
 * A goal is `at least`, `at most`, `under` or nothing (meaning exactly) before a number. With `p99` before these it
 * refers to the number after the first p99 in what was measured; otherwise to the first number. Returns `?` for any
 * other text.
 */
export function markOf(measured: string, goal: string): Mark {
  if (goal === '') return '';
  const [, p99 = '', how = '', limit] =
    /^(p99 )?(?:(at least|at most|under) )?(\d+(?:\.\d+)?)\b/.exec(goal) ?? [];
  const [, figure] = (p99 ? /p99 (\d+(?:\.\d+)?)/ : /(\d+(?:\.\d+)?)/).exec(measured) ?? [];
  if (limit === undefined || figure === undefined) return '?';
  return limits[how]?.(Number(figure), Number(limit)) ? 'yes' : '**no**';
}

const begin = '<!-- missed -->\n';
const end = '<!-- /missed -->';
const unexplained = 'not looked for yet';

/** Updates the page's table of missed goals from its sections. Keeps the reasons, which people write. */
export function withMissedGoals(page: string): string {
  const from = page.indexOf(begin);
  const to = page.indexOf(end);
  if (from === -1 || to === -1)
    throw new Error(`The page has no ${begin.trim()} … ${end} for the missed goals.`);
  const reasons = new Map(
    rowsOf(page.slice(from, to)).map(([section = '', figure = '', , , why = '']) => [section + figure, why]),
  );
  const missed = [...page.matchAll(/^<!-- (\w+) -->\n## (.+)\n([\s\S]*?)^<!-- \/\1 -->/gm)].flatMap(
    ([, name = '', title = '', section = '']) =>
      rowsOf(section)
        .filter(([, , , mark]) => mark === ('**no**' satisfies Mark))
        .map(([figure = '', measured = '', goal = '']) => {
          const link = `[${name}](#${anchorOf(title)})`;
          return [link, figure, measured, goal, reasons.get(link + figure) ?? unexplained];
        }),
  );
  const table = [['benchmark', 'figure', 'measured', 'goal', 'why'], ...missed].map(rowText);
  table.splice(1, 0, '|---|---|---|---|---|');
  return `${page.slice(0, from)}${begin}${table.join('\n')}\n${page.slice(to)}`;
}

export function rowText(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

/** Returns the cells of a table's rows, without its header. */
function rowsOf(text: string): string[][] {
  return [...text.matchAll(/^\| (.*) \|$/gm)].slice(1).map(([, cells = '']) => cells.split(' | '));
}

function anchorOf(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^\w -]/g, '')
    .replaceAll(' ', '-');
}
