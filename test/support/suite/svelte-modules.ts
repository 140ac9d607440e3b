// Compiles `.svelte.ts` modules for tests the way the console's build does.
import { compileModule } from 'svelte/compiler';
import type { Plugin } from 'vite';

export const svelteModules: Plugin = {
  name: 'svelte-modules',
  // After types have been stripped.
  enforce: 'post',
  transform: (code, id) =>
    /\.svelte\.ts$/.test(id) ? compileModule(code, { filename: id, generate: 'client' }).js : undefined,
};
