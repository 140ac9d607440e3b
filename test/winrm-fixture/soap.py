"""The messages of MS-WSMV as the fixture reads and writes them."""

import base64
import re
import uuid
import xml.etree.ElementTree as ElementTree
from xml.sax.saxutils import escape

S = "{http://www.w3.org/2003/05/soap-envelope}"
A = "{http://schemas.xmlsoap.org/ws/2004/08/addressing}"
W = "{http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd}"
R = "{http://schemas.microsoft.com/wbem/wsman/1/windows/shell}"
SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
I = "{http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd}"

FAULTS = {
    "poll_again": ("w:TimedOut", 2150858793, "The WS-Management service cannot complete the operation within the time specified in OperationTimeout."),
    "shell_gone": ("w:InvalidSelectors", 2150858843, "The request for the Windows Remote Shell with ShellId failed because the shell was not found on the server."),
    "registry_gone": ("w:InternalError", 2147943418, "Illegal operation attempted on a registry key that has been marked for deleted."),
    "denied": ("w:AccessDenied", 5, "Access is denied."),
    "shells_quota": ("w:QuotaLimit", 2150859173, "The maximum number of concurrent shells for this user has been exceeded."),
    "bad_directory": ("w:InternalError", 2147942667, "The directory name is invalid."),
    "not_found": ("w:InternalError", 2147942402, "The system cannot find the file specified."),
    "aborted": ("w:InternalError", 995, "The I/O operation has been aborted because of either a thread exit or an application request."),
    "broken_pipe": ("w:InternalError", 2147942509, "The pipe has been ended."),
    "busy": ("w:InternalError", 170, "The requested resource is in use."),
    "winrs_timeout": ("w:InternalError", 1460, "This operation returned because the timeout period expired."),
    "schema": ("w:SchemaValidationError", 2150858817, "The SOAP XML in the message does not match the corresponding XML schema definition."),
}


class Request:
    """Raises ValueError for what a WinRM host would not take."""

    def __init__(self, text):
        if b"<!DOCTYPE" in text:
            raise ValueError("a document type")
        root = ElementTree.fromstring(text)
        self.header, self.body = root.find(S + "Header"), root.find(S + "Body")
        self.is_identify = self.body is not None and self.body.find(I + "Identify") is not None
        if self.is_identify:
            self.action, self.message_id, self.is_configuration = "Identify", "", False
            return
        needed = ("To", "ReplyTo", "Action", "MessageID")
        for name in needed:
            if self.header.find(A + name) is None:
                raise ValueError(f"no {name}")
        for name in ("MaxEnvelopeSize", "OperationTimeout", "ResourceURI"):
            if self.header.find(W + name) is None:
                raise ValueError(f"no {name}")
        self.message_id = self.header.findtext(A + "MessageID").strip()
        if not re.fullmatch(r"uuid:[0-9A-Fa-f-]{36}", self.message_id):
            raise ValueError("the message id is no uuid")
        self.action = self.header.findtext(A + "Action").strip().rsplit("/", 1)[-1]
        self.most = int(self.header.findtext(W + "MaxEnvelopeSize"))
        self.seconds = duration(self.header.findtext(W + "OperationTimeout"))
        resource = self.header.findtext(W + "ResourceURI").strip()
        self.is_configuration = self.action == "Get" and resource.endswith("/wsman/1/config")
        selectors = self.header.findall(f"{W}SelectorSet/{W}Selector")
        self.shell_id = next((each.text for each in selectors if each.get("Name") == "ShellId"), None)
        self.options = {each.get("Name"): each.text for each in self.header.findall(f"{W}OptionSet/{W}Option")}

    @property
    def console(self):
        """Whether standard input is to be a console that somebody types at. Without a word it is a pipe."""
        return (self.options.get("WINRS_CONSOLEMODE_STDIN") or "").upper() == "TRUE"

    @property
    def without_profile(self):
        return (self.options.get("WINRS_NOPROFILE") or "").upper() == "TRUE"

    def created(self):
        """Environment and directory of a new shell."""
        shell = self.body.find(R + "Shell")
        idle = shell.findtext(R + "IdleTimeOut") or shell.findtext(R + "IdleTimeout")
        if idle is not None:
            duration(idle)
        variables = shell.findall(f"{R}Environment/{R}Variable")
        return {each.get("Name"): each.text or "" for each in variables}, shell.findtext(R + "WorkingDirectory")

    def line(self):
        line = self.body.find(R + "CommandLine")
        return line.findtext(R + "Command"), [each.text or "" for each in line.findall(R + "Arguments")]

    def command_id(self):
        for element in self.body.iter():
            if element.get("CommandId"):
                return element.get("CommandId")
        return None

    def input(self):
        stream = self.body.find(f"{R}Send/{R}Stream")
        return base64.b64decode(stream.text or ""), (stream.get("End") or "").lower() in ("true", "1")

    def signal(self):
        return self.body.findtext(f"{R}Signal/{R}Code").rsplit("/", 1)[-1]


def duration(text):
    match = re.fullmatch(r"PT(\d+(?:\.\d+)?)S", text or "")
    if match is None:
        raise ValueError(f"{text} is no duration")
    return float(match.group(1))


def envelope(body, relates_to=""):
    return (
        '<s:Envelope xml:lang="en-US" xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
        'xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
        'xmlns:x="http://schemas.xmlsoap.org/ws/2004/09/transfer" '
        'xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" '
        f'xmlns:rsp="{SHELL}"><s:Header>'
        f"<a:MessageID>uuid:{str(uuid.uuid4()).upper()}</a:MessageID><a:RelatesTo>{relates_to}</a:RelatesTo>"
        f"</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def created(shell_id):
    return (
        f"<x:ResourceCreated><a:ReferenceParameters><w:SelectorSet><w:Selector Name=\"ShellId\">{shell_id}</w:Selector>"
        "</w:SelectorSet></a:ReferenceParameters></x:ResourceCreated>"
        f"<rsp:Shell><rsp:ShellId>{shell_id}</rsp:ShellId></rsp:Shell>"
    )


def configuration(most):
    return (
        '<cfg:Config xmlns:cfg="http://schemas.microsoft.com/wbem/wsman/1/config">'
        f"<cfg:MaxEnvelopeSizekb>{most // 1024}</cfg:MaxEnvelopeSizekb></cfg:Config>"
    )


def started(command_id):
    return f"<rsp:CommandResponse><rsp:CommandId>{command_id}</rsp:CommandId></rsp:CommandResponse>"


def received(command_id, chunks, code):
    parts = [
        f'<rsp:Stream Name="{name}" CommandId="{command_id}">{base64.b64encode(data).decode()}</rsp:Stream>'
        for name, data in chunks
    ]
    if code is None:
        parts.append(f'<rsp:CommandState CommandId="{command_id}" State="{SHELL}/CommandState/Running"/>')
    else:
        for name in ("stdout", "stderr"):
            parts.append(f'<rsp:Stream Name="{name}" CommandId="{command_id}" End="true"></rsp:Stream>')
        parts.append(
            f'<rsp:CommandState CommandId="{command_id}" State="{SHELL}/CommandState/Done">'
            f"<rsp:ExitCode>{code}</rsp:ExitCode></rsp:CommandState>"
        )
    return f"<rsp:ReceiveResponse>{''.join(parts)}</rsp:ReceiveResponse>"


def fault(name):
    if name == "operations_quota":
        return wmi_error(2150859174, "The WS-Management service cannot process the request. This user has exceeded the maximum number of concurrent operations.")
    subcode, code, text = FAULTS[name]
    return (
        "<s:Fault><s:Code><s:Value>s:Receiver</s:Value>"
        f"<s:Subcode><s:Value>{subcode}</s:Value></s:Subcode></s:Code>"
        f'<s:Reason><s:Text xml:lang="en-US">{escape(text)}</s:Text></s:Reason>'
        '<s:Detail><f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" '
        f'Code="{code}" Machine="fixture"><f:Message>{escape(text)}</f:Message></f:WSManFault></s:Detail></s:Fault>'
    )


def wmi_error(code, text):
    """The other form, which hosts use for the quota of operations."""
    return (
        "<s:Fault><s:Code><s:Value>s:Receiver</s:Value>"
        "<s:Subcode><s:Value>w:InternalError</s:Value></s:Subcode></s:Code>"
        '<s:Reason><s:Text xml:lang=""></s:Text></s:Reason><s:Detail>'
        '<p:MSFT_WmiError xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wmi/root/microsoft/windows/management/MSFT_WmiError">'
        "<p:CIMStatusCode>27</p:CIMStatusCode><p:error_Category>30</p:error_Category>"
        f"<p:error_Code>{code}</p:error_Code><p:error_Type>HRESULT</p:error_Type>"
        f"<p:error_WindowsErrorMessage>{escape(text)}</p:error_WindowsErrorMessage>"
        "</p:MSFT_WmiError></s:Detail></s:Fault>"
    )


IDENTIFIED = (
    '<wsmid:IdentifyResponse xmlns:wsmid="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd">'
    "<wsmid:ProtocolVersion>http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd</wsmid:ProtocolVersion>"
    "<wsmid:ProductVendor>Fixture</wsmid:ProductVendor>"
    "<wsmid:ProductVersion>OS: 0.0.0 SP: 0.0 Stack: 3.0</wsmid:ProductVersion></wsmid:IdentifyResponse>"
)
