"""Another client for the fixture, which tests the fixture and not our client: `pywinrm_client.py <cases>`, as JSON.

A case contains the arguments of winrm.Protocol, `command`, `input`, and whether the input is typed at a `console`. Prints a list of `{exit, stdout, stderr}` or `{error}`.
"""

import json
import sys
import warnings

import winrm

warnings.simplefilter("ignore")


def run(case):
    command, given, console = case.pop("command"), case.pop("input", None), case.pop("console", False)
    if case["transport"] == "basic":
        # Text would be sent as Latin-1.
        case["password"] = case["password"].encode()
    protocol = winrm.Protocol(**case)
    try:
        shell = protocol.open_shell()
        try:
            identifier = protocol.run_command(shell, command, console_mode_stdin=console)
            if given is not None:
                protocol.send_command_input(shell, identifier, given.encode(), end=True)
            stdout, stderr, code = protocol.get_command_output(shell, identifier)
            protocol.cleanup_command(shell, identifier)
            return {"exit": code, "stdout": stdout.decode(), "stderr": stderr.decode()}
        finally:
            protocol.close_shell(shell)
    except Exception as error:  # pylint: disable=broad-except
        return {"error": f"{type(error).__name__}: {error}"}


print(json.dumps([run(case) for case in json.loads(sys.argv[1])]))
