"""PTX, as NVRTC writes it, to C++ that runs on the host: `ptx.py < KERNELS.ptx > KERNELS.cpp`.

An instruction becomes a line. Registers are bits of their width, which an instruction reads as its type says, so what the
device does to a number is done here: contracted multiplications, approximated exponentials, truncated reciprocals. What it does
not know, it refuses. `instructions.h` has what is not an operator of C++.
"""

import re
import sys

WIDTHS = {"pred": 1, "b8": 8, "b16": 16, "b32": 32, "b64": 64, "f32": 32, "f64": 64}
BITS = {1: "bool", 8: "uint8_t", 16: "uint16_t", 32: "uint32_t", 64: "uint64_t"}
NAMES = {"f32": "float", "f64": "double"} | {f"s{w}": f"int{w}_t" for w in (8, 16, 32, 64)}
NAMES |= {f"{k}{w}": f"uint{w}_t" for k in "bu" for w in (8, 16, 32, 64)} | {"pred": "bool", "f16": "uint16_t"}
SPECIAL = {"%tid.x": "threadIdx.x", "%ntid.x": "blockDim.x", "%ctaid.x": "blockIdx.x"}
OPERATORS = {"add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^"}
COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def operands(text: str) -> list[str]:
    return [part.strip() for part in re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s][^,]*", text)]


def value(operand: str, kind: str) -> str:
    """An operand, read as a type."""
    name = NAMES[kind]
    if operand in SPECIAL:
        return f"({name}){SPECIAL[operand]}"
    if operand.startswith("%"):
        return f"as<{name}>({register(operand)})"
    if found := re.fullmatch(r"0[fF]([0-9A-Fa-f]{8})", operand):
        return f"as<float>(0x{found[1]}u)"
    if found := re.fullmatch(r"0[dD]([0-9A-Fa-f]{16})", operand):
        return f"as<double>(0x{found[1]}ull)"
    if re.fullmatch(r"-?(\d+|0x[0-9A-Fa-f]+)", operand):
        return f"({name}){'INT64_MIN' if operand == '-9223372036854775808' else operand + 'll'}"
    assert re.fullmatch(r"[\w$]+", operand), operand
    return f"({name})address_of_{register(operand)}"


def register(operand: str) -> str:
    return operand.removeprefix("%").replace("$", "_")


def address(operand: str, space: str, kind: str, count: int) -> str:
    base, _, offset = operand.strip("[]").partition("+")
    size = count * int(kind[1:]) // 8
    return f"{space}_at({value(base, 'u64')} + {offset or 0}, {size})"


def moved(kind: str, args: list[str]) -> str:
    to, of = args
    width = int(kind[1:]) if kind != "pred" else 1
    if to.startswith("{"):
        parts = operands(to.strip("{}"))
        step = width // len(parts)
        return " ".join(f"set({register(p)}, {value(of, kind)} >> {k * step});" for k, p in enumerate(parts) if p != "_")
    if of.startswith("{"):
        parts = operands(of.strip("{}"))
        step = width // len(parts)
        joined = " | ".join(f"(uint64_t){value(p, f'b{step}')} << {k * step}" for k, p in enumerate(parts))
        return f"set({register(to)}, {joined});"
    return f"set({register(to)}, {value(of, kind)});"


def accessed(op: str, modifiers: list[str], args: list[str]) -> str:
    space, kind = modifiers[0], modifiers[-1]
    count = next((int(m[1:]) for m in modifiers if m in ("v2", "v4")), 1)
    assert not set(modifiers[1:-1]) - {"v2", "v4", "cs", "wb", "nc"}, modifiers
    place, held = (args[1], args[0]) if op == "ld" else args
    registers = operands(held.strip("{}"))
    lines = [f"auto at = ({NAMES[kind]} *){address(place, space, kind, count)};"]
    for k, r in enumerate(registers):
        lines.append(f"set({register(r)}, at[{k}]);" if op == "ld" else f"at[{k}] = {value(r, kind)};")
    return "{ " + " ".join(lines) + " }"


def compared(modifiers: list[str], args: list[str]) -> str:
    kind, how = modifiers[-1], modifiers[0]
    a, b = (value(arg, kind) for arg in args[1:3])
    unordered = f"({a} != {a} || {b} != {b})"
    if how in ("nan", "num"):
        test = unordered if how == "nan" else f"!{unordered}"
    elif kind.startswith("f"):
        # Ordered comparisons are false for NaN, `ne` too; with a u they are true.
        which = how.removesuffix("u")
        test = f"{a} {COMPARISONS[which]} {b}"
        test = f"({unordered} || {test})" if how.endswith("u") else f"(!{unordered} && {test})"
    else:
        test = f"{a} {COMPARISONS[how]} {b}"
    if len(args) == 4:
        test = f"({test}) {OPERATORS[modifiers[1]]} {value(args[3], 'pred')}"
    return f"set({register(args[0])}, {test});"


def converted(modifiers: list[str], args: list[str]) -> str:
    to, of = modifiers[-2:]
    rounding = modifiers[:-2]
    a = value(args[1], of)
    if (to, of, rounding) == ("f32", "f32", ["sat"]):
        result = f"saturated({a})"
    elif of == "f16" and to == "f32" and not rounding:
        result = f"widen_half({a})"
    elif (to, of, rounding) == ("f16", "f32", ["rn"]):
        result = f"narrow_half({a})"
    else:
        assert "f16" not in (to, of) and rounding in ([], ["rn"]) and (to[0] == "f" or of[0] != "f"), (modifiers, args)
        result = f"({NAMES[to]}){a}"
    return f"set({register(args[0])}, {result});"


def instruction(text: str) -> str:
    opcode, *rest = text.split(None, 1)
    args = operands(rest[0]) if rest else []
    op, *modifiers = opcode.split(".")
    kind = modifiers[-1] if modifiers else ""
    if op == "mov":
        return moved(kind, args)
    if op in ("ld", "st"):
        return accessed(op, modifiers, args)
    if op == "setp":
        return compared(modifiers, args)
    if op == "cvt":
        return converted(modifiers, args)
    if op == "bra":
        return f"goto {register(args[0])};"
    if op == "ret":
        return "return;"
    if opcode in ("bar.sync", "barrier.sync"):
        return "__syncthreads();"
    if op == "cvta":
        return f"set({register(args[0])}, {'shared_base + ' if 'shared' in modifiers else ''}{value(args[1], 'u64')});"
    if op == "shfl":
        to = args[0].split("|")[0]
        return f"set({register(to)}, shuffled_{modifiers[1]}({', '.join(value(a, 'b32') for a in args[1:])}));"
    return f"set({register(args[0])}, {computed(op, modifiers, kind, args[1:])});"


def computed(op: str, modifiers: list[str], kind: str, args: list[str]) -> str:
    name, floats = NAMES[kind], kind[0] == "f"
    rounding = [m for m in modifiers[:-1] if m not in ("rn", "lo")]
    if op == "mul" and "wide" in modifiers:
        a, b = (value(arg, kind) for arg in args)
        return f"({NAMES[kind[0] + '64']}){a} * {b}"
    if op in OPERATORS and not rounding:
        a, b = (value(arg, kind) for arg in args)
        # Without signs, whose overflow C++ does not define.
        unsigned = name if floats or kind == "pred" else BITS[int(kind[1:])]
        return f"({unsigned}){a} {OPERATORS[op]} ({unsigned}){b}"
    if op == "div" and not rounding:
        return f"{value(args[0], kind)} / {value(args[1], kind)}"
    if op in ("neg", "not") and not rounding:
        sign = {"neg": "-", "not": "!" if kind == "pred" else "~"}[op]
        return f"{sign}{value(args[0], kind if floats or kind == 'pred' else 'u' + kind[1:])}"
    if op == "selp":
        return f"{value(args[2], 'pred')} ? {value(args[0], kind)} : {value(args[1], kind)}"
    if op == "bfi":
        wide = [value(arg, kind) for arg in args[:2]] + [value(arg, "u32") for arg in args[2:]]
        return f"inserted({', '.join(wide)})"
    if op in ("shl", "shr"):
        return f"{op}({value(args[0], kind)}, {value(args[1], 'u32')})"
    known = {"abs", "min", "max", "fma", "mad", "sqrt", "fma.rm", "ex2.approx.ftz", "rcp.approx.ftz"}
    called = ".".join([op, *rounding])
    assert called in known, (op, modifiers, args)
    return f"{called.replace('.', '_')}_({', '.join(value(arg, kind) for arg in args)})"


def body(text: str) -> list[str]:
    lines = []
    for token in re.findall(r"\$?\w+:|\{(?=\s)|\}(?=\s)|[^;{}:]*(?:\{(?!\s)[^}]*\}[^;{}]*)*;", text):
        token = token.strip().rstrip(";").strip()
        guarded = re.match(r"@(!?)(%\w+)\s+(.*)", token, re.S)
        if token in ("{", "}", ""):
            lines.append(token)
        elif token.endswith(":"):
            lines.append(f"{register(token)};")
        elif token.startswith(".reg"):
            _, kind, names = token.split(None, 2)
            many = re.fullmatch(r"(%\w+)<(\d+)>", names)
            names = [f"{many[1]}{k}" for k in range(int(many[2]))] if many else operands(names)
            declared = ", ".join(register(name) for name in names)
            lines.append(f"{BITS[WIDTHS[kind.strip('.')]]} {declared};")
        elif token.startswith("."):
            assert token.startswith((".shared", ".pragma")), token
        elif guarded:
            lines.append(f"if ({guarded[1]}{register(guarded[2])}) {{ {instruction(guarded[3])} }}")
        else:
            lines.append(instruction(token))
    return lines


def translated(text: str) -> str:
    text = re.sub(r"//[^\n]*", "", text)
    made, place = ['#include "instructions.h"'], 0
    # Shared memory is one space for all kernels, its variables one after the other; last what a launch asks for, of no size.
    found = re.findall(r"\.shared \.align (\d+) \.(\w+) ([\w$]+)(\[\d*\])?;", text)
    for align, kind, name, count in sorted(found, key=lambda variable: variable[3] == "[]"):
        place = -(-place // int(align)) * int(align)
        made.append(f"static const uint64_t address_of_{register(name)} = {place};")
        place += WIDTHS[kind] // 8 * int(count.strip("[]") or 0 if count else 1)
    entry = r"\.entry (\w+)\(\s*\.param \.align 8 \.b8 (\w+)\[(\d+)\]\s*\)\s*\.maxntid (\d+)(?:, 1, 1)?\s*\{(.*?)\n\}"
    for function, parameter, size, threads, code in re.findall(entry, text, re.S):
        assert "call" not in code, "calls are not known"
        made.append(f"static void body_{function}() {{ const uint64_t address_of_{parameter} = (uint64_t)argument;")
        made += body(code + "\n") + ["}"]
        made.append(f'extern "C" const Kernel {function} = {{body_{function}, {size}, {threads}, {place}}};')
    return "\n".join(made) + "\n"


if __name__ == "__main__":
    print(translated(sys.stdin.read()))
