// Checks the definitions that users send, one at a time. The largest that are allowed keep the event loop busy for a tenth
// of a second each, so a dozen at once would keep everybody waiting for more than one.
import type { ErrorDetail } from '@opsconductor/protocol';
import { UserTurns } from '../../turns/user-turns.ts';
import { examineDefinition } from './validate-definition.ts';

/** An editor has one check at a time; programs that save many jobs at once are slowed down if these are large. */
const turns = new UserTurns({ most: 1, few: 2 });

/** Returns what `examineDefinition` does, when it is the user's turn. Between two checks, other requests are served. */
export async function examineInTurn(
  userId: number,
  value: unknown,
): Promise<{ definition: unknown; problems: ErrorDetail[] }> {
  const end = await turns.take(String(userId));
  try {
    const examined = examineDefinition(value);
    await new Promise<void>((next) => setImmediate(next));
    return examined;
  } finally {
    end();
  }
}
