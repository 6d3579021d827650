"""The `align` command: talks to a person, decides nothing."""

from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

import align

if TYPE_CHECKING:
    from verifiers.sandbox import Isolation

__align_toolkit__ = True

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Post-training alignment: one recipe in, an aligned model out.",
)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe's YAML file.")]
Overrides = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key, as stages.dpo.args.beta=0.2. Repeatable.",
    ),
]
Runs = Annotated[Path, typer.Option(help="The folder that holds the run folders.")]


def _version(wanted: bool) -> None:
    if wanted:
        console.print(align.__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    recipe: RecipePath,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
    only: Annotated[str | None, typer.Option(metavar="STAGE", help="Run this stage alone.")] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="STAGE", help="Rerun this stage and all that follows it."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Make finished stages again.")] = False,
    runs: Runs = Path("runs"),
) -> None:
    """Carry out a recipe: finished stages are skipped, killed ones go on where they stopped."""
    with _reported():
        done = align.run(recipe, overrides, runs=runs, only=only, start=start, fresh=fresh)
        from align.report import write

        page = write(done.folder)
    console.print(f"models and data: {done.folder}\nreport: {page}", soft_wrap=True)


@app.command()
def plan(recipe: RecipePath, overrides: Overrides = [], runs: Runs = Path("runs")) -> None:  # noqa: B006
    """Show the stages, which are done, which will run, and why."""
    with _reported():
        states = align.plan(recipe, overrides, runs=runs).stages
    width = max(len(s.name) for s in states)
    for state in states:
        mark, colour = ("done", "green") if state.state == "done" else ("run ", "yellow")
        inputs = ", ".join(state.stage.inputs) or "-"
        console.print(
            f"[{colour}]{mark}[/]  {state.name:<{width}}  {state.stage.config.kind:<9}  "
            f"from {inputs}  [dim]({state.reason})[/]",
            soft_wrap=True,
        )


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, as runs/quickstart.")],
) -> None:
    """Write the run's report, one HTML page that needs no network."""
    with _reported():
        from align.report import write

        page = write(run)
    console.print(page, soft_wrap=True)


@app.command()
def chat(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model's folder, as runs/quickstart/grpo.")
    ],
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 1.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 256,
) -> None:
    """Talk with a model. An empty line or end of input ends the talk."""
    with _reported():
        from align.generate.chat import Chat

        talk = Chat(model, temperature=temperature, max_tokens=max_tokens)
        while question := _ask():
            console.print(talk.say(question), markup=False)


data = typer.Typer(no_args_is_help=True, help="Look at the rows that a stage has built.")
app.add_typer(data, name="data")

DataPath = Annotated[
    Path, typer.Argument(metavar="DATA", help="A stage's folder, as runs/NAME/STAGE, or a file.")
]
Rejected = Annotated[bool, typer.Option("--rejected", help="What the stage did not use, and why.")]


@data.command("show")
def data_show(
    path: DataPath,
    rejected: Rejected = False,
    where: Annotated[
        list[str],
        typer.Option(
            "--where",
            metavar="CONDITION",
            help="Rows of which this holds, as reason=verify:wrong, provenance.steps.sample>2 or "
            "completion.content~word. Repeatable.",
        ),
    ] = [],  # noqa: B006 - typer copies it
    skip: Annotated[int, typer.Option(min=0, help="Rows to leave out first.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="Most rows to show.")] = 50,
    model: Annotated[
        Path | None,
        typer.Option(help="Whose chat template; by default the model's that was asked."),
    ] = None,
) -> None:
    """Page through rows, rendered with the chat template; what is trained on is in colour."""
    with _reported():
        from align.report import data_rows, data_view

        found = data_rows.open_data(path, rejected=rejected)
        template = data_view.template_for(found, model)
        wanted = islice(data_rows.chosen(found.rows(), where), skip, skip + limit)
        with console.pager(styles=True) if console.is_terminal else nullcontext():
            if not template.is_models_own and not rejected:
                console.print("no tokenizer at hand: shown as ChatML, see --model", style="dim")
            number = skip
            for number, row in enumerate(wanted, skip + 1):
                console.print(data_view.view(row, number, template))
            if number == skip:
                console.print(f"none of the {found.num_rows:,} rows fits")


@data.command("stats")
def data_stats(path: DataPath, rejected: Rejected = False) -> None:
    """Say how many rows there are, how long they are, and what was dropped."""
    with _reported():
        from align.report import data_rows, data_stats

        found = data_stats.stats(data_rows.open_data(path, rejected=rejected))
        for line in data_stats.lines(found):
            console.print(line, markup=False, soft_wrap=True)


model = typer.Typer(no_args_is_help=True, help="Look at a model's sizes, or convert it.")
app.add_typer(model, name="model")


@model.command("show")
def model_show(
    name: Annotated[
        str, typer.Argument(metavar="MODEL", help="A preset, as qwen2.5-7b, or a model's folder.")
    ],
    batch: Annotated[int, typer.Option(min=1, help="Texts of a training batch.")] = 1,
    length: Annotated[int, typer.Option(min=1, help="Tokens of a text.")] = 4096,
    as_json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False,
) -> None:
    """Say what a model has, and what it costs: memory, cache, arithmetic."""
    with _reported():
        from align.model.convert import described
        from align.model.sizes import sizes
        from align.report.model_view import rows

        config = described(name)
        found = sizes(config, batch=batch, length=length)
    if as_json:
        console.print_json(data={"model": name, **found.as_dict()})
        return
    for what, value in rows(config, found, batch=batch, length=length):
        console.print(f"{what:<26}[bold]{value}[/]", soft_wrap=True)


@model.command("convert")
def model_convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A model's folder.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="A folder to make.")],
    to: Annotated[
        str | None,
        typer.Option(help="transformers or align; by default what SRC is not."),
    ] = None,
) -> None:
    """Write a model in transformers' own format, or in ours, with its tokenizer."""
    if to not in (None, "transformers", "align"):
        raise typer.BadParameter(f"--to {to}: transformers or align")
    with _reported():
        from align.model.converting import convert

        before, after = convert(source, target, to)
    console.print(f"{source}: {before}\n{target}: {after}", soft_wrap=True)


@app.command()
def doctor() -> None:
    """Say what this machine has: the sandbox's walls, and each language's toolchain."""
    with _reported():
        from verifiers.sandbox import Missing, Sandbox, survey

        with Sandbox(min_level=1, allow_unsandboxed=True, workers=1) as sandbox:
            walls = sandbox.isolation
        found = survey()
    _show_isolation(walls)
    missing = [row for row in found if isinstance(row, Missing)]
    width = max(len(row.language) for row in found)
    console.print(f"\nlanguages: {len(found) - len(missing)} of {len(found)}")
    for row in found:
        if not isinstance(row, Missing):
            mark, what = "[green]ok    [/]", row.version
        else:
            mark, what = ("[red]broken[/]" if row.broken else "[yellow]-     [/]"), row.reason
        console.print(f"{mark}  {row.language:<{width}}  ", end="")
        console.print(what, markup=False, soft_wrap=True)
    if missing:
        packages = " ".join(dict.fromkeys(row.package for row in missing))
        console.print(f"\nto add them all: apt-get install {packages}", soft_wrap=True)


def _show_isolation(walls: "Isolation") -> None:
    names = {
        3: "namespaces, seccomp and cgroup",
        2: "namespaces and seccomp; memory and processes limited one by one, not for the tree",
        1: "Landlock and seccomp only; used on request alone (min_level=1)",
        0: "none; code is not run here unless asked for (allow_unsandboxed=True)",
    }
    colour = "green" if walls.level >= 2 else "red"
    console.print(f"sandbox: [{colour}]level {walls.level}[/], {names[walls.level]}")
    if walls.bubblewrap:
        console.print(f"  bubblewrap {walls.bubblewrap}, Landlock ABI {walls.landlock_abi}")
    if walls.why_not_more:
        console.print(f"  {walls.why_not_more}", markup=False, soft_wrap=True)


def _ask() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""


class _reported:
    """A user's mistake is a few lines and exit code 2; an interruption says how to go on."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        from align.runner.user_errors import USER_ERRORS

        if isinstance(error, USER_ERRORS):
            notes = " ".join(getattr(error, "__notes__", []))
            errors.print(f"[red]error:[/] {notes}", end="\n" if notes else "")
            errors.print(str(error), markup=False, soft_wrap=True)
            raise typer.Exit(2) from None
        if isinstance(error, KeyboardInterrupt):
            errors.print("stopped; the same command goes on from here")
            raise typer.Exit(130) from None
