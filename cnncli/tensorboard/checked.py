"""TensorBoard that answers only requests that name this machine; a program with TensorBoard's own arguments.

TensorBoard ignores the `Host` of a request. A website whose name is made to point to 127.0.0.1 (DNS rebinding) could
therefore read the runs through the browser of somebody who has TensorBoard open. Such a request names the website.

This file is run by its path, so it imports nothing of cnncli.
"""

import ipaddress
import socket
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

Application: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
"""A WSGI application (PEP 3333)."""

_REFUSED = (
    b"cnncli: this TensorBoard answers requests for localhost, for an IP address and for the name of its machine, "
    b"not for another name\n"
)


def checked(application: Application, *names: str | None) -> Application:
    """The application, which answers 403 unless the host of a request is an IP address, localhost or one of `names`."""
    own = {"localhost", *(name.lower() for name in names if name)}

    def check(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if _is_allowed(environ.get("HTTP_HOST", ""), own):
            return application(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain"), ("Content-Length", str(len(_REFUSED)))])
        return [_REFUSED]

    return check


def _is_allowed(host: str, names: set[str]) -> bool:
    """Whether the value of a `Host` header is an IP address or one of the names; its port may be any."""
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():
        name = host
    name = name.lower().removesuffix(".")
    if name in names:
        return True
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def main() -> None:
    """Run TensorBoard as `tensorboard.main` does, with the check of hosts."""
    from absl import app
    from tensorboard import default, main_lib, program  # type: ignore[import-untyped]  # no stubs
    from tensorboard.plugins.base_plugin import FlagsError  # type: ignore[import-untyped]  # no stubs

    def serve(application: Application, flags: Namespace) -> Any:  # noqa: ANN401  TensorBoard's server
        host = checked(application, flags.host, socket.gethostname(), socket.getfqdn())
        return program.create_port_scanning_werkzeug_server(host, flags)

    main_lib.global_init()
    tensorboard = program.TensorBoard(plugins=default.get_plugins(), server_class=serve)
    try:
        app.run(tensorboard.main, flags_parser=tensorboard.configure)
    except FlagsError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
