"""pywinrm, timed: `peer.py <endpoint> <user> <password>`. Answers each line with milliseconds.

`new` logs in for one command; `warm` keeps the login, with a shell for each command; `shell` keeps the shell, too.
`echo FILE COPY` appends the file to the copy in base64, a command for each 6,000 bytes, as programs do that copy by commands.
"""

import base64
import sys
import time
import warnings

import winrm

warnings.simplefilter("ignore")
endpoint, user, password = sys.argv[1:]


def protocol():
    return winrm.Protocol(
        endpoint=endpoint, transport="ntlm", username=user, password=password, message_encryption="always"
    )


def run(client, shell, line="true"):
    # The same mode as ours; with pywinrm's default, a host would open a terminal.
    command = client.run_command(shell, line, console_mode_stdin=False)
    _, _, code = client.get_command_output(shell, command)
    client.cleanup_command(shell, command)
    if code != 0:
        raise SystemExit(f"exit code {code}")


def whole(client):
    shell = client.open_shell()
    run(client, shell)
    client.close_shell(shell)


def echo(client, source, copy):
    shell = client.open_shell()
    with open(source, "rb") as file:
        while data := file.read(6_000):
            run(client, shell, f"echo {base64.b64encode(data).decode()} >> {copy}")
    client.close_shell(shell)


kept = protocol()
kept_shell = kept.open_shell()
for line in sys.stdin:
    started = time.perf_counter()
    task, *paths = line.split()
    if task == "new":
        whole(protocol())
    elif task == "warm":
        whole(kept)
    elif task == "echo":
        echo(kept, *paths)
    else:
        run(kept, kept_shell)
    print((time.perf_counter() - started) * 1000, flush=True)
kept.close_shell(kept_shell)
