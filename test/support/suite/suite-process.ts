// The suite's own setup as a process that a test ends: prints where its folder is, and keeps running.
import { spawn } from 'node:child_process';
import { dirname } from 'node:path';
import setup from './global-setup.ts';

const teardown = await setup({ provide: () => {} });
// Like a process that a test was running when its worker disappeared.
spawn('sleep', ['600'], { detached: true, stdio: 'ignore' }).unref();
process.stdout.write(`folder ${dirname(process.env.TMPDIR ?? '')}\n`);
process.stdin.resume().once('end', () => void teardown().then(() => process.exit(0)));
