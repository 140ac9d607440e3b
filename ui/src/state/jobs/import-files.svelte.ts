// The files that inventories are planned from, for as long as the console is open: the server doesn't keep them, and to
// plan again they are sent again.
import type { Adoption, InventoryFile } from '@opsconductor/protocol';

class ImportFiles {
  #byInventory = $state.raw<ReadonlyMap<number, { files: readonly InventoryFile[]; adopt: Adoption }>>(
    new Map(),
  );

  of(inventoryId: number): { files: readonly InventoryFile[]; adopt: Adoption } | undefined {
    return this.#byInventory.get(inventoryId);
  }

  keep(inventoryId: number, files: readonly InventoryFile[], adopt: Adoption): void {
    // Of one inventory at a time: it may be many megabytes.
    this.#byInventory = new Map([[inventoryId, { files, adopt }]]);
  }
}

export const importFiles = new ImportFiles();
