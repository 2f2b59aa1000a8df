"""Run passes on an IR text file: `python -m ipex_quant.tools.opt --passes=a,b in.ir`."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import click

from ipex_quant import _C


@click.command()
@click.option(
    "--passes",
    "names",
    default="",
    help="Names of the passes, separated by commas; run in this order.",
)
@click.option("--list", "list_passes", is_flag=True, help="Print the names of all passes.")
@click.argument("source", required=False, type=click.File("r"), default="-")
def main(names: str, list_passes: bool, source: TextIO) -> None:
    """Run passes on the graph in SOURCE (default: standard input) and print the result.

    IR text holds no tensor values: tensor constants are zeros of the type that the text gives.
    """
    if list_passes:
        click.echo("\n".join(_C.pass_names()))
        return
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in _C.pass_names()]
    if unknown:
        raise click.BadParameter(
            f"no pass {', '.join(unknown)}; --list prints the names", param_hint="--passes"
        )
    try:
        graph = _C.parse_ir(source.read())
        for name in chosen:
            _C.run_pass(name, graph)
    except RuntimeError as error:
        raise click.ClickException(f"{Path(source.name).name}: {error}") from error
    click.echo(_C.canonical(graph), nl=False)


if __name__ == "__main__":
    main()
