// npm run restored: after a backup was restored, before a server is started on it.
import { register } from 'tsx/esm/api';

register();
await import('../server/src/restore-main.ts');
