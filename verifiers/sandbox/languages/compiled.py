"""Languages whose programs are compiled first."""

from verifiers.sandbox.languages.row import Command, Language
from verifiers.sandbox.languages.runtimes import ERLANG, GO, JVM, JVM_FLAGS, MONO, NODE, NODE_FLAGS

PROGRAM = "{out}/program"

# Without the types of Node its names and modules are any: else no program could read its input.
_TSC_SCRIPT = """
for modules in /usr/share/nodejs /usr/lib/node_modules /usr/local/lib/node_modules; do
    types="$modules/@types"
    [ -d "$types/node" ] && exec tsc "$@" --typeRoots "$types" --types node --skipLibCheck
done
echo 'declare module "*"; declare var require: any, process: any, Buffer: any;' > "$0/node.d.ts"
exec tsc "$@" "$0/node.d.ts"
"""
_TSC = (
    *("sh", "-c", _TSC_SCRIPT, "{tmp}", "{file}", "--outDir", "{out}"),
    *("--target", "es2021", "--module", "commonjs", "--esModuleInterop"),
)

# With GNUstep there is Foundation, without it the bare language.
_OBJC = (
    'exec gcc -std=gnu17 $(gnustep-config --objc-flags 2>/dev/null) -o "$1" "$2" '
    "$(gnustep-config --base-libs 2>/dev/null) -lobjc -lm"
)
_OBJC_VERSION = '[ -x "$(gcc -print-prog-name=cc1obj)" ] && gcc --version'


def _gcc(compiler: str, *flags: str, libraries: Command = ()) -> tuple[Command, ...]:
    return ((compiler, *flags, "-O2", "-o", PROGRAM, "{file}", *libraries),)


ROWS = (
    Language(
        "c",
        "main.c",
        (PROGRAM,),
        compile=_gcc("gcc", "-std=gnu17", libraries=("-lm",)),
        check=("gcc", "-std=gnu17", "-fsyntax-only", "-Wall", "{file}"),
        version=("gcc", "--version"),
        package="gcc",
    ),
    Language(
        "cpp",
        "main.cpp",
        (PROGRAM,),
        compile=_gcc("g++", "-std=gnu++20"),
        check=("g++", "-std=gnu++20", "-fsyntax-only", "-Wall", "{file}"),
        version=("g++", "--version"),
        package="g++",
        aliases=("c++", "cxx"),
    ),
    Language(
        "objc",
        "main.m",
        (PROGRAM,),
        compile=(("sh", "-c", _OBJC, "sh", PROGRAM, "{file}"),),
        version=("sh", "-c", _OBJC_VERSION),
        needs=("gcc",),
        package="gobjc",
        aliases=("objective-c", "objectivec"),
        mounts=("/etc/GNUstep",),
    ),
    Language(
        "d",
        "main.d",
        (PROGRAM,),
        compile=(("ldc2", "-O", "-od={out}", f"-of={PROGRAM}", "{file}"),),
        check=("ldc2", "-o-", "{file}"),
        version=("ldc2", "--version"),
        needs=("gcc",),
        package="ldc",
        aliases=("ldc", "dlang"),
        mounts=("/etc/ldc2.conf",),
    ),
    Language(
        "d-gdc",
        "main.d",
        (PROGRAM,),
        compile=_gcc("gdc"),
        check=("gdc", "-fsyntax-only", "{file}"),
        version=("gdc", "--version"),
        package="gdc",
        aliases=("gdc",),
    ),
    Language(
        "rust",
        "main.rs",
        (PROGRAM,),
        compile=(("rustc", "--edition", "2021", "-O", "-o", PROGRAM, "{file}"),),
        check=(
            *("rustc", "--edition", "2021", "--emit=metadata"),
            *("-o", "{tmp}/check.rmeta", "{file}"),
        ),
        version=("rustc", "--version"),
        needs=("gcc",),
        package="rustc",
        aliases=("rs",),
    ),
    Language(
        "go",
        "main.go",
        (PROGRAM,),
        compile=(("go", "build", "-o", PROGRAM, "{file}"),),
        check=("go", "vet", "{file}"),
        version=("go", "version"),
        package="golang-go",
        aliases=("golang",),
        **GO,
    ),
    Language(
        "java",
        "Main.java",
        ("java", *JVM_FLAGS, "-cp", "{out}", "{stem}"),
        compile=(("javac", "-J-Xmx1g", "-J-XX:+UseSerialGC", "-d", "{out}", "{file}"),),
        check=("javac", "-J-Xmx1g", "-proc:none", "-Xlint", "-d", "{tmp}", "{file}"),
        version=("java", "--version"),
        package="default-jdk-headless",
        called_after=(
            r"^[ \t]*(?P<public>public\s+)?(?:(?:final|abstract)\s+)*class\s+(?P<name>\w+)"
        ),
        entry=r"\bstatic\s+void\s+main\b",
        **JVM,
    ),
    Language(
        "kotlin",
        "main.kt",
        ("java", *JVM_FLAGS, "-jar", "{out}/program.jar"),
        compile=(("kotlinc", "-nowarn", "-include-runtime", "-d", "{out}/program.jar", "{file}"),),
        version=("kotlinc", "-version"),
        package="kotlin",
        aliases=("kt",),
        **JVM,
    ),
    Language(
        "scala",
        "Main.scala",
        ("java", *JVM_FLAGS, "-cp", "{out}:/usr/share/java/scala-library.jar", "{stem}"),
        compile=(("scalac", "-d", "{out}", "{file}"),),
        version=("scalac", "-version"),
        package="scala",
        called_after=r"^[ \t]*object\s+(?P<name>\w+)",
        **JVM,
    ),
    Language(
        "csharp",
        "Main.cs",
        ("mono", f"{PROGRAM}.exe"),
        compile=(("mcs", f"-out:{PROGRAM}.exe", "{file}"),),
        version=("mcs", "--version"),
        package="mono-mcs",
        aliases=("c#", "cs", "mono"),
        **MONO,
    ),
    Language(
        "typescript",
        "main.ts",
        ("node", *NODE_FLAGS, "{out}/{stem}.js"),
        compile=(_TSC,),
        check=(*_TSC, "--noEmit", "--strict"),
        version=("tsc", "--version"),
        package="node-typescript",
        aliases=("ts",),
        **NODE,
    ),
    Language(
        "coffeescript",
        "main.coffee",
        ("node", *NODE_FLAGS, "{out}/{stem}.js"),
        compile=(("coffee", "--compile", "--output", "{out}", "{file}"),),
        version=("coffee", "--version"),
        package="coffeescript",
        aliases=("coffee",),
        **NODE,
    ),
    Language(
        "haskell",
        "main.hs",
        (PROGRAM,),
        compile=(("ghc", "-v0", "-O", "-outputdir", "{out}", "-o", PROGRAM, "{file}"),),
        check=("ghc", "-v0", "-fno-code", "-outputdir", "{tmp}", "{file}"),
        version=("ghc", "--version"),
        needs=("gcc",),
        package="ghc",
        aliases=("hs",),
        mounts=("/var/lib/ghc",),
        address_space_limit=False,
    ),
    Language(
        "ocaml",
        "main.ml",
        (PROGRAM,),
        # In two steps, as in one it writes beside the source.
        compile=(
            ("ocamlopt", "-c", "-o", "{out}/program.cmx", "{file}"),
            ("ocamlopt", "-I", "{out}", "-o", PROGRAM, "{out}/program.cmx"),
        ),
        version=("ocamlopt", "-version"),
        needs=("gcc",),
        package="ocaml-nox",
        aliases=("ml",),
    ),
    Language(
        "chicken",
        "main.scm",
        (PROGRAM,),
        compile=(("csc", "-O2", "-o", PROGRAM, "{file}"),),
        version=("csc", "-release"),
        needs=("gcc",),
        package="chicken-bin",
        mounts=("/var/lib/chicken",),
    ),
    Language(
        "erlang",
        "main.erl",
        ("erl", "-noshell", "-pa", "{out}", "-s", "{stem}", "main", "-s", "erlang", "halt"),
        compile=(("erlc", "-o", "{out}", "{file}"),),
        version=(
            "erl",
            "-noshell",
            "-eval",
            "io:put_chars(erlang:system_info(otp_release)),halt().",
        ),
        package="erlang-nox",
        aliases=("erl",),
        **ERLANG,
    ),
    Language(
        "fortran",
        "main.f90",
        (PROGRAM,),
        compile=_gcc("gfortran", "-J{out}"),
        check=("gfortran", "-fsyntax-only", "-J{tmp}", "{file}"),
        version=("gfortran", "--version"),
        package="gfortran",
        aliases=("f90",),
    ),
    Language(
        "pascal",
        "main.pas",
        (PROGRAM,),
        compile=(("fpc", "-O2", "-FE{out}", f"-o{PROGRAM}", "{file}"),),
        version=("fpc", "-iV"),
        package="fp-compiler",
        aliases=("fpc", "delphi"),
        mounts=("/etc/fpc.cfg",),
    ),
    Language(
        "ada",
        "main.adb",
        (PROGRAM,),
        # Part of what it writes goes to the working directory, whatever it is told.
        compile=(
            ("sh", "-c", 'cd "$1" && gnatmake -q -O2 -o program "$2"', "sh", "{out}", "{file}"),
        ),
        check=("gcc", "-c", "-gnats", "{file}"),
        version=("gnatmake", "--version"),
        package="gnat",
    ),
    Language(
        "cobol",
        "main.cob",
        (PROGRAM,),
        compile=(("cobc", "-x", "-o", PROGRAM, "{file}"),),
        check=("cobc", "-fsyntax-only", "{file}"),
        version=("cobc", "--version"),
        package="gnucobol4",
        mounts=("/etc/gnucobol",),
    ),
    Language(
        "nim",
        "main.nim",
        (PROGRAM,),
        compile=(
            (
                *("nim", "c", "--hints:off", "--verbosity:0", "-d:release"),
                *("--nimcache:{out}/nimcache", f"-o:{PROGRAM}", "{file}"),
            ),
        ),
        check=("nim", "check", "--hints:off", "{file}"),
        version=("nim", "--version"),
        needs=("gcc",),
        package="nim",
        mounts=("/etc/nim",),
    ),
    Language(
        "crystal",
        "main.cr",
        (PROGRAM,),
        compile=(("crystal", "build", "-o", PROGRAM, "{file}"),),
        check=("crystal", "build", "--no-codegen", "{file}"),
        version=("crystal", "--version"),
        needs=("gcc",),
        package="crystal",
        aliases=("cr",),
    ),
    Language(
        "verilog",
        "main.v",
        ("vvp", "-N", PROGRAM),
        compile=(("iverilog", "-g2012", "-o", PROGRAM, "{file}"),),
        check=("iverilog", "-g2012", "-t", "null", "{file}"),
        version=("iverilog", "-V"),
        package="iverilog",
        aliases=("systemverilog",),
    ),
    Language(
        "vhdl",
        "main.vhd",
        # The entity to simulate is named like the file.
        ("ghdl", "-r", "--std=08", "--workdir={out}", "{stem}"),
        compile=(("ghdl", "-a", "--std=08", "--workdir={out}", "{file}"),),
        check=("ghdl", "-s", "--std=08", "{file}"),
        version=("ghdl", "--version"),
        package="ghdl-mcode",
    ),
    Language(
        "vala",
        "main.vala",
        (PROGRAM,),
        compile=(("valac", "--directory={out}", "-o", "program", "{file}"),),
        version=("valac", "--version"),
        needs=("gcc",),
        package="valac",
    ),
    Language(
        "assembly",
        "main.asm",
        # For x86-64, with the entry point _start.
        (PROGRAM,),
        compile=(
            ("nasm", "-f", "elf64", "-o", "{out}/program.o", "{file}"),
            ("ld", "-o", PROGRAM, "{out}/program.o"),
        ),
        version=("nasm", "-v"),
        package="nasm",
        aliases=("asm", "nasm"),
    ),
)
