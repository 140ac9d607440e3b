// The sealed audit log: its tree, its proofs, its checkpoints. For Node only; the console does not verify.
export {
  type Checkpoint,
  CheckpointError,
  isSignedNote,
  maxNoteLength,
  originOf,
  readCheckpoint,
  type SignedCheckpoint,
  signCheckpoint,
  signNote,
  verifyCheckpoint,
} from './checkpoint.ts';
export {
  Frontier,
  foldHashes,
  type Hash,
  hashBytes,
  leafHash,
  nodeHash,
  type Subtree,
  subtreesOf,
} from './merkle.ts';
export {
  consistencyRanges,
  inclusionRanges,
  provesConsistency,
  provesInclusion,
  type Range,
} from './merkle-proof.ts';
