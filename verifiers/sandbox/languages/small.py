"""Calculators, solvers and filters, and documents that a parser reads.

Where the usual command ends with 0 though the program failed, or prints what is not the program's,
the row says what is done about it.
"""

from verifiers.sandbox.languages.row import Language

# Calculators that report an error and go on to end with 0: whatever they say on stderr is failure.
_FAIL_ON_STDERR = (
    'exec 3>&1; errors=$("$@" 2>&1 >&3 3>&-); code=$?; '
    '[ -z "$errors" ] && exit $code; printf "%s\\n" "$errors" >&2; exit 1'
)

_TOML = "import sys, tomllib; print(tomllib.load(open(sys.argv[1], 'rb')))"

TOOLS = (
    Language(
        "pari",
        "main.gp",
        ("gp", "-q", "-f", "--default", "recover=0", "{file}"),
        version=("gp", "--version"),
        package="pari-gp",
        aliases=("gp", "pari/gp"),
    ),
    Language(
        "bc",
        "main.bc",
        ("sh", "-c", _FAIL_ON_STDERR, "sh", "bc", "-q", "{file}"),
        version=("bc", "--version"),
        package="bc",
    ),
    Language(
        "dc",
        "main.dc",
        ("sh", "-c", _FAIL_ON_STDERR, "sh", "dc", "{file}"),
        version=("dc", "--version"),
        package="dc",
    ),
    Language(
        "jq",
        "main.jq",
        ("jq", "-r", "-f", "{file}"),
        version=("jq", "--version"),
        package="jq",
    ),
    Language(
        "m4",
        "main.m4",
        ("m4", "--fatal-warnings", "--fatal-warnings", "{file}"),
        version=("m4", "--version"),
        package="m4",
    ),
    Language(
        "make",
        "Makefile",
        ("make", "-s", "-f", "{file}"),
        version=("make", "--version"),
        package="make",
        aliases=("makefile",),
    ),
    Language(
        "basic",
        "main.bas",
        ("yabasic", "{file}"),
        version=("yabasic", "--version"),
        package="yabasic",
    ),
    Language(
        "algol68",
        "main.a68",
        ("a68g", "--script", "{file}"),
        version=("a68g", "--version"),
        package="algol68g",
        aliases=("algol",),
    ),
    Language(
        "smtlib",
        "main.smt2",
        ("z3", "{file}"),
        version=("z3", "--version"),
        package="z3",
        aliases=("smt2", "z3"),
    ),
    Language(
        "coq",
        "main.v",
        ("coqc", "-q", "-noglob", "-o", "{tmp}/{stem}.vo", "{file}"),
        version=("coqc", "--version"),
        package="coq",
        mounts=("/etc/ocamlfind.conf",),
        aliases=("rocq", "gallina"),
    ),
)

DOCUMENTS = (
    Language(
        "json",
        "main.json",
        ("python3", "-s", "-m", "json.tool", "{file}"),
        version=("python3", "--version"),
        package="python3",
    ),
    Language(
        "toml",
        "main.toml",
        ("python3", "-s", "-c", _TOML, "{file}"),
        version=("python3", "--version"),
        package="python3",
    ),
    Language(
        "yaml",
        "main.yaml",
        ("yamllint", "-d", "{{rules: {{key-duplicates: enable}}}}", "{file}"),
        version=("yamllint", "--version"),
        package="yamllint",
        aliases=("yml",),
    ),
    Language(
        "xml",
        "main.xml",
        ("xmllint", "--nonet", "{file}"),
        version=("xmllint", "--version"),
        package="libxml2-utils",
    ),
    Language(
        "html",
        "main.html",
        # From stdin, as tidy opens a file to write. It ends with 1 for warnings, 2 for errors.
        ("sh", "-c", 'tidy -q --tidy-mark no < "$1"; test $? -lt 2', "sh", "{file}"),
        version=("tidy", "--version"),
        package="tidy",
    ),
    Language(
        "markdown",
        "main.md",
        ("cmark", "{file}"),
        version=("cmark", "--version"),
        package="cmark",
        aliases=("md",),
    ),
    Language(
        "css",
        "main.css",
        ("sassc", "{file}"),
        version=("sassc", "--version"),
        package="sassc",
        aliases=("scss",),
    ),
)

ROWS = (*TOOLS, *DOCUMENTS)
