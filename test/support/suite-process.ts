// The suite's own setup as a process that a test ends: says where its folder is, and runs on.
import { spawn } from 'node:child_process';
import { dirname } from 'node:path';
import setup from './global-setup.ts';

const teardown = await setup({ provide: () => {} });
// As what a test has running is left by a worker that is gone.
spawn('sleep', ['600'], { detached: true, stdio: 'ignore' }).unref();
process.stdout.write(`folder ${dirname(process.env.TMPDIR ?? '')}\n`);
process.stdin.resume().once('end', () => void teardown().then(() => process.exit(0)));
