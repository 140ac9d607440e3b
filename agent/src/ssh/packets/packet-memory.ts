// Gives the memory of a packet back as soon as the packet is done with. Node's ciphers put every result into new memory,
// which V8 counts towards its next full collection: a gibibyte of packets caused hundreds of them.
import { MessageChannel } from 'node:worker_threads';

/** Giving back the memory of a smaller packet takes longer than collecting it. */
const leastBytes = 8 * 1024;

/** The memory of packets, with the number of bytes that are all that anybody gets of the packet. */
const packets = new WeakMap<ArrayBufferLike, number>();

/** From version 22 on, Node has it. */
type Transferable = ArrayBuffer & { transfer?(bytes: number): ArrayBuffer };

// In version 20, what is sent to a closed port is taken away from the sender, and dropped.
const { port1: nowhere, port2: otherEnd } = new MessageChannel();
nowhere.close();
otherEnd.close();

/**
 * Lets `freePacket` give back this packet's memory, if the packet has it to itself. Node's ciphers see to that in versions
 * 20 to 26, but nobody promises it.
 *
 * @param usedBytes how many of its bytes are passed on, as one piece; whoever gets it must be the only one
 */
export function letBeFreed(packet: Buffer, usedBytes = packet.length): void {
  const isAlone = packet.length === packet.buffer.byteLength;
  if (isAlone && usedBytes >= leastBytes) packets.set(packet.buffer, usedBytes);
}

/**
 * Gives a packet's memory back, which leaves all views of it without bytes. Does nothing with other memory, nor with
 * a part of a packet, as somebody else may need the rest. Call it once nobody reads the bytes any more.
 */
export function freePacket(bytes: Buffer): void {
  if (packets.get(bytes.buffer) !== bytes.length) return;
  packets.delete(bytes.buffer);
  const memory = bytes.buffer as Transferable;
  if (memory.transfer === undefined) nowhere.postMessage(undefined, [memory]);
  else memory.transfer(0);
}
