"""A stand-in for powershell.exe that doesn't emulate it: recognizes the programs that the agent ships by their full text.

A script whose first line is `# sh` stands for one that people would write: the rest is run by /bin/sh, with the script's values
as environment variables. The same goes for a script that a test substitutes for another one, by its full text. Every other
script is refused.
"""

import base64
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

with open(sys.argv[1], encoding="utf-8") as file:
    settings = json.load(file)
known = settings["emulated"]
program = sys.argv[2]


def refuse(why):
    text = f"The fixture is no PowerShell: {why}".replace("&", "&amp;").replace("<", "&lt;")
    sys.stderr.write(
        '#< CLIXML\r\n<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'
        f'<S S="Error">{text}_x000D__x000A_</S></Objs>'
    )
    sys.exit(1)


def line():
    read = sys.stdin.buffer.readline()
    if not read.endswith(b"\n"):
        refuse("its input was cut short")
    return read.decode("ascii").rstrip("\r\n")


def text():
    return base64.b64decode(line(), validate=True).decode()


def keep_limits():
    """Does what the agent's program for limits does, with the means of this system."""
    if values.get("OPSRUN_priority"):
        os.nice({"BelowNormal": 10, "Idle": 19}[values["OPSRUN_priority"]])
    if values.get("OPSRUN_memory"):
        most = int(values["OPSRUN_memory"]) * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def batch_folder():
    return os.path.join(settings["dir"], "temp", values["OPSRUN_folder"])


def run_batch(batch, given, task):
    """Does what the runner of batch files does, with /bin/sh instead of cmd.exe."""
    lines = [each for each in batch.split("\r\n") if not each.startswith(("@echo off", "setlocal "))]
    folder = batch_folder() if task is None else os.path.join(settings["dir"], "tasks", task)
    if task is None:
        os.makedirs(folder)
    # The user who runs a task can't create files in its folder.
    mode = "w" if task is None else "r+"
    path = os.path.join(folder, "step.cmd")
    try:
        with open(path, mode, encoding="utf-8") as file:
            file.write("\n".join(lines))
        if given is not None:
            with open(path + ".in", mode, encoding="utf-8") as file:
                file.write(given)
        # It keeps waiting for the program it runs.
        signal.signal(signal.SIGINT, lambda *_: None)
        with open(os.devnull if given is None else path + ".in", "rb") as source:
            return subprocess.run(["/bin/sh", path], check=False, stdin=source).returncode
    finally:
        if task is None:
            shutil.rmtree(folder)


if program != known["bootstrap"]:
    refuse("the program on its command line is not known")
values = {}
data = None
for _ in range(int(line())):
    name, kind = line(), line()
    if kind == "environment":
        variable, _, value = text().partition("=")
        os.environ[variable] = value
    elif kind == "program":
        if text() != known.get("limitsProgram"):
            refuse("the program that runs before the script is not known")
        keep_limits()
    elif kind == "input":
        data = text()
    else:
        values[name] = text()
script = text()
if line() != "end":
    refuse("the script did not arrive whole")
if script == known["cmdRunner"]:
    sys.exit(run_batch(values["OPSRUN_batch"], values.get("OPSRUN_input"), values.get("OPSRUN_task")))
if script == known.get("batchRemover"):
    shutil.rmtree(batch_folder(), ignore_errors=True)
    sys.exit(0)
if script == known.get("taskProgram"):
    # pylint: disable=import-outside-toplevel
    import task_host

    task_host.main(values, sys.argv[1], known["taskSupervisor"])
    sys.exit(0)
if script == known.get("fileServer"):
    # pylint: disable=import-outside-toplevel
    import file_server

    file_server.main(sys.stdin.buffer)
    sys.exit(0)
if script in known.get("scripts", {}):
    script = "# sh\n" + known["scripts"][script]
first, _, rest = script.partition("\n")
if first.strip() != "# sh":
    refuse("the script is not known")
if data is not None:
    # What a script would have as lines in $input, this one reads.
    file = tempfile.TemporaryFile()
    file.write(data.encode() + b"\n")
    file.seek(0)
    os.dup2(file.fileno(), 0)
os.execve("/bin/sh", ["/bin/sh", "-c", rest], {**os.environ, **values})
