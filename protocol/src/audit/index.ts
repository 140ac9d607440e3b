// The sealed audit log: its tree, proofs and checkpoints. Only for Node; the console doesn't verify.
export {
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
