// npm run keys: changes to a new master key while servers are running.
import { register } from 'tsx/esm/api';

register();
await import('../server/src/commands/keys-main.ts');
