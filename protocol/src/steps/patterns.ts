// Patterns for texts in configurations of steps.

/** A NUL ends a string in every shell and system call, so it could only cut a value short. */
export const noNulPattern = '^[^\\u0000]*$';
/** A path in an agent's policy file. */
export const machinePathPattern = '^/[^\\u0000]*$';
/** The whole path may also come from a placeholder. */
export const posixDirectoryPattern = '^(/|\\$\\{\\{)[^\\u0000]*$';
export const windowsDirectoryPattern = '^([A-Za-z]:[\\\\/]|\\\\\\\\|\\$\\{\\{)[^\\u0000]*$';
export const posixVariablePattern = '^[A-Za-z_][A-Za-z0-9_]*$';
/** A program by name or path. */
export const programPattern = '^(/[A-Za-z0-9._+/-]+|[A-Za-z0-9][A-Za-z0-9._+-]*)$';
export const posixUserPattern = '^[A-Za-z_][A-Za-z0-9_.-]*\\$?$';
export const windowsVariablePattern = '^[^=\\u0000]{1,255}$';
/** A JSON pointer (RFC 6901). */
export const pointerPattern = '^(/[^\\u0000]*)?$';
/** A path on an agent. `..` is not allowed as a part: a value in the path could then climb out of its directory. */
export const agentPathPattern = '^(/|\\$\\{\\{)(?!(.*/)?\\.\\.(/|$))[^\\u0000]*$';
/** One part of a path, in visible text. */
export const fileNamePattern = '^(?!\\.{1,2}$)[^/\\\\\\u0000-\\u001f\\u007f]+$';
/** The same on a target, where `~/` is the home directory of the user who logs in. */
export const targetPathPattern = '^(~?/|\\$\\{\\{)(?!(.*/)?\\.\\.(/|$))[^\\u0000]*$';
/** The same on a Windows target. */
export const windowsPathPattern =
  '^([A-Za-z]:[\\\\/]|\\\\\\\\|\\$\\{\\{)(?!(.*[\\\\/])?\\.\\.([\\\\/]|$))[^\\u0000]*$';
