"""``nightdesk``: the group of all verbs. Each verb's module is imported when it is called, not before."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nightdesk import __version__

if TYPE_CHECKING:
    from nightdesk.cli.desk import DeskChoice
    from nightdesk.model.errors import NightdeskError

VERBS: dict[str, tuple[str, str]] = {
    # verb: (module, first line of its help, so that the list needs no import)
    "up": ("engine", "Start the engine of this desk, without a viewer."),
    "down": ("engine", "End the engine. Runs go on."),
    "status": ("status", "Show the desk in a few lines."),
    "ps": ("processes", "List processes: ours, services and orphans; --all for the rest."),
    "clean": ("processes", "End orphans with everything below them, after showing them."),
    "stacks": ("processes", "Print the thread stacks of a Python process."),
    "jobs": ("jobs", "List the jobs of this desk."),
    "run": ("jobs", "Start a job: all of it, one item, or a dry run."),
    "items": ("items", "List the items of a run, or move them: first, last, skip, again."),
    "retry": ("items", "Retry what failed in the newest run of a job."),
    "validate": ("validate", "Look at the outputs of a job: what its rules say, flagged ones, scores."),
    "pause": ("jobs", "Pause a run and every process of it."),
    "resume": ("jobs", "Let a paused run go on."),
    "stop": ("jobs", "End a run or a process tree: SIGTERM, a grace period, SIGKILL."),
    "kill": ("jobs", "Kill a run or a process tree at once."),
    "failure": ("failure", "Show why an attempt failed: log, processes, exchanges, samples."),
    "wait": ("jobs", "Wait for a run and end with its exit status."),
    "logs": ("logs", "Print or follow a log file of a run, a job or a watched glob."),
    "traffic": ("traffic", "List exchanges with model servers; --follow for the live ones."),
    "show": ("traffic", "Print one exchange: prompt, reply, counts, timing."),
    "profile": ("profile", "Show where the time of the exchanges went, with advice."),
    "feedback": ("traffic", "Mark an exchange as good or bad, or note something."),
    "export": ("export", "Write exchanges as JSON Lines, HAR or a dataset for fine-tuning."),
    "diff": ("exchanges", "Compare two exchanges: prompt, options, response, timing."),
    "replay": ("exchanges", "Send the request of an exchange again, also to other models."),
    "cancel": ("exchanges", "End a running exchange, and tell whether the server stopped."),
    "capture": ("capture", "Print the exchanges in a pcap or pcapng file."),
    "open": ("open", "Browse a capture file in the viewer, without an engine."),
    "transcribe": ("transcribe", "Transcribe audio with Whisper; the model is loaded once for all files."),
    "sensors": ("sensors", "Print accelerator and host samples, live or from a recording."),
    "config": ("config", "Show, check and describe the configuration."),
    "init": ("init", "Write a short nightdesk.toml from what is found here."),
    "completion": ("completion", "Print what bash, zsh or fish needs to complete verbs and jobs."),
    "doctor": ("doctor", "Check every source and print the exact remedy for what is missing."),
    "demo": ("demo", "Open a sample desk with a built-in model server."),
}

WORD_MOST = 80


class LazyGroup(click.Group):
    """Knows the verbs by name and imports a verb's module only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the order of a night."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, imported now."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"nightdesk.cli.{VERBS[cmd_name][0]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in VERBS.items()])


@click.group(
    cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="nightdesk")
@click.option("--desk", "-d", "desk_path", type=click.Path(path_type=Path), help="Folder or nightdesk.toml.")
@click.option(
    "--set", "settings", multiple=True, metavar="SECTION.KEY=VALUE", help="Wins over file and environment."
)
@click.option("--theme", help="Theme of the viewer, see themes/.")
@click.option("--ascii", "plain", is_flag=True, help="Plain glyphs.")
@click.option("--mode", type=click.Choice(["desk", "traffic", "jobs", "machine", "logs"]), default="desk")
@click.pass_context
def nightdesk(
    ctx: click.Context,
    desk_path: Path | None,
    settings: tuple[str, ...],
    theme: str | None,
    plain: bool,
    mode: str,
) -> None:
    """The night desk for local AI: watch, understand and control overnight runs.

    Without a command it opens the viewer on the desk of this folder; the engine is started when none runs.
    """
    from nightdesk.cli.desk import DeskChoice

    ctx.obj = DeskChoice(desk_path, settings)
    if ctx.invoked_subcommand is None:
        sys.exit(_view(ctx.obj, theme, plain, mode))


def _view(choice: DeskChoice, theme: str | None, plain: bool, mode: str) -> int:
    """Open the viewer. The configuration is read first: its problems belong on the plain terminal."""
    from nightdesk.tui.guard import guarded

    desk = choice.shown_desk()

    def view() -> int:
        from nightdesk.tui.start import run_viewer

        return run_viewer(desk, theme=theme, ascii=plain, mode=mode, flags=choice.settings)

    return guarded(view)


def main() -> None:
    """Entry of the console script: our errors become one sentence on stderr and an exit status."""
    from nightdesk.cli.streams import mend_streams

    mend_streams()
    sys.exit(_status())


def _status() -> int:
    """Run the command; its exit status. Nothing waits to be written afterwards."""
    from nightdesk.model.errors import NightdeskError, UsageError

    try:
        status = _run()
        sys.stdout.flush()
    except NightdeskError as fault:
        return _refuse(fault)
    except click.ClickException as fault:
        about = fault.ctx.command_path if isinstance(fault, click.UsageError) and fault.ctx else "nightdesk"
        return _refuse(UsageError(fault.format_message(), f"{about} --help shows how to use it."))
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # The reader went away (`nightdesk logs | head`): nothing is wrong, and nothing may be printed any more.
        _forget_output()
        return 141
    except UnicodeEncodeError as fault:
        word = fault.object if len(fault.object) < WORD_MOST else f"{fault.object[:WORD_MOST]}…"
        return _refuse(
            UsageError(f"{word} is not UTF-8.", "Names that are not UTF-8 can't be given to the engine.")
        )
    except OSError as fault:
        _forget_output()
        return _refuse(_explained(fault))
    return status


def _run() -> int:
    output = sys.stdout
    try:
        nightdesk.main(standalone_mode=False)
    except SystemExit as ended:
        if sys.stdout is not output:
            # click met a broken pipe: it put a silent stream there and made the status 1.
            raise BrokenPipeError from None
        return ended.code if isinstance(ended.code, int) else 0
    return 0


def _refuse(fault: NightdeskError) -> int:
    from nightdesk.cli.output import print_error

    # What was printed before belongs in front of the complaint, and may be what can't be written.
    try:
        sys.stdout.flush()
    except OSError:
        _forget_output()
    print_error(fault)
    return fault.exit_code


def _explained(fault: OSError) -> NightdeskError:
    from nightdesk.model.errors import NightdeskError

    if fault.filename is not None:
        return NightdeskError(
            f"{os.fsdecode(fault.filename)} can't be used: {fault.strerror}.", "Check its rights."
        )
    return NightdeskError(
        f"The output can't be written: {fault.strerror or fault}.", "Check where it goes to."
    )


def _forget_output() -> None:
    from nightdesk.cli.streams import forget_output

    forget_output()


if __name__ == "__main__":
    main()
