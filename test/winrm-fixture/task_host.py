"""Stands in for the program that runs a script as a scheduled task (agent/src/winrm/tasks/task-program.ts), on processes of
this machine: it does with them what that would do with tasks, and says the same lines."""

import base64
import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def start(values, settings, supervisor, folder):
    if values["OPSRUN_supervisor"] != supervisor:
        raise RuntimeError("The supervisor is not known.")
    with open(settings, encoding="utf-8") as file:
        known = json.load(file)
    if known.get("noTasks"):
        raise RuntimeError("Access is denied.")
    user = values["OPSRUN_user"] or "SYSTEM"
    if user != "SYSTEM" and known["taskUsers"].get(user) != values["OPSRUN_password"]:
        raise RuntimeError("The user name or password is incorrect.")
    directory = values["OPSRUN_directory"] or "/"
    if not os.path.isdir(directory):
        raise RuntimeError(f"{directory} is not there.")
    os.makedirs(folder)
    with open(os.path.join(folder, "user"), "w", encoding="utf-8") as file:
        file.write(values["OPSRUN_user"])
    with open(os.path.join(folder, "input"), "w", encoding="ascii") as file:
        file.write(values["OPSRUN_input"])
    for name in ("step.cmd", "step.cmd.in"):
        with open(os.path.join(folder, name), "w", encoding="ascii"):
            pass
    encoded = re.search(r"-OutputFormat Text .*-EncodedCommand (\S+)$", values["OPSRUN_program"]).group(1)
    program = base64.b64decode(encoded).decode("utf-16-le")
    line = f'"$0" "$1" "$2" "$3" <{folder}/input >{folder}/stdout 2>{folder}/stderr; echo $? >{folder}/new; mv {folder}/new {folder}/code'
    words = [sys.executable, os.path.join(HERE, "emulate_powershell.py"), settings, program]
    process = subprocess.Popen(
        ["/bin/sh", "-c", line, *words],
        cwd=directory,
        env={**os.environ, "FIXTURE_USER": user, "FIXTURE_PRIORITY": values["OPSRUN_priority"]},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    for name in ("pid", "task"):
        with open(os.path.join(folder, name), "w", encoding="ascii") as file:
            file.write(str(process.pid))
    say("begun")


def runs(folder):
    try:
        with open(os.path.join(folder, "pid"), encoding="ascii") as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (OSError, ValueError):
        return False


def read(folder, name, start_at):
    try:
        with open(os.path.join(folder, name), "rb") as file:
            file.seek(start_at)
            data = file.read(196_608)
    except FileNotFoundError:
        return 0
    locked = os.path.join(os.path.dirname(os.path.dirname(folder)), "locked")
    if data and os.path.exists(locked):
        # Simulates another process, such as a virus scanner.
        os.unlink(locked)
        raise OSError(f"{name} is used by another process.")
    if data:
        say(f"{name} {base64.b64encode(data).decode()}")
    return len(data)


def follow(values, folder):
    places = {name: int(values[f"OPSRUN_{name}"]) for name in ("stdout", "stderr")}
    idle = 0
    while True:
        if not os.path.isdir(folder):
            return say("none")
        over = os.path.exists(os.path.join(folder, "code"))
        got = 0
        for name in places:
            more = read(folder, name, places[name])
            places[name] += more
            got += more
        if got:
            continue
        if over:
            with open(os.path.join(folder, "code"), encoding="ascii") as file:
                return say(f"exit {file.read().strip()}")
        idle = 0 if runs(folder) else idle + 1
        if idle > 20:
            return say("ended")
        time.sleep(0.01)


@contextlib.contextmanager
def held(hold):
    """A start waits for as long as the file is there, which a stop that finds nothing removes."""
    try:
        file = open(hold, encoding="ascii")
    except FileNotFoundError:
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with open(hold + "-waits", "w", encoding="ascii"):
            pass
        while os.path.exists(hold):
            time.sleep(0.01)
        yield


def overtake(hold):
    """Until the start that is held has come to its end, or was ended."""
    try:
        file = open(hold, encoding="ascii")
    except FileNotFoundError:
        return
    with file:
        os.unlink(hold)
        fcntl.flock(file, fcntl.LOCK_EX)


def found(values, folder):
    if not runs(folder):
        return False
    if values["OPSRUN_user"] and os.path.exists(os.path.join(os.path.dirname(os.path.dirname(folder)), "no-owner")):
        raise RuntimeError("The owner of its process is not known.")
    return True


def end_task(folder):
    """All that is in it ends with it."""
    with open(os.path.join(folder, "task"), encoding="ascii") as file:
        group = int(file.read())
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    while runs(folder):
        time.sleep(0.01)


def stop(values, folder, hold):
    mark = os.path.join(folder, "stopped")
    if os.path.exists(mark):
        return say("stopped")
    if not os.path.isdir(folder):
        overtake(hold)
        return say("none")
    with open(os.path.join(folder, "user"), encoding="utf-8") as file:
        if file.read() != values["OPSRUN_user"]:
            raise RuntimeError("It is another user's.")
    was_there = False
    with contextlib.suppress(RuntimeError):
        was_there = found(values, folder)
    end_task(folder)
    if was_there or found(values, folder):
        with open(mark, "w", encoding="ascii"):
            pass
    elif not os.path.exists(os.path.join(folder, "code")):
        raise RuntimeError("Its process was not found.")
    return say("stopped")


def remove(folder):
    subprocess.run(["rm", "-rf", folder], check=True)
    say("removed")


def main(values, settings, supervisor):
    with open(settings, encoding="utf-8") as file:
        base = json.load(file)["dir"]
    folder, hold = os.path.join(base, "tasks", values["OPSRUN_task"]), os.path.join(base, "hold-start")
    try:
        verb = values["OPSRUN_do"]
        if verb == "start":
            with held(hold):
                start(values, settings, supervisor, folder)
        if verb == "stop":
            stop(values, folder, hold)
        elif verb == "remove":
            remove(folder)
        else:
            follow(values, folder)
    except (OSError, RuntimeError) as error:
        say(f"failed {base64.b64encode(str(error).encode()).decode()}")
