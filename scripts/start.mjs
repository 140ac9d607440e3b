// npm start: builds what has changed, then runs the server in this process.
import { register } from 'tsx/esm/api';
import { buildAll } from './build.mjs';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`OpsConductor needs Node.js 20.19 or newer; this is ${process.versions.node}.\n`);
  process.exit(1);
}
await buildAll();
register();
await import('../server/src/main.ts');
