// Reads files that a person chose or dropped, including everything in folders.
import { type InventoryFile, limits } from '@opsconductor/protocol';

export async function readChosen(list: Iterable<File>): Promise<InventoryFile[]> {
  const files: InventoryFile[] = [];
  let bytes = 0;
  for (const file of list) {
    const path = file.webkitRelativePath === '' ? file.name : file.webkitRelativePath;
    if (path.split('/').some((part) => part.startsWith('.'))) continue;
    bytes += file.size;
    // Stop reading once it is more than can be sent; `filesProblem` reports that.
    if (files.length > limits.maxInventoryFiles || bytes > 2 * limits.maxInventoryBytes) break;
    files.push({ path, content: await file.text() });
  }
  return files;
}

/** Call while the drop event is handled: its contents are gone afterwards. */
export async function readDropped(transfer: DataTransfer): Promise<InventoryFile[]> {
  const entries = [...transfer.items].flatMap((item) => item.webkitGetAsEntry() ?? []);
  const files: File[] = [];
  const found: InventoryFile[] = [];
  for (const entry of entries) await walk(entry, found, files);
  return found;
}

async function walk(entry: FileSystemEntry, found: InventoryFile[], files: File[]): Promise<void> {
  if (entry.name.startsWith('.') || found.length > limits.maxInventoryFiles) return;
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    );
    files.push(file);
    if (files.reduce((sum, { size }) => sum + size, 0) > 2 * limits.maxInventoryBytes) return;
    found.push({ path: entry.fullPath.replace(/^\//, ''), content: await file.text() });
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  for (;;) {
    // Returns up to a hundred entries per call, and none at the end.
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (some.length === 0) return;
    for (const one of some) await walk(one, found, files);
  }
}
