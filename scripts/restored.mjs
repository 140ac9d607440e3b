// npm run restored: run after restoring a backup, before a server is started on it.
import { register } from 'tsx/esm/api';

register();
await import('../server/src/commands/restore-main.ts');
