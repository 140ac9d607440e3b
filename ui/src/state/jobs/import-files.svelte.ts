// The files that inventories are planned from, kept while the console is open. The server doesn't keep them, so
// planning again means sending them again.
import type { Adoption, InventoryFile } from '@opsconductor/protocol';

class ImportFiles {
  #byInventory = $state.raw<ReadonlyMap<number, { files: readonly InventoryFile[]; adopt: Adoption }>>(
    new Map(),
  );

  of(inventoryId: number): { files: readonly InventoryFile[]; adopt: Adoption } | undefined {
    return this.#byInventory.get(inventoryId);
  }

  keep(inventoryId: number, files: readonly InventoryFile[], adopt: Adoption): void {
    // Keep those of one inventory only: they may be many megabytes.
    this.#byInventory = new Map([[inventoryId, { files, adopt }]]);
  }
}

export const importFiles = new ImportFiles();
