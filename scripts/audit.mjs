// npm run audit -- verify …: verifies the sealed audit log.
import { register } from 'tsx/esm/api';

register();
await import('../server/src/commands/audit-main.ts');
