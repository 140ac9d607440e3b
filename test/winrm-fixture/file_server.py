"""A stand-in for the file server that the agent ships (agent/src/winrm/files/file-server.ts), on a directory of this machine.

`C:\\x` is `x` in the directory `C` of FIXTURE_DRIVES. Names ignore case, as on Windows.
"""

import base64
import errno
import hashlib
import os
import sys

DRIVES = os.environ["FIXTURE_DRIVES"]
CODES = {
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.EROFS: "denied",
    errno.EEXIST: "exists",
    errno.ENOTEMPTY: "failed",
    errno.ENOSPC: "full",
    errno.ENAMETOOLONG: "long",
}
files = {}
last = 0


def word(text):
    return base64.b64encode(text.encode()).decode()


def real(word_of_path):
    path = base64.b64decode(word_of_path, validate=True).decode()
    if path.startswith("\\\\?\\"):
        path = path[4:]
    elif len(path) >= 260:
        raise OSError(errno.ENAMETOOLONG, "The specified path is too long.")
    if path[1:3] != ":\\":
        raise OSError(errno.ENOENT, f"No such drive: {path}")
    at = os.path.join(DRIVES, path[0].upper())
    for name in path[3:].split("\\"):
        if name in ("", "."):
            continue
        if any(letter in '<>:"/|?*' for letter in name) or name.endswith((".", " ")) or name == "..":
            raise OSError(errno.EINVAL, f"The filename is incorrect: {name}")
        at = os.path.join(at, same(at, name))
    return at


def same(directory, name):
    if os.path.lexists(os.path.join(directory, name)):
        return name
    try:
        found = [each for each in os.listdir(directory) if each.lower() == name.lower()]
    except OSError:
        return name
    return found[0] if found else name


def entry(path):
    status = os.lstat(path)
    link = os.path.islink(path)
    if link and os.path.exists(path):
        status = os.stat(path)
    kind = "d" if os.path.isdir(path) else "f"
    size = 0 if kind == "d" else status.st_size
    return f"{'l' if link else ''}{kind} {size} {int(status.st_mtime // 1)}"


def opened(path, flags):
    global last
    # Unbuffered, because it keeps its content nowhere else.
    stream = os.fdopen(os.open(path, flags, 0o644), "r+b" if flags & os.O_RDWR else "rb", buffering=0)
    last += 1
    files[str(last)] = {"stream": stream, "path": path, "failed": False}
    return stream


def size_of(stream):
    return os.fstat(stream.fileno()).st_size


def hash_of(stream, length):
    digest = hashlib.sha256()
    stream.seek(0)
    while length > 0:
        data = stream.read(min(length, 1 << 20))
        if not data:
            raise OSError(errno.EIO, "The file is shorter than it was.")
        digest.update(data)
        length -= len(data)
    return digest.hexdigest()


def commit(file, final, size, seconds):
    if file["failed"]:
        raise OSError(errno.EIO, "A part of the file could not be written.")
    file["stream"].truncate(size)
    file["stream"].close()
    if seconds != "-":
        os.utime(file["path"], (int(seconds), int(seconds)))
    if os.path.islink(final):
        raise OSError(errno.EIO, "A link is in its place.")
    if os.path.isdir(final):
        raise OSError(errno.EEXIST, "It exists.")
    os.rename(file["path"], final)


def do(verb, arguments):
    """Returns the words of the answer, and those of its entries."""
    first = arguments[0] if arguments else ""
    if verb == "stat":
        return entry(real(first)), []
    if verb == "list":
        path = real(first)
        return "", [f"{word(name)} {entry(os.path.join(path, name))}" for name in os.listdir(path)]
    if verb == "mkdir":
        os.makedirs(real(first), exist_ok=True)
    elif verb == "delete":
        os.unlink(real(first))
    elif verb == "rmdir":
        os.rmdir(real(first))
    elif verb == "time":
        os.utime(real(first), (int(arguments[1]), int(arguments[1])))
    elif verb == "free":
        status = os.statvfs(real(first))
        return str(status.f_bavail * status.f_frsize), []
    elif verb == "open":
        path = real(first)
        stream = opened(path, os.O_RDONLY)
        return f"{last} {size_of(stream)} {int(os.stat(path).st_mtime // 1)}", []
    elif verb == "create":
        keep = arguments[1] == "keep"
        stream = opened(real(first), os.O_RDWR | os.O_CREAT | (0 if keep else os.O_EXCL))
        return f"{last} {size_of(stream)}", []
    elif verb == "read":
        stream = files[first]["stream"]
        stream.seek(int(arguments[1]))
        return base64.b64encode(stream.read(int(arguments[2]))).decode(), []
    elif verb == "hash":
        return hash_of(files[first]["stream"], int(arguments[1])), []
    elif verb == "close":
        files.pop(first)["stream"].close()
    elif verb == "commit":
        commit(files[first], real(arguments[1]), int(arguments[2]), arguments[3])
        del files[first]
    elif verb == "discard":
        file = files.pop(first)
        file["stream"].close()
        if arguments[1] != "keep":
            os.unlink(file["path"])
    elif verb != "sync":
        raise OSError(errno.EINVAL, f"There is no {verb}.")
    return "", []


def write(handle, position, data):
    file = files[handle]
    try:
        if int(position) >= int(os.environ.get("FIXTURE_DRIVE_BYTES") or sys.maxsize):
            raise OSError(errno.ENOSPC, "There is not enough space on the disk.")
        file["stream"].seek(int(position))
        bytes_left = memoryview(base64.b64decode(data, validate=True))
        while bytes_left:
            bytes_left = bytes_left[file["stream"].write(bytes_left) :]
    except OSError:
        file["failed"] = True
        raise


def main(lines):
    out = sys.stdout
    for line in lines:
        number, verb, *arguments = line.decode("ascii").rstrip("\r\n").split(" ")
        try:
            if verb == "write":
                write(*arguments)
                continue
            words, entries = do(verb, arguments)
            out.write("".join(f"{number} more {each}\n" for each in entries) + f"{number} ok {words}".rstrip() + "\n")
        except (OSError, KeyError) as error:
            code = CODES.get(getattr(error, "errno", None), "failed")
            out.write(f"{number} no {code} {word(getattr(error, 'strerror', None) or str(error))}\n")
        out.flush()
