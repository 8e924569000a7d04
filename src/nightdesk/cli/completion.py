"""``nightdesk completion``: what a shell needs to complete verbs, options and names of jobs."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_NIGHTDESK_COMPLETE"
"""By this variable the shell asks the program what could follow; the name is click's."""
HELP = """Print the completion script for SHELL.

\b
bash: eval "$(nightdesk completion bash)"              in ~/.bashrc
zsh:  eval "$(nightdesk completion zsh)"               in ~/.zshrc, after compinit
fish: nightdesk completion fish | source               in ~/.config/fish/config.fish
"""


@click.command(help=HELP)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script for a shell."""
    from click.shell_completion import get_completion_class

    from nightdesk.cli.main import nightdesk
    from nightdesk.cli.output import print_line

    chosen = get_completion_class(shell)
    assert chosen is not None
    # Not through source(): for bash that starts one to look at its version, which may be another one.
    maker = chosen(nightdesk, {}, "nightdesk", VARIABLE)
    print_line(maker.source_template % maker.source_vars())


def complete_jobs(ctx: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """Names of the desk's jobs that begin so; none where there is no desk that can be read."""
    from nightdesk.client.desk import find_desk
    from nightdesk.model.errors import NightdeskError

    try:
        jobs = find_desk(ctx.find_root().params.get("desk_path")).config.jobs
    except NightdeskError:
        return []
    return [name for name in jobs if name.startswith(typed)]
