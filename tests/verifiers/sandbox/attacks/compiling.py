"""Attacks while a program is compiled or checked: the compiler is a program too.

@SECRET@ stands for the path of a file of the host's that everybody may read there.
"""

from .attack import ANY, MIB, NOT_COMPILED, OK, Attack, Limits

_LITTLE = Limits(
    cpu_s=3, wall_s=12, memory_bytes=384 * MIB, disk_bytes=64 * MIB, file_bytes=32 * MIB
)
_NOT_ACCEPTED = ANY - OK

COMPILING = (
    Attack(
        91.1,
        "C: #include a file of the host's",
        '#include "/w/..@SECRET@"\nint main() { return 0; }',
        NOT_COMPILED,
        language="c",
    ),
    Attack(
        91.2,
        "C: .incbin a file of the host's",
        r"""
#include <stdio.h>
__asm__(".section .rodata\nsecret: .incbin \"@SECRET@\"\n.byte 0\n.text");
extern const char secret[];
int main() { printf("BREACH:%s\n", secret); return 0; }
""",
        NOT_COMPILED,
        language="c",
    ),
    Attack(
        91.3,
        "Perl: a BEGIN block",
        """
BEGIN { if (open(my $file, '<', '@SECRET@')) { print "BREACH:", <$file>, "\\n"; } exit 1; }
""",
        frozenset({"runtime_error"}),
        language="perl",
    ),
    Attack(
        91.4,
        "Nim: staticExec",
        """
const found = staticExec("cat @SECRET@ && echo BREACH:cat")
echo found
""",
        ANY,
        language="nim",
        slow=True,
    ),
    Attack(
        91.5,
        "Haskell: Template Haskell",
        """
{-# LANGUAGE TemplateHaskell #-}
import Language.Haskell.TH
main :: IO ()
main = putStrLn $(
  runIO (readFile "@SECRET@") >>= \\text -> litE (stringL ("BREA" ++ "CH:" ++ text)))
""",
        NOT_COMPILED,
        language="haskell",
        slow=True,
    ),
    Attack(
        91.6,
        "Rust: include_str!",
        'fn main() { println!("{}CH:{}", "BREA", include_str!("@SECRET@")); }',
        NOT_COMPILED,
        language="rust",
        slow=True,
    ),
    Attack(
        91.7,
        "C: the compiler's own temporary files and the sources are out of reach",
        r"""
#include <stdio.h>
__asm__(".section .rodata\nsecret: .incbin \"/proc/1/environ\"\n.byte 0\n.text");
extern const char secret[];
int main() { printf("BREACH:%s\n", secret); return 0; }
""",
        NOT_COMPILED,
        language="c",
        level_1="/proc is the host's",
    ),
    Attack(
        92.1,
        "C++: templates without end",
        """
template <int N, int M> struct T { static const int v = T<N - 1, M>::v + T<N - 1, M + 1>::v; };
template <int M> struct T<0, M> { static const int v = M; };
int main() { return T<800, 0>::v; }
""",
        _NOT_ACCEPTED,
        language="cpp",
        compile_limits=_LITTLE,
    ),
    Attack(
        92.2,
        "C: a gigabyte of data in the program",
        "char data[1 << 30] = {1};\nint main() { return data[5]; }",
        _NOT_ACCEPTED,
        language="c",
        compile_limits=_LITTLE,
    ),
    Attack(
        92.3,
        "C: includes itself, and again",
        "#include __FILE__\n#include __FILE__\nint main() { return 0; }",
        _NOT_ACCEPTED,
        language="c",
        compile_limits=_LITTLE,
    ),
    Attack(
        93,
        "C: fill the disk while compiling",
        r"""
__asm__(".section .rodata\n.rept 1000\n.incbin \"/usr/bin/python3\"\n.endr\n.text");
int main() { return 0; }
""",
        _NOT_ACCEPTED,
        language="c",
        compile_limits=_LITTLE,
    ),
    Attack(
        93.1,
        "C: read a device without end while compiling",
        r"""
__asm__(".section .rodata\n.incbin \"/dev/zero\"\n.text");
int main() { return 0; }
""",
        _NOT_ACCEPTED,
        language="c",
        compile_limits=_LITTLE,
    ),
    Attack(
        94,
        "Nim: a link in place of the compiler's output",
        """
const planted = staticExec("mkdir -p /out; ln -sf @SECRET@ /out/program; ls -la /out")
echo planted
""",
        ANY,
        language="nim",
        slow=True,
    ),
    Attack(
        95,
        "Nim: a pipe in place of the compiler's output",
        """
const planted = staticExec("rm -f /out/program; mkfifo /out/program; ls -la /out")
echo planted
""",
        ANY,
        language="nim",
        compile_limits=Limits(cpu_s=10, wall_s=20, memory_bytes=1024 * MIB),
        slow=True,
    ),
)
