import type { Attack } from './attack.ts';
import { insiders } from './insiders.ts';
import { strangers } from './strangers.ts';

/** Strangers' attacks come first, because they cost the attacker least. */
export const attacks: readonly Attack[] = [...strangers, ...insiders];
