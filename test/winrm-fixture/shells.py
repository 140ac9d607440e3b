"""Shells and commands of a WinRM host, run as processes of this machine."""

import _thread
import base64
import os
import select
import signal
import subprocess
import sys
import termios
import threading
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
MOST_BUFFERED = 4 * 1024 * 1024


class Command:
    def __init__(self, shell, command, arguments, settings, console=False):
        self.id = str(uuid.uuid4()).upper()
        self.lock = threading.Condition()
        self.chunks = []
        self.buffered = 0
        self.open_streams = 2
        self.is_writing = False
        self.exit_file = os.path.join(settings["dir"], f"exit-{self.id}")
        line = command_line(command, arguments, settings)
        environment = {**os.environ, **shell.environment, "FIXTURE_EXIT": self.exit_file, "FIXTURE_DRIVES": settings["dir"] + "/drives"}
        environment["FIXTURE_DRIVE_BYTES"] = str(settings.get("driveBytes") or "")
        self.console, given = console_pair() if console else (None, subprocess.PIPE)
        try:
            self.process = subprocess.Popen(
                line,
                cwd=shell.directory,
                env=environment,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        finally:
            if console:
                os.close(given)
        for name, stream in (("stdout", self.process.stdout), ("stderr", self.process.stderr)):
            # Doesn't wait for the thread to run, as threading would: that takes half of the time of a small command.
            _thread.start_new_thread(self.read, (name, stream))

    def read(self, name, stream):
        while True:
            data = os.read(stream.fileno(), 65536)
            with self.lock:
                if not data:
                    self.open_streams -= 1
                    self.lock.notify_all()
                    stream.close()
                    return
                self.chunks.append((name, data))
                self.buffered += len(data)
                self.lock.notify_all()
                while self.buffered > MOST_BUFFERED:
                    self.lock.wait()

    def receive(self, seconds, most):
        """Returns new output, and the exit code once all output was taken. None if nothing arrived in time."""
        deadline = time.monotonic() + seconds
        with self.lock:
            while not self.chunks and self.open_streams > 0:
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self.lock.wait(left)
            taken = []
            while self.chunks and most > 0:
                name, data = self.chunks.pop(0)
                if len(data) > most:
                    self.chunks.insert(0, (name, data[most:]))
                    data = data[:most]
                taken.append((name, data))
                most -= len(data)
                self.buffered -= len(data)
            self.lock.notify_all()
            ended = not self.chunks and self.open_streams == 0
        return taken, self.exit_code() if ended else None

    def exit_code(self):
        code = self.process.wait()
        try:
            with open(self.exit_file, encoding="ascii") as file:
                return int(file.read())
        except (OSError, ValueError):
            return code & 0xFFFFFFFF

    def send(self, data, end, seconds):
        """Returns the fault to answer with; None if the command has taken all of it.

        The command still gets what it doesn't take in time, and meanwhile further input is refused.
        """
        try:
            if self.console is not None:
                # Typed input has no end.
                os.write(self.console, data)
                return None
            with self.lock:
                if self.is_writing:
                    return "busy"
            left = self.write(data, time.monotonic() + seconds)
            if left:
                self.is_writing = True
                _thread.start_new_thread(self.write_late, (left, end))
                return "poll_again"
            if end:
                self.process.stdin.close()
        except (OSError, ValueError):
            return "broken_pipe"
        return None

    def write(self, data, deadline):
        """Returns what is left of it at the deadline."""
        left = memoryview(data)
        pipe = self.process.stdin.fileno()
        os.set_blocking(pipe, False)
        while left:
            try:
                left = left[os.write(pipe, left) :]
            except BlockingIOError:
                seconds = deadline - time.monotonic()
                if not select.select([], [pipe], [], min(max(seconds, 0), 3600))[1]:
                    break
        return left

    def write_late(self, data, end):
        try:
            self.write(data, float("inf"))
            if end:
                self.process.stdin.close()
        except (OSError, ValueError):
            pass
        self.is_writing = False

    def signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def end(self):
        self.signal(signal.SIGKILL)
        # A host reports that a shell is gone only when it is.
        self.process.wait(10)
        if self.console is not None:
            os.close(self.console)
            self.console = None
        with self.lock:
            self.chunks.clear()
            self.buffered = 0
            self.lock.notify_all()


def console_pair():
    """A hidden console, and the standard input of a program that reads it. A line ends with Enter, a CR."""
    keyboard, read = os.openpty()
    mode = termios.tcgetattr(read)
    # Both flags together swap carriage return and line feed.
    mode[0] |= termios.ICRNL | termios.INLCR
    mode[3] = (mode[3] | termios.ICANON) & ~termios.ECHO
    mode[6][termios.VEOF] = b"\0"
    termios.tcsetattr(read, termios.TCSANOW, mode)
    return keyboard, read


class Shell:
    def __init__(self, owner, environment, directory):
        self.id = str(uuid.uuid4()).upper()
        self.owner = owner
        self.environment = environment
        self.directory = directory
        self.commands = {}

    def end(self):
        for command in self.commands.values():
            command.end()


def command_line(command, arguments, settings):
    """What runs here in place of a command line. PowerShell is emulated for programs that are known, and for no other."""
    words = [command, *arguments]
    name = command.strip('"').replace("\\", "/").rsplit("/", 1)[-1].lower()
    if name in ("powershell.exe", "pwsh.exe", "powershell", "pwsh"):
        lowered = [word.lower() for word in words]
        encoded = words[lowered.index("-encodedcommand") + 1] if "-encodedcommand" in lowered else ""
        script = base64.b64decode(encoded).decode("utf-16-le") if encoded else ""
        if settings.get("deafPowershell"):
            return ["sleep", "1000"]
        program = os.path.join(HERE, "emulate_powershell.py")
        return [sys.executable, program, settings["file"], "" if settings.get("noPowershell") else script]
    return ["/bin/sh", "-c", " ".join(words)]
