import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [svelte()],
  // The server's policy allows scripts and styles from its own origin only: nothing may be inlined as data: URLs.
  build: {
    assetsInlineLimit: 0,
    target: 'es2023',
    modulePreload: { polyfill: false },
    // One style sheet: which rule wins must not depend on the order in which pages were opened.
    cssCodeSplit: false,
    rolldownOptions: {
      output: {
        // What many pages use is one file; by default, each small module of it would be a file.
        codeSplitting: {
          groups: [{ name: 'shared', test: /\/ui\/src\//, minShareCount: 4, maxModuleSize: 12_000 }],
        },
      },
    },
  },
  server: {
    host: '127.0.0.1',
    proxy: { '/api': 'http://127.0.0.1:7700' },
  },
});
