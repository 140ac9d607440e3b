#!/usr/bin/env node
// node scripts/opsconductor.mjs …: the owner's program, from a checkout. `node scripts/build.mjs opsconductor` bundles
// it into one file.
import { register } from 'tsx/esm/api';

register();
await import('../agent/src/owner-main.ts');
