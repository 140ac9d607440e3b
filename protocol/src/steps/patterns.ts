// Forms of texts in configurations of steps.

/** A NUL ends a string in every shell and system call, so it could only cut a value short. */
export const noNulPattern = '^[^\\u0000]*$';
/** The whole may also be made by a placeholder. */
export const posixDirectoryPattern = '^(/|\\$\\{\\{)[^\\u0000]*$';
export const windowsDirectoryPattern = '^([A-Za-z]:[\\\\/]|\\\\\\\\|\\$\\{\\{)[^\\u0000]*$';
export const posixVariablePattern = '^[A-Za-z_][A-Za-z0-9_]*$';
export const windowsVariablePattern = '^[^=\\u0000]{1,255}$';
/** RFC 6901. */
export const pointerPattern = '^(/[^\\u0000]*)?$';
