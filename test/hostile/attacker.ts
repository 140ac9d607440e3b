// The hostile clients, in their own process: it is told which attack to carry out next, and reports the result of each.
import { Prng } from '../faults/prng.ts';
import { carryOut, type Field, type Result } from './attack.ts';
import { attacks } from './attacks.ts';

export type ToAttacker = Omit<Field, 'random'> & { name: string; seed: string; leastMs: number };
export type FromAttacker = Result | { failed: string };

const tell = (message: FromAttacker) => process.send?.(message);

process.on('message', (message: ToAttacker) => {
  const { name, seed, leastMs, ...field } = message;
  const attack = attacks.find((each) => each.name === name);
  if (attack === undefined) throw new Error(`no attack ${name}`);
  carryOut(attack, { ...field, random: new Prng(seed, name) }, leastMs).then(tell, (error: Error) =>
    tell({ failed: error.stack ?? error.message }),
  );
});
