// npm run keys: another master key, while servers run.
import { register } from 'tsx/esm/api';

register();
await import('../server/src/keys-main.ts');
