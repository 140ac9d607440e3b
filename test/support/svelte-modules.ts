// Compiles `.svelte.ts` modules for tests as the console's build does.
import { compileModule } from 'svelte/compiler';
import type { Plugin } from 'vite';

export const svelteModules: Plugin = {
  name: 'svelte-modules',
  // After the types are gone.
  enforce: 'post',
  transform: (code, id) =>
    /\.svelte\.ts$/.test(id) ? compileModule(code, { filename: id, generate: 'client' }).js : undefined,
};
