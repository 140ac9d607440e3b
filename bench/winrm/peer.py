"""pywinrm, timed: `peer.py <endpoint> <user> <password>`. Answers each line (`new`, `warm`, `shell`) with milliseconds.

`new` logs in for one command; `warm` keeps the login, with a shell for each command; `shell` keeps the shell, too.
"""

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


def run(client, shell):
    command = client.run_command(shell, "true")
    _, _, code = client.get_command_output(shell, command)
    client.cleanup_command(shell, command)
    if code != 0:
        raise SystemExit(f"exit code {code}")


def whole(client):
    shell = client.open_shell()
    run(client, shell)
    client.close_shell(shell)


kept = protocol()
kept_shell = kept.open_shell()
for line in sys.stdin:
    started = time.perf_counter()
    if line.strip() == "new":
        whole(protocol())
    elif line.strip() == "warm":
        whole(kept)
    else:
        run(kept, kept_shell)
    print((time.perf_counter() - started) * 1000, flush=True)
kept.close_shell(kept_shell)
