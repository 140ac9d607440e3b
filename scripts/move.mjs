// npm run move: moves the embedded database to a PostgreSQL of your own.
import { register } from 'tsx/esm/api';

register();
await import('../server/src/commands/move-main.ts');
